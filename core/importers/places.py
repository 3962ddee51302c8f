"""Countries by any name a survey file gives them: ISO codes, common names, Pew's abbreviations."""

from __future__ import annotations

import csv
import difflib
import re
from dataclasses import replace
from functools import lru_cache

from core.home import DATA
from core.survey.survey import Culture, Survey, load_bundled

COUNTRIES = DATA / "countries.csv"


@lru_cache(maxsize=1)
def bundled() -> Survey:
    """The survey that comes with Pluriscope: it lends its texts and its country names."""
    return load_bundled()


@lru_cache(maxsize=1)
def _known() -> tuple[dict[str, Culture], dict[str, str]]:
    """Cultures by ISO3, and ISO3 by every name in folded form."""
    cultures: dict[str, Culture] = {}
    names: dict[str, str] = {}
    with open(COUNTRIES, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            iso3 = row["iso3"]
            cultures[iso3] = Culture(
                iso3,
                row["name"],
                row["demonym"],
                row["article"],
                row["continent"],
                row["region"],
                languages=tuple(row["languages"].split(";")),
            )
            also = [name for name in row["also"].split(";") if name]
            for name in (iso3, row["numeric"], str(int(row["numeric"])), row["name"], *also):
                names[_folded(name)] = iso3
    for culture in bundled().cultures:
        cultures[culture.iso3] = replace(culture, year=None, n=None)
    return cultures, names


def _folded(name: str) -> str:
    return re.sub(r"[^\w]+", " ", name.casefold()).strip()


@lru_cache(maxsize=4096)
def find(name: str) -> str | None:
    """The ISO3 code of a country by name, ISO3 code or ISO number ("276", "276.0"), or None."""
    name = re.sub(r"^(\d+)\.0+$", r"\1", name.strip())
    return _known()[1].get(_folded(name))


def suggest(name: str) -> str | None:
    """The nearest known name to a misspelt one, or None."""
    near = difflib.get_close_matches(_folded(name), _known()[1], n=1, cutoff=0.75)
    return _known()[0][_known()[1][near[0]]].name if near else None


def culture(iso3: str, *, year: int | None = None, n: int | None = None) -> Culture:
    """A country with its names, as the bundled survey gives them where it has it."""
    return replace(_known()[0][iso3], year=year, n=n)
