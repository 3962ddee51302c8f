"""Items, countries and prompts in other languages: those that come along, and the user's own.

Bundled: data/survey/translations, the core items in 13 languages. A user's lie in
PLURISCOPE_HOME/translations in the same layout: LANGUAGE.jsonl (one item a line), prompts.json and
countries.json (by language); for a survey other than the bundled one in a folder of its id. Where
both have an item, the user's is taken.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

from core.errors import PluriscopeError
from core.ordinary_files import read_ordinary
from core.prompts.prompt_sets import PromptSet
from core.prompts.render import Example
from core.sanitize import clean_text, json_object, visible
from core.survey.neighbours import Neighbours
from core.survey.survey import BUNDLED, Culture, Item, Option, Survey, bundled_items
from core.whole_files import write_whole

FOLDER = BUNDLED / "translations"
ENGLISH = "en"
# Translated by a language model, and not read by anybody who grew up with the language.
DRAFTS = frozenset({"hi", "th", "sw", "am"})
NAMES = {
    "am": "Amharic", "ar": "Arabic", "bn": "Bengali", "ca": "Catalan", "ceb": "Cebuano",
    "cs": "Czech", "de": "German", "dv": "Dhivehi", "el": "Greek", "en": "English",
    "es": "Spanish", "fa": "Persian", "fil": "Filipino", "fr": "French", "ha": "Hausa",
    "hi": "Hindi", "hil": "Hiligaynon", "hy": "Armenian", "id": "Indonesian", "it": "Italian",
    "ja": "Japanese", "kk": "Kazakh", "ko": "Korean", "ky": "Kyrgyz", "mn": "Mongolian",
    "mr": "Marathi", "ms": "Malay", "my": "Burmese", "nd": "Ndebele", "nl": "Dutch",
    "om": "Oromo", "pa": "Punjabi", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian",
    "ru": "Russian", "sk": "Slovak", "sn": "Shona", "sr": "Serbian", "sv": "Swedish",
    "sw": "Swahili", "te": "Telugu", "tg": "Tajik", "th": "Thai", "ti": "Tigrinya",
    "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "uz": "Uzbek", "vi": "Vietnamese",
    "yo": "Yoruba", "zh": "Chinese",
}  # fmt: skip
CODE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
# What a set of prompts needs, with the blanks each text must have.
PROMPT_BLANKS = {
    "plain_system": (),
    "country_system": ("country",),
    "cross_culture_system": ("country", *(f"{k}{n}" for k in ("near", "far") for n in (1, 2, 3))),
    "question_user": ("question", "options"),
    "explain_user": ("question", "options"),
    "examples_user": ("examples", "question", "options"),
    "example": ("question", "options", "answer"),
}


class ItemText(NamedTuple):
    """An item in another language. options: the label of each code, in the item's code order."""

    label: str
    question: str
    options: tuple[str, ...]
    draft: bool = False


@dataclass(frozen=True, eq=False)
class Translation:
    """What is asked in one language: items by id, country names by code, and the prompts.

    Countries without a name keep their English one.
    """

    language: str
    items: Mapping[str, ItemText]
    countries: Mapping[str, str]
    prompts: PromptSet

    @cached_property
    def sha256(self) -> str:
        """Of items and countries; the prompts have a fingerprint of their own."""
        return hashlib.sha256(
            json.dumps(self.texts(), sort_keys=True, ensure_ascii=False).encode()
        ).hexdigest()

    def texts(self) -> dict:
        """Items and countries as a JSON record."""
        return {
            "items": {item: [*text] for item, text in self.items.items()},
            "countries": dict(self.countries),
        }

    def item(self, item: Item) -> Item:
        """The same item in this language; codes and scale stay."""
        text = self.items[item.id]
        options = tuple(Option(c, label) for c, label in zip(item.codes, text.options, strict=True))
        return replace(item, label=text.label, question=text.question, options=options)

    def culture(self, culture: Culture) -> Culture:
        """The same country by its name in this language."""
        return replace(culture, name=self.countries.get(culture.iso3, culture.name))

    def neighbours(self, near_far: Neighbours) -> Neighbours:
        return Neighbours(*(tuple(map(self.culture, side)) for side in near_far))

    def example(self, example: Example) -> Example:
        return example._replace(item=self.item(example.item))

    def to_json(self) -> dict:
        return {"language": self.language, **self.texts(), "prompts": asdict(self.prompts)}

    @staticmethod
    def from_json(record: Mapping) -> Translation:
        return Translation(
            record["language"],
            items_of(record["items"]),
            record["countries"],
            PromptSet(**record["prompts"]),
        )


