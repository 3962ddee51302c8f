"""The map of values: where people of every country lie, and where the model's personas do.

A figure as those of core/figures/maps.py: a tidy table in, a figure, its table and a sentence out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from core import wording
from core.figures.base import (
    Figure,
    Palette,
    Sheet,
    coloured,
    palette,
    plain_text,
    quiet_axis,
    series,
    tabled,
)
from core.metrics import inglehart_welzel, relations

# Heights in pixels, and the width of the plot that names are placed for; in a wider one they only
# stand further apart.
_HEIGHT, _HEIGHT_NARROW = 640, 440
_WIDTH, _WIDTH_NARROW = 560, 320


def value_map(
    people: pd.DataFrame,
    model: pd.DataFrame,
    *,
    kind: str = "country",
    before_kind: str = "",
    chosen: str = "",
    dark: bool = False,
    narrow: bool = False,
) -> Figure:
    """Countries' people as dots, the model's personas with ellipses, and arrows to them.

    people: columns iso3, name, zone, x, y. model: as comparing.ValueMap gives it. kind: how the
    model was asked, before_kind: how where the arrows begin. chosen: a country to point out. The
    axes come from people alone; a persona off the map stands at its edge.
    """
    on, look = palette(dark), series(kind)
    x0, x1, y0, y1 = inglehart_welzel.limits(people)
    sheet = Sheet(
        _HEIGHT_NARROW if narrow else _HEIGHT,
        dark,
        xaxis=quiet_axis(range=[x0, x1]),
        yaxis=quiet_axis(range=[y0, y1]),
    )
    sheet.margin(24, 8, 30, 44)
    for tick in range(math.ceil(x0), math.floor(x1) + 1):
        sheet.line((tick, tick), (y0, y1), colour=on.line, layer="below")
    for tick in range(math.ceil(y0), math.floor(y1) + 1):
        sheet.line((x0, x1), (tick, tick), colour=on.line, layer="below")
    model = model.reset_index(drop=True)
    model = model.assign(at_x=model["x"].clip(x0, x1), at_y=model["y"].clip(y0, y1))
    meant = model["iso3"].eq(chosen) if chosen and chosen in set(model["iso3"]) else None
    ink = look.text_dark if dark else look.text
    _draw_ellipses(sheet, model, look.colour, meant)
    _draw_arrows(sheet, model, ink, meant, (x0, x1), (y0, y1))
    _draw_people(sheet, people, model, chosen, on)
    _draw_personas(sheet, model, kind, before_kind, meant, on, ink)
    for name in _names(people, model, meant, (x0, x1), (y0, y1), on, ink, narrow):
        sheet.note(
            plain_text(name.text), name.x, name.y, colour=name.colour, size=10,
            anchor=name.anchor, xshift=name.right, yshift=name.up,
        )  # fmt: skip
    _draw_axes(sheet, on, narrow)
    signs = [
        f"{coloured('●', on.people)} people",
        f"{coloured(look.sign, look.colour)} the model, {look.label}",
    ]
    if before_kind and model["from_x"].notna().any():
        start = series(before_kind)
        signs.insert(1, f"{coloured(start.sign, start.colour)} the model, {start.label}")
    sheet.note(
        "   ".join(signs), 0, 1, colour=on.muted, size=11 if narrow else 12,
        xref="paper", yref="paper", yshift=18, xshift=-24,
    )  # fmt: skip
    return Figure(sheet.done(), _values_table(people, model), _values_alt(model))


class _Name(NamedTuple):
    """A name beside a point, so many pixels right of it and up."""

    text: str
    x: float
    y: float
    colour: str
    anchor: str = "center"
    right: float = 0
    up: float = 0


def _names(
    people: pd.DataFrame,
    model: pd.DataFrame,
    meant: pd.Series | None,
    across: tuple[float, float],
    up: tuple[float, float],
    on: Palette,
    ink: str,
    narrow: bool,
) -> list[_Name]:
    """As many names as stand apart: whom one asked for, personas, parts of the world, people."""
    width, height = (_WIDTH_NARROW, _HEIGHT_NARROW) if narrow else (_WIDTH, _HEIGHT)
    personas = model[model["iso3"] != ""] if meant is None else model[meant]
    own = people["iso3"].isin(personas["iso3"])
    wanted = [_Name(r.name, r.at_x, r.at_y, ink) for r in personas.itertuples()]
    if meant is not None:
        wanted += [_Name(r.name, r.x, r.y, on.ink) for r in people[own].itertuples()]
    if not narrow:
        wanted += [
            _Name(zone.upper(), part["x"].mean(), part["y"].mean(), on.too_small, "middle")
            for zone, part in people.groupby("zone")
            if zone and len(part) > 1
        ]
    for some, colour in ((own, on.ink), (~own, on.muted)):
        wanted += [_Name(r.name, r.x, r.y, colour) for r in people[some].itertuples()]
    size = (width - 32) / (across[1] - across[0]), (height - 74) / (up[1] - up[0])
    dots = [(r.x, r.y, 4) for r in people.itertuples()]
    dots += [(r.at_x, r.at_y, 6) for r in model.itertuples()]
    dots += [(r.from_x, r.from_y, 6) for r in model.dropna(subset=["from_x"]).itertuples()]
    taken = [(x * size[0] - r, x * size[0] + r, y * size[1] - r, y * size[1] + r)
             for x, y, r in dots]  # fmt: skip
    ends = across[0] * size[0] - 20, across[1] * size[0] + 6
    return _apart(wanted, taken, size, ends)


def _apart(
    wanted: Sequence[_Name],
    taken: list[tuple[float, ...]],
    size: tuple[float, float],
    ends: tuple[float, float],
) -> list[_Name]:
    """Those names, in the order wanted, that cover neither a dot nor a name; each is tried right
    and left of its dot, above and below. size: pixels of one unit across and up. ends: how far
    left and right a name may reach, in pixels."""
    placed: list[_Name] = []
    for name in wanted:
        if any(name.text == other.text and name.colour == other.colour for other in placed):
            continue
        wide = 5.7 * len(name.text) + 2
        tries = (
            [("center", 0, 0)]
            if name.anchor == "middle"
            else [("left", 8, 0), ("right", -8, 0), ("center", 0, 12), ("center", 0, -12)]
        )
        for anchor, right, up in tries:
            x, y = name.x * size[0] + right, name.y * size[1] + up
            start = {"left": x, "right": x - wide, "center": x - wide / 2}[anchor]
            box = (start, start + wide, y - 6, y + 6)
            if (
                ends[0] <= box[0]
                and box[1] <= ends[1]
                and not any(
                    box[0] < c[1] and c[0] < box[1] and box[2] < c[3] and c[2] < box[3]
                    for c in taken
                )
            ):
                placed.append(name._replace(anchor=anchor, right=right, up=up))
                taken.append(box)
                break
    return placed


def _draw_ellipses(sheet: Sheet, model: pd.DataFrame, colour: str, meant: pd.Series | None) -> None:
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    few = len(model) <= 20
    for k, row in enumerate(model.itertuples()):
        if not math.isfinite(row.var_x) or (row.at_x, row.at_y) != (row.x, row.y):
            continue
        covariance = np.array([[row.var_x, row.cov], [row.cov, row.var_y]])
        edge = relations.ellipse(np.array([row.x, row.y]), covariance, 36)
        see = 0.2 if (few if meant is None else meant[k]) else 0.06
        sheet.trace(
            "scatter",
            x=edge[:, 0],
            y=edge[:, 1],
            mode="lines",
            line={"width": 0.8, "color": f"rgba({red},{green},{blue},{2.2 * see:.2f})"},
            fill="toself",
            fillcolor=f"rgba({red},{green},{blue},{see})",
            hoverinfo="skip",
            name="ellipse",
        )


def _draw_arrows(
    sheet: Sheet,
    model: pd.DataFrame,
    colour: str,
    meant: pd.Series | None,
    across: tuple[float, float],
    up: tuple[float, float],
) -> None:
    for k, row in enumerate(model.itertuples()):
        if not math.isfinite(row.from_x):
            continue
        sheet.note(
            "",
            row.at_x,
            row.at_y,
            colour=colour,
            showarrow=True,
            ax=float(np.clip(row.from_x, *across)),
            ay=float(np.clip(row.from_y, *up)),
            axref="x",
            ayref="y",
            arrowhead=0,
            arrowwidth=1,
            arrowcolor=colour,
            standoff=5,
            startstandoff=4,
            opacity=0.55 if meant is None or meant[k] else 0.12,
        )


def _draw_people(
    sheet: Sheet, people: pd.DataFrame, model: pd.DataFrame, chosen: str, on: Palette
) -> None:
    """A dot a country; paler where the model was not asked as someone from there."""
    named = model["iso3"].ne("").any()
    asked = [not named or iso3 in set(model["iso3"]) for iso3 in people["iso3"]]
    sheet.trace(
        "scatter",
        x=people["x"],
        y=people["y"],
        mode="markers",
        marker={
            "size": [10 if iso3 == chosen else 6 for iso3 in people["iso3"]],
            "color": on.people,
            "opacity": [1.0 if there else 0.4 for there in asked],
        },
        hovertemplate=[
            f"<b>People in {plain_text(wording.country(r.name))}</b>  "
            f"{coloured(plain_text(r.zone or ''), on.muted)}<br>self-expression "
            f"{wording.signed(r.x)}, secular {wording.signed(r.y)}<extra></extra>"
            for r in people.itertuples()
        ],
        customdata=[[iso3] for iso3 in people["iso3"]],
        name="people",
    )


def _draw_personas(
    sheet: Sheet,
    model: pd.DataFrame,
    kind: str,
    before_kind: str,
    meant: pd.Series | None,
    on: Palette,
    ink: str,
) -> None:
    look = series(kind)
    see = np.ones(len(model)) if meant is None else np.where(meant, 1.0, 0.2)
    start = model.dropna(subset=["from_x"]).drop_duplicates(["from_x", "from_y"])
    if len(start) and before_kind:
        was = series(before_kind)
        sheet.trace(
            "scatter",
            x=start["from_x"],
            y=start["from_y"],
            mode="markers",
            marker={
                "symbol": was.symbol,
                "size": 11,
                "color": was.colour,
                "line": {"color": was.text, "width": 1},
            },
            hovertemplate=f"<b>The model, {plain_text(was.label)}</b><extra></extra>",
            name=was.label,
        )
    off = (model["at_x"] != model["x"]) | (model["at_y"] != model["y"])
    sheet.trace(
        "scatter",
        x=model["at_x"],
        y=model["at_y"],
        mode="markers",
        marker={
            "symbol": look.symbol,
            "size": 10,
            "color": [on.page if away else look.colour for away in off],
            "opacity": list(see),
            "line": {"color": ink, "width": 1},
        },
        customdata=[[iso3] for iso3 in model["iso3"]],
        hovertemplate=[_persona_hover(row) for row in model.itertuples()],
        cliponaxis=False,
        name=look.label,
    )


def _persona_hover(row: object) -> str:
    who = f"As a person from {wording.country(row.name)}" if row.iso3 else "Asked plainly"
    lines = [
        f"<b>{plain_text(who)}</b>",
        f"self-expression {wording.signed(row.x)}, secular {wording.signed(row.y)}",
    ]
    if math.isfinite(row.people_x):
        away = math.hypot(row.x - row.people_x, row.y - row.people_y)
        lines.append(f"{wording.number(away)} from people there")
    return "<br>".join(lines) + "<extra></extra>"


def _draw_axes(sheet: Sheet, on: Palette, narrow: bool) -> None:
    size = 11 if narrow else 12
    below = {"xref": "paper", "yref": "paper", "size": size}
    sheet.note("← survival", 0, 0, colour=on.muted, yshift=-14, **below)
    sheet.note("self-expression →", 1, 0, colour=on.muted, anchor="right", yshift=-14, **below)
    upright = {"xref": "paper", "yref": "paper", "size": size, "textangle": -90, "xshift": -14}
    sheet.note("← traditional", 0, 0, colour=on.muted, anchor="center", yanchor="bottom", **upright)
    sheet.note("secular →", 0, 1, colour=on.muted, anchor="center", yanchor="top", **upright)


def _values_table(people: pd.DataFrame, model: pd.DataFrame) -> pd.DataFrame:
    both = people[["iso3", "name", "zone", "x", "y"]].merge(
        model[["iso3", "x", "y"]], on="iso3", how="left", suffixes=("", "_model")
    )
    columns = {
        "name": "Country",
        "zone": "Region",
        "x": "People: self-expression",
        "y": "People: secular",
        "x_model": "Model: self-expression",
        "y_model": "Model: secular",
    }
    table = tabled(both, columns, places=2)
    if len(plain := model[model["iso3"] == ""]):
        row = plain.iloc[0]
        table.loc[len(table)] = ["asked plainly", "", np.nan, np.nan, round(row["x"], 2),
                                 round(row["y"], 2)]  # fmt: skip
    return table


def _values_alt(model: pd.DataFrame) -> str:
    there = model.dropna(subset=["people_x"])
    if there.empty:
        return "A map of values with people of every country and the model’s one position."
    away = np.hypot(there["x"] - there["people_x"], there["y"] - there["people_y"])
    far, near = there.loc[away.idxmax(), "name"], there.loc[away.idxmin(), "name"]
    return (
        f"A map of values: the model’s {wording.count(len(there), 'persona')} lie "
        f"{wording.number(away.mean())} from their people on average, furthest for "
        f"{wording.country(far)}, nearest for {wording.country(near)}."
    )


def loadings_table(loadings: pd.DataFrame) -> pd.DataFrame:
    """What the axes are made of, under human column names."""
    columns = {
        "indicator": "What counts",
        "questions": "Questions",
        "axis": "Axis",
        "loading": "Loading",
        "self_expression": "Towards self-expression",
        "secular": "Towards secular",
    }
    table = tabled(loadings, columns, places=2)
    return table.assign(Loading=[wording.number(x, 2) for x in loadings["loading"]])
