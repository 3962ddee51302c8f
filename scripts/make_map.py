"""Make the files that maps are drawn from, with no network afterwards.

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    pip install pycountry
    python scripts/make_map.py package

writes static/world_110m.json (the borders, in the shape plotly.js looks for) and
static/small_places.json (places too small for it, as points: iso3 -> name, longitude, latitude).

Borders are Natural Earth's at 1:110m (public domain), packed by world-atlas (ISC). Antarctica is
left out. Two areas without a code of their own are drawn with the country that the United Nations
count them in, since plotly finds a place by its code.
"""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path

import pycountry

STATIC = Path(__file__).resolve().parent.parent / "static"
WITHIN = {"N. Cyprus": "CYP", "Somaliland": "SOM"}
OWN_CODES = {"Kosovo": "XKX"}
# One lies on both sides of the date line, so its middle is far away; one is not in the file.
PLACED = {"KIR": ["Kiribati", 172.98, 1.43], "TUV": ["Tuvalu", 179.2, -8.52]}
LEFT_OUT = {"ATA"}

# The atlas shortens names to fit on a map; pycountry writes them as the standard does.
NAMES = {
    "COD": "Democratic Republic of the Congo",
    "COG": "Republic of the Congo",
    "FLK": "Falkland Islands",
    "MAF": "Saint Martin",
    "MKD": "North Macedonia",
    "SWZ": "Eswatini",
    "SXM": "Sint Maarten",
    "FRO": "Faroe Islands",
    "USA": "United States",
    "VGB": "British Virgin Islands",
    "VIR": "US Virgin Islands",
    "VAT": "Vatican City",
}


def main(folder: Path) -> None:
    atlas = json.loads((folder / "countries-110m.json").read_text())
    shapes: dict[str, list[dict]] = {}
    for shape in atlas["objects"]["countries"]["geometries"]:
        code = iso3(shape)
        if code and code not in LEFT_OUT:
            shapes.setdefault(code, []).append(shape)
    countries = [together(code, parts) for code, parts in sorted(shapes.items())]
    for country in countries:
        country["properties"]["ct"] = centroid(country, atlas)
    used, arcs = renumbered(countries, atlas["arcs"])
    empty = {"type": "GeometryCollection", "geometries": []}
    world = {
        "type": "Topology",
        "transform": atlas["transform"],
        "objects": {
            "countries": {"type": "GeometryCollection", "geometries": used},
            # plotly.js asks for every layer, drawn or not.
            **{
                layer: empty
                for layer in ("coastlines", "land", "ocean", "lakes", "rivers", "subunits")
            },
        },
        "arcs": arcs,
    }
    write(STATIC / "world_110m.json", world)

    fine = json.loads((folder / "countries-50m.json").read_text())
    places = {}
    for shape in fine["objects"]["countries"]["geometries"]:
        code = iso3(shape)
        if code and code not in shapes and code not in LEFT_OUT:
            longitude, latitude = middle(shape, fine)
            places[code] = [name(code, [shape]), longitude, latitude]
    places |= PLACED
    write(STATIC / "small_places.json", dict(sorted(places.items())))
    print(f"{len(countries)} countries, {len(arcs)} borders; {len(places)} small places")


def iso3(shape: dict) -> str | None:
    called = shape["properties"]["name"]
    if called in WITHIN or called in OWN_CODES:
        return WITHIN.get(called) or OWN_CODES[called]
    found = pycountry.countries.get(numeric=shape.get("id", ""))
    return found.alpha_3 if found else None


def name(code: str, parts: list[dict]) -> str:
    own = [part["properties"]["name"] for part in parts if part["properties"]["name"] not in WITHIN]
    if code in NAMES:
        return NAMES[code]
    standard = pycountry.countries.get(alpha_3=code)
    return standard.name if "." in own[0] and standard else own[0]


