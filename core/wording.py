"""Numbers, counts, sizes and names in plain words: what every sentence is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

# The three lines every score is read against. One wording each, everywhere.
FLOOR = "even odds on every answer"
OTHERS = "a guess without a country"
CEILING = "another sample of the same people"
CAUTION = (
    "National averages hide large differences between people. This shows patterns in survey "
    "answers, not what any person believes."
)


_WITH_THE = frozenset(
    {
        "Bahamas",
        "Central African Republic",
        "Comoros",
        "Czech Republic",
        "Democratic Republic of the Congo",
        "Dominican Republic",
        "Gambia",
        "Maldives",
        "Netherlands",
        "Philippines",
        "Republic of the Congo",
        "Seychelles",
        "United Arab Emirates",
        "United Kingdom",
        "United States",
    }
)


_ZONES = {
    "English-Speaking": "the English-speaking world",
    "Latin America": "Latin America",
    "Catholic Europe": "Catholic Europe",
    "Protestant Europe": "Protestant Europe",
    "Orthodox Europe": "Orthodox Europe",
    "Confucian": "Confucian East Asia",
    "West & South Asia": "West and South Asia",
    "African-Islamic": "the African and Islamic world",
}


_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


class Finding(NamedTuple):
    """What a page opens with."""

    headline: str
    paragraph: str


def number(value: float, places: int = 1) -> str:
    """82.4, with a real minus sign; "–" where there is none."""
    if not math.isfinite(value):
        return "–"
    text = f"{abs(value):,.{places}f}"
    negative = value < 0 and float(text.replace(",", "")) != 0
    return f"−{text}" if negative else text


def signed(value: float, places: int = 1) -> str:
    """+4.2, −1.0, 0.0."""
    text = number(value, places)
    return f"+{text}" if value > 0 and text.strip("0.,") else text


def percent(share: float) -> str:
    """A share of 1 in whole per cent; what is there but rounds to nothing is "under 1%"."""
    if not math.isfinite(share):
        return "–"
    if 0 < share < 0.005:
        return "under 1%"
    if 0.995 <= share < 1:
        return "over 99%"
    return f"{round(share * 100)}%"


def count(n: int, one: str, many: str = "") -> str:
    """1 question, 1,204 questions, no questions."""
    if n == 0:
        return f"no {many or one + 's'}"
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def some(n: int, total: int) -> str:
    """7 of 18, none of 18, all 18."""
    if n == total:
        return f"all {total}"
    return f"{n or 'none'} of {total}"


def listed(names: Sequence[str], most: int | None = None) -> str:
    """A, B and C; with `most`, the first few and how many more there are."""
    names = list(names)
    if most is not None and len(names) > most:
        rest = len(names) - most
        names = [*names[:most], f"{rest} other{'s' if rest > 1 else ''}"]
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def country(name: str) -> str:
    """A country's name inside a sentence: "the United States", "Kenya"."""
    return f"the {name}" if name in _WITH_THE or name.endswith(" Islands") else name


def zone(name: str) -> str:
    """A part of the world inside a sentence: "the English-speaking world"."""
    return _ZONES.get(name, name)


def capital(text: str) -> str:
    """The first letter upper case, the rest as it is."""
    return text[:1].upper() + text[1:]


def duration(seconds: float) -> str:
    """How long something takes, as one would say it: "about 2 minutes"."""
    if not math.isfinite(seconds):
        return "an unknown time"
    if seconds < 1:
        return "under a second"
    if seconds < 55:
        return count(round(seconds), "second")
    minutes = seconds / 60
    if minutes < 55:
        return f"about {count(max(1, round(minutes)), 'minute')}"
    hours = minutes / 60
    if hours < 10:
        quarters = round(hours * 4)
        whole, part = divmod(quarters, 4)
        rest = f" {part * 15} minutes" if part else ""
        return f"about {count(whole, 'hour')}{rest}"
    if hours < 36:
        return f"about {round(hours)} hours"
    return f"about {count(round(hours / 24), 'day')}"


def size(n: float) -> str:
    """Bytes of a file or a download as people read them, in decimal units: "1.2 GB"."""
    return _in_units(n, 1000, ("kB", "MB", "GB", "TB"))


def memory(n: float) -> str:
    """Bytes of memory as machines count them, in units of 1024: "5.3 GiB"."""
    return _in_units(n, 1024, ("KiB", "MiB", "GiB", "TiB"))


def _in_units(n: float, step: int, units: tuple[str, ...]) -> str:
    if n < 1000:
        return f"{int(n)} byte{'' if int(n) == 1 else 's'}"
    for unit in units:
        n /= step
        if n < 999.5 or unit == units[-1]:
            break
    return f"{n:.0f} {unit}" if n >= 9.95 or unit == units[0] else f"{n:.1f} {unit}"


def interval(low: float, high: float, places: int = 1) -> str:
    """between 71.0 and 77.1; empty where the interval is unknown."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"between {number(low, places)} and {number(high, places)}"