def items_of(record: Mapping) -> dict[str, ItemText]:
    """Items as texts() gives them."""
    return {
        item: ItemText(label, question, tuple(options), draft)
        for item, (label, question, options, draft) in record.items()
    }


# -- what there is ---------------------------------------------------------------------------------


def name(language: str) -> str:
    """A language's English name; its code where it is not known here."""
    return NAMES.get(language, language)


def languages(survey: Survey, folder: Path | None = None) -> list[str]:
    """Codes of the languages that any item of a survey can be asked in, by name; English first.

    folder: the user's translations (PLURISCOPE_HOME/translations). A file of the user's that is
    wrong counts, so that choosing it says what is wrong.
    """
    codes = {path.stem for place in _places(survey, folder) for path in place.path.glob("*.jsonl")}

    def any_item(code: str) -> bool:
        try:
            return bool(load(survey, code, folder).items)
        except PluriscopeError:
            return True

    return [ENGLISH, *sorted(filter(any_item, codes), key=name)]


def load(survey: Survey, language: str, folder: Path | None = None) -> Translation:
    """The items of a survey in a language, as far as they are translated; maybe none.

    Raises PluriscopeError where a file of the user's is wrong, or there are no prompts.
    """
    items: dict[str, ItemText] = {}
    countries: dict[str, str] = {}
    texts: dict[str, str] = {}
    for place in _places(survey, folder):
        path = place.path / f"{language}.jsonl"
        if path.is_file():
            items |= _read(path, survey, language, place.of_this_survey)
        named = _by_language(place.path / "countries.json", language)
        countries |= {c.iso3: named[c.iso3] for c in survey.cultures if c.iso3 in named}
        if found := _by_language(place.path / "prompts.json", language):
            if place.path != FOLDER:
                check_prompts(found, language)
            texts = found
    if items and not texts:
        raise PluriscopeError(
            f"There are questions in {name(language)}, but no wording to ask them in. Add its "
            f"texts to prompts.json beside {language}.jsonl, under “{language}”."
        )
    # What does not depend on the language: how options and answers are laid out.
    layout = {
        "option": "{label}. {text}", "numeric_option": "{text}", "option_separator": "\n",
        "answer": "{label}. {text}", "numeric_answer": "{text}",
    }  # fmt: skip
    prompts = PromptSet(
        f"pluriscope-{language}", f"Pluriscope ({name(language)})", language, {**layout, **texts}
    )
    return Translation(language, items, countries, prompts)


def own_language(culture: Culture, known: Iterable[str]) -> str:
    """The first language a country was surveyed in that can be asked in; "" where there is none."""
    known = set(known)
    return next((code for code in culture.languages if code in known), "")


class _Place(NamedTuple):
    """A folder of translations: of this very survey's items, or of the bundled survey's."""

    path: Path
    of_this_survey: bool


def _places(survey: Survey, folder: Path | None) -> list[_Place]:
    """Where translations of a survey's items lie; the later go before the earlier."""
    places = [_Place(FOLDER, False)]
    if folder is not None:
        places += [_Place(folder, False), _Place(folder / survey.id, True)]
    return places


def _by_language(path: Path, language: str) -> dict[str, str]:
    record = _json_file(str(path), path.stat().st_mtime_ns) if path.is_file() else {}
    found = record.get(language, {})
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise PluriscopeError(f"{path.name}: “{language}” has to hold texts by name.")
    return found


@lru_cache(maxsize=16)
def _json_file(path: str, changed: int) -> dict:
    return json_object(Path(path), 20, "a file of translations")


def _read(path: Path, survey: Survey, language: str, of_this_survey: bool) -> dict[str, ItemText]:
    """The items of one file that a survey has. Translations of the bundled survey's wording serve
    any item that says the same."""
    of = {item.id: item for item in survey.items}
    english = _bundled()
    items = {}
    for item_id, (text, codes) in _of_file(str(path), path.stat().st_mtime_ns, language).items():
        item = of.get(item_id)
        if item is None or not (of_this_survey or _says_the_same(item, english.get(item_id))):
            continue
        if codes != item.codes:
            raise PluriscopeError(
                f"{path.name}: the options of {item_id} have to be coded "
                f"{', '.join(map(str, item.codes))}, in this order."
            )
        items[item_id] = text
    return items


