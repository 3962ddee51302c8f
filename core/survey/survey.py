"""A survey: its items, its cultures, and the share of people who gave each answer."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from core.errors import PluriscopeError
from core.home import DATA
from core.whole_files import write_whole

BUNDLED = DATA / "survey"


@dataclass(frozen=True)
class Option:
    code: int
    label: str


@dataclass(frozen=True)
class Item:
    """One question with its answer codes, in canonical order.

    `scale` is "ordinal", "binary" or "nominal". Codes in `off_scale` are answers that people gave
    but that do not lie on the scale; they count in the distribution and never in a mean or a
    distance along the scale.
    """

    id: str
    position: int
    topic: str
    label: str
    question: str
    options: tuple[Option, ...]
    scale: str
    low: str = ""
    high: str = ""
    off_scale: tuple[int, ...] = ()
    note: str = ""

    @cached_property
    def codes(self) -> tuple[int, ...]:
        return tuple(option.code for option in self.options)

    @property
    def is_ordered(self) -> bool:
        """True where a distance along the scale has a meaning (ordinal and binary items)."""
        return self.scale != "nominal"

    def option(self, code: int) -> Option:
        return self.options[self.codes.index(code)]


@dataclass(frozen=True)
class Culture:
    """A country or territory surveyed. The interface says "country".

    languages: those it was surveyed in, the commonest first; of an imported survey, which does not
    say, the country's main languages.
    """

    iso3: str
    name: str
    demonym: str = ""
    article: str = "a"
    continent: str = ""
    region: str = ""
    year: int | None = None
    n: int | None = None
    in_culturespa: bool = False
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Shares:
    """How people of one culture answered one item.

    values: float64[K], share of valid answers per option, in the item's code order, sums to 1.
    n_valid: people with a valid answer. basis: "weighted" or "unweighted".
    """

    values: np.ndarray
    n_valid: int
    basis: str


@dataclass(frozen=True, eq=False)
class Survey:
    """Items, cultures and shares. `shares[iso3, item_id]` is absent where it was not asked."""

    id: str
    name: str
    version: str
    items: tuple[Item, ...]
    cultures: tuple[Culture, ...]
    shares: Mapping[tuple[str, str], Shares] = field(repr=False)
    core_ids: tuple[str, ...] = ()
    citation: str = ""

    @cached_property
    def _items(self) -> dict[str, Item]:
        return {item.id: item for item in self.items}

    @cached_property
    def _cultures(self) -> dict[str, Culture]:
        return {culture.iso3: culture for culture in self.cultures}

    @cached_property
    def topics(self) -> tuple[str, ...]:
        """Topics in questionnaire order."""
        return tuple(dict.fromkeys(item.topic for item in self.items))

    def item(self, item_id: str) -> Item:
        try:
            return self._items[item_id]
        except KeyError:
            raise PluriscopeError(f"The survey {self.name} has no item {item_id!r}.") from None

    def culture(self, iso3: str) -> Culture:
        try:
            return self._cultures[iso3]
        except KeyError:
            raise PluriscopeError(
                f"{iso3!r} is not a country of the survey {self.name}. "
                "Use three-letter codes such as KEN."
            ) from None

    def select(self, which: str | Iterable[str]) -> tuple[Item, ...]:
        """Items of a set, in questionnaire order: "core", "all", a topic's name, or item ids.

        Where a survey names no core set, "core" is all of it.
        A string may also be ids joined by commas ("Q1,Q57"). Unknown names raise PluriscopeError.
        """
        if isinstance(which, str):
            if which == "all" or (which == "core" and not self.core_ids):
                return self.items
            if which == "core":
                wanted = set(self.core_ids)
                return tuple(item for item in self.items if item.id in wanted)
            if which in self.topics:
                return tuple(item for item in self.items if item.topic == which)
            which = [part.strip() for part in which.split(",") if part.strip()]
        wanted = {self.item(item_id).id for item_id in which}
        if not wanted:
            raise PluriscopeError("No items are chosen. Pick a topic, the core set, or some items.")
        return tuple(item for item in self.items if item.id in wanted)


def bundled_items(folder: Path = BUNDLED) -> tuple[Item, ...]:
    """The items of the bundled survey, without the shares."""
    lines = (folder / "items.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(_item(json.loads(line), position) for position, line in enumerate(lines))


def load_bundled(folder: Path = BUNDLED) -> Survey:
    """Read the bundled World Values Survey wave 7 aggregates (see data/survey/README.md)."""
    items = bundled_items(folder)
    with open(folder / "countries.csv", encoding="utf-8", newline="") as file:
        cultures = tuple(_culture(row) for row in csv.DictReader(file))
    return Survey(
        id="wvs7",
        name="World Values Survey, wave 7",
        version=_version(folder),
        items=items,
        cultures=cultures,
        shares=_shares(folder / "shares.csv", {item.id: item for item in items}),
        core_ids=tuple((folder / "core_items.txt").read_text(encoding="utf-8").split()),
        citation=(
            "Haerpfer, C., Inglehart, R., Moreno, A., Welzel, C., Kizilova, K., Diez-Medrano J., "
            "M. Lagos, P. Norris, E. Ponarin & B. Puranen et al. (eds.). 2022. World Values "
            "Survey: Round Seven – Country-Pooled Datafile Version 5.0. Madrid, Spain & Vienna, "
            "Austria: JD Systems Institute & WVSA Secretariat. doi:10.14281/18241.20"
        ),
    )


def save_snapshot(survey: Survey, path: Path) -> None:
    """Write a survey as one JSON file that load_snapshot reads."""
    record = {
        **{key: getattr(survey, key) for key in ("id", "name", "version", "core_ids", "citation")},
        "items": [asdict(item) for item in survey.items],
        "cultures": [asdict(culture) for culture in survey.cultures],
        "shares": [
            [*key, cell.values.tolist(), cell.n_valid, cell.basis]
            for key, cell in survey.shares.items()
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(record, ensure_ascii=False))


def load_snapshot(path: Path) -> Survey:
    record = json.loads(path.read_text(encoding="utf-8"))
    return Survey(
        id=record["id"],
        name=record["name"],
        version=record["version"],
        items=tuple(
            Item(
                **{
                    **item,
                    "options": tuple(Option(**option) for option in item["options"]),
                    "off_scale": tuple(item["off_scale"]),
                }
            )
            for item in record["items"]
        ),
        cultures=tuple(
            Culture(**{**culture, "languages": tuple(culture["languages"])})
            for culture in record["cultures"]
        ),
        shares={
            (iso3, item): Shares(np.array(values), n_valid, basis)
            for iso3, item, values, n_valid, basis in record["shares"]
        },
        core_ids=tuple(record["core_ids"]),
        citation=record["citation"],
    )


def _item(record: dict, position: int) -> Item:
    return Item(
        id=record["id"],
        position=position,
        topic=record["topic"],
        label=record["label"],
        question=record["question"],
        options=tuple(Option(o["code"], o["label"]) for o in record["options"]),
        scale=record["scale"],
        low=record.get("low", ""),
        high=record.get("high", ""),
        off_scale=tuple(record.get("off_scale", ())),
        note=record.get("note", ""),
    )


def _culture(row: dict[str, str]) -> Culture:
    return Culture(
        iso3=row["iso3"],
        name=row["name"],
        demonym=row["demonym"],
        article=row["article"],
        continent=row["continent"],
        region=row["region"],
        year=int(row["year"]),
        n=int(row["n"]),
        in_culturespa=row["in_culturespa"] == "true",
        languages=tuple(row["survey_languages"].split(";")),
    )


def _shares(path: Path, items: Mapping[str, Item]) -> dict[tuple[str, str], Shares]:
    cells: dict[tuple[str, str], dict[int, float]] = {}
    facts: dict[tuple[str, str], tuple[int, str]] = {}
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        for iso3, item_id, code, share, n_valid, basis in rows:
            cells.setdefault((iso3, item_id), {})[int(code)] = float(share)
            facts[iso3, item_id] = int(n_valid), basis
    result = {}
    for key, by_code in cells.items():
        values = np.array([by_code.get(code, 0.0) for code in items[key[1]].codes])
        # Six decimals in the file: rows add up to 1 within rounding; make it exact.
        result[key] = Shares(values / values.sum(), *facts[key])
    return result


def _version(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in ("items.jsonl", "shares.csv", "countries.csv"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:12]


BUNDLED_SURVEY = "wvs7"
WRITTEN_SURVEY = "written"  # the source of surveys that a model wrote