def together(code: str, parts: list[dict]) -> dict:
    """One shape for a code. A border that two parts share (arc i and its reverse ~i) goes."""
    properties = {"name": name(code, parts)}
    polygons = [polygon for part in parts for polygon in polygons_of(part)]
    if len(parts) > 1:
        arcs = [arc for polygon in polygons for ring in polygon for arc in ring]
        shared = {arc for arc in arcs if ~arc in arcs}
        touching = [p for p in polygons if any(arc in shared for ring in p for arc in ring)]
        polygons = [p for p in polygons if p not in touching]
        if touching:
            polygons.append([ring_without(shared, *(polygon[0] for polygon in touching))])
    return {"type": "MultiPolygon", "arcs": polygons, "id": code, "properties": properties}


def ring_without(shared: set[int], first: list[int], second: list[int]) -> list[int]:
    """Two rings that share one stretch of border, as one ring round both."""

    def open_at_the_border(ring: list[int]) -> list[int]:
        start = next(i for i, arc in enumerate(ring) if arc in shared and ring[i - 1] not in shared)
        turned = ring[start:] + ring[:start]
        return [arc for arc in turned if arc not in shared]

    return open_at_the_border(first) + open_at_the_border(second)


def polygons_of(shape: dict) -> list:
    return [shape["arcs"]] if shape["type"] == "Polygon" else shape["arcs"]


def renumbered(shapes: list[dict], arcs: list) -> tuple[list[dict], list]:
    """The shapes and only the arcs they use, numbered anew."""
    used = sorted(
        {
            arc if arc >= 0 else ~arc
            for shape in shapes
            for polygon in shape["arcs"]
            for ring in polygon
            for arc in ring
        }
    )
    at = {arc: index for index, arc in enumerate(used)}
    return [
        {
            **shape,
            "arcs": [
                [[at[arc] if arc >= 0 else ~at[~arc] for arc in ring] for ring in polygon]
                for polygon in shape["arcs"]
            ],
        }
        for shape in shapes
    ], [arcs[arc] for arc in used]


def centroid(shape: dict, atlas: dict) -> list[float]:
    """The middle of the largest part, in degrees. plotly.js hangs a country's hover text on it
    and fails on hover and click where it is missing."""
    best, found = 0.0, [0.0, 0.0]
    for polygon in polygons_of(shape):
        area = cx = cy = 0.0
        points = unwrapped(ring_points(polygon[0], atlas))
        for (x0, y0), (x1, y1) in pairwise([*points, points[0]]):
            cross = x0 * y1 - x1 * y0
            area, cx, cy = area + cross, cx + (x0 + x1) * cross, cy + (y0 + y1) * cross
        if abs(area) > best:
            best, found = abs(area), [cx / (3 * area), cy / (3 * area)]
    return [round((found[0] + 180) % 360 - 180, 2), round(found[1], 2)]


def unwrapped(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """A ring across the date line without its jump from 180 to -180 degrees."""
    result = points[:1]
    for x, y in points[1:]:
        turns = round((result[-1][0] - x) / 360)
        result.append((x + 360 * turns, y))
    return result


def ring_points(ring: list[int], atlas: dict) -> list[tuple[float, float]]:
    """The corners of a ring of arcs, in degrees."""
    (sx, sy), (tx, ty) = atlas["transform"]["scale"], atlas["transform"]["translate"]
    points = []
    for arc in ring:
        x = y = 0
        stretch = []
        for dx, dy in atlas["arcs"][arc if arc >= 0 else ~arc]:
            x, y = x + dx, y + dy
            stretch.append((x * sx + tx, y * sy + ty))
        points += stretch if arc >= 0 else stretch[::-1]
    return points


def middle(shape: dict, atlas: dict) -> tuple[float, float]:
    """The middle of the box round a small place, in degrees."""
    corners = [p for polygon in polygons_of(shape) for ring in polygon
               for p in ring_points(ring, atlas)]  # fmt: skip
    xs, ys = zip(*corners, strict=True)
    return round((min(xs) + max(xs)) / 2, 2), round((min(ys) + max(ys)) / 2, 2)


def write(path: Path, record: dict) -> None:
    path.write_text(json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