def _says_the_same(item: Item, english: Item | None) -> bool:
    if english is None:
        return False
    return (item.question, item.options) == (english.question, english.options)


@lru_cache(maxsize=1)
def _bundled() -> dict[str, Item]:
    """The items whose English the bundled translations were made from."""
    return {item.id: item for item in bundled_items()}


@lru_cache(maxsize=64)
def _of_file(path: str, changed: int, language: str) -> dict[str, tuple[ItemText, tuple[int, ...]]]:
    """Items of a file and the codes of their options, without looking at a survey."""
    file = Path(path)
    draft = file.parent == FOLDER and language in DRAFTS
    items = {}
    for number, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        try:
            record = _record(line, number, language)
        except PluriscopeError as error:
            raise PluriscopeError(f"{file.name}: {error}") from None
        options = record["options"]
        text = ItemText(
            record["label"],
            record["question"],
            tuple(option["label"] for option in options),
            bool(record.get("draft", draft)),
        )
        items[record["id"]] = text, tuple(option.get("code") for option in options)
    return items


# -- checking what a user brings -------------------------------------------------------------------

MOST_BYTES = 20_000_000
LONGEST = 2_000
BESIDE = ("prompts.json", "countries.json")  # what may lie beside the items
LONGEST_PROMPT = 10_000
_FIELDS = ("id", "language", "label", "question", "options")


class Imported(NamedTuple):
    """A file of translated items that is right. drafts: how many are marked as drafts."""

    language: str
    items: int
    drafts: int
    path: Path


def add(path: Path, survey: Survey, folder: Path, bundled: bool) -> Imported:
    """Check a file of translated items line by line and keep a copy for asking.

    path: a .jsonl in the layout of data/survey/translations; prompts.json and countries.json
    beside it are taken along. survey: whose items they are; bundled: it is the bundled survey.
    Raises PluriscopeError with every line that is wrong; then nothing is kept.
    """
    lines = [(n, line) for n, line in enumerate(_lines(path), 1) if line.strip()]
    if not lines:
        raise PluriscopeError(f"{path.name} is empty. Each line has to be one item, as JSON.")
    problems, records = [], []
    for number, line in lines:
        try:
            record = _cleaned(_record(line, number), number)
            _check_item(record, survey, number)
        except PluriscopeError as error:
            problems.append(str(error))
            continue
        records.append(record)
    problems += _twice(records)
    codes = sorted({record["language"] for record in records})
    if len(codes) > 1:
        problems.append(
            f"The lines are of several languages ({', '.join(codes)}). Use a file each."
        )
    if codes == [ENGLISH]:
        problems.append("These lines are English, the language that questions are in already.")
    if problems:
        raise PluriscopeError(
            f"{path.name} was not imported, {len(problems)} "
            f"{'line is' if len(problems) == 1 else 'lines are'} wrong:\n"
            + "\n".join(problems[:50])
        )
    language = codes[0]
    beside = {
        file: found
        for file in BESIDE
        if (found := _by_language(path.parent / file, language)) and path.parent != FOLDER
    }
    if "countries.json" in beside:
        names = {iso3: clean_text(text, 100) for iso3, text in beside["countries.json"].items()}
        beside["countries.json"] = {iso3: text for iso3, text in names.items() if text}
    if "prompts.json" in beside:
        prompts = {key: visible(text) for key, text in beside["prompts.json"].items()}
        beside["prompts.json"] = prompts
    if "prompts.json" in beside:
        check_prompts(beside["prompts.json"], language)
    elif not _by_language(FOLDER / "prompts.json", language) and not _by_language(
        folder / "prompts.json", language
    ):
        raise PluriscopeError(
            f"Pluriscope has no wording in {name(language)} yet. Put its texts into prompts.json "
            f"beside {path.name}, under “{language}”: {', '.join(PROMPT_BLANKS)}. "
            "data/survey/translations/prompts.json shows how."
        )
    place = folder if bundled else folder / survey.id
    place.mkdir(parents=True, exist_ok=True)
    for file, texts in beside.items():
        _merge(place / file, language, texts)
    write_whole(place / f"{language}.jsonl", "".join(_line(record) for record in records))
    return Imported(language, len(records), sum(bool(r.get("draft")) for r in records), place)


def check_prompts(texts: Mapping[str, str], language: str) -> None:
    """Raise PluriscopeError where a text is missing or lacks one of its blanks."""
    problems = []
    if any(len(text) > LONGEST_PROMPT for text in texts.values()):
        problems.append(f"a text is longer than {LONGEST_PROMPT:,} characters")
    for key, blanks in PROMPT_BLANKS.items():
        if not texts.get(key, "").strip():
            problems.append(f"{key} is missing")
            continue
        lacking = [f"{{{blank}}}" for blank in blanks if f"{{{blank}}}" not in texts[key]]
        if lacking:
            problems.append(f"{key} lacks {', '.join(lacking)}")
    if problems:
        raise PluriscopeError(f"The wording in {name(language)}: {'; '.join(problems)}.")


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise PluriscopeError(f"{path.name} is larger than 20 MB; this is no list of items.")
        return read_ordinary(path).decode("utf-8-sig").splitlines()
    except FileNotFoundError:
        raise PluriscopeError(f"There is no file {path}.") from None
    except UnicodeDecodeError:
        raise PluriscopeError(f"{path.name} is not UTF-8 text. Save it as UTF-8.") from None
    except OSError as error:
        raise PluriscopeError(f"{path.name} cannot be read: {error.strerror}.") from None


def _record(line: str, number: int, language: str = "") -> dict:
    """One line as a record with all its fields of the right kind."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise PluriscopeError(f"Line {number} is not JSON.") from None
    if not isinstance(record, dict):
        raise PluriscopeError(f"Line {number} is not an item: it has to be {{…}}.")
    missing = [field for field in _FIELDS if field not in record]
    if missing:
        raise PluriscopeError(f"Line {number} lacks {', '.join(missing)}.")
    texts = [record[field] for field in ("id", "language", "label", "question")]
    options = record["options"]
    if not isinstance(options, list) or not all(isinstance(o, dict) for o in options):
        raise PluriscopeError(f"Line {number}: options have to be a list of code and label.")
    texts += [option.get("label") for option in options]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise PluriscopeError(f"Line {number}: a text is missing or empty.")
    if any(len(text) > LONGEST for text in texts):
        raise PluriscopeError(f"Line {number}: a text is longer than {LONGEST:,} characters.")
    if not CODE.fullmatch(record["language"]):
        raise PluriscopeError(
            f"Line {number}: {record['language'][:20]!r} is no language code such as “ja”."
        )
    if language and record["language"] != language:
        raise PluriscopeError(f"Line {number} is in {record['language']}, not in {language}.")
    return record


def _cleaned(record: Mapping, number: int) -> dict:
    """A record whose texts are safe to show and to ask."""
    clean = {
        **record,
        "label": clean_text(record["label"]),
        "question": clean_text(record["question"]),
        "options": [{**o, "label": clean_text(o["label"])} for o in record["options"]],
    }
    if not all((clean["label"], clean["question"], *(o["label"] for o in clean["options"]))):
        raise PluriscopeError(f"Line {number}: a text holds nothing but markup.")
    return clean


def _check_item(record: Mapping, survey: Survey, number: int) -> None:
    """Raise PluriscopeError where an item is not one of the survey's, or its codes are not."""
    item = next((item for item in survey.items if item.id == record["id"]), None)
    if item is None:
        raise PluriscopeError(f"Line {number}: the survey has no item {record['id'][:40]!r}.")
    codes = [option.get("code") for option in record["options"]]
    if codes != list(item.codes):
        raise PluriscopeError(
            f"Line {number}: the options of {item.id} have to be coded "
            f"{', '.join(map(str, item.codes))}, in this order, not {', '.join(map(str, codes))}."
        )
    labels = [option["label"] for option in record["options"]]
    if len(set(labels)) < len(labels):
        raise PluriscopeError(f"Line {number}: two options of {item.id} say the same.")


def _twice(records: Iterable[Mapping]) -> list[str]:
    seen, twice = set(), []
    for record in records:
        if record["id"] in seen:
            twice.append(f"{record['id']} is there twice.")
        seen.add(record["id"])
    return twice


def _line(record: Mapping) -> str:
    """A record as it is kept: known fields only."""
    kept = {field: record[field] for field in _FIELDS[:4]}
    kept["options"] = [
        {"code": option["code"], "label": option["label"]} for option in record["options"]
    ]
    kept["draft"] = bool(record.get("draft"))
    return json.dumps(kept, ensure_ascii=False) + "\n"


def _merge(path: Path, language: str, texts: Mapping[str, str]) -> None:
    record = _json_file(str(path), path.stat().st_mtime_ns) if path.is_file() else {}
    write_whole(path, json.dumps({**record, language: texts}, ensure_ascii=False, indent=1))
