"""Add what the Unicode CLDR knows of countries: their languages, and their names in each language.

    pip install babel==2.18.0
    python scripts/make_country_words.py

fills the column `languages` of data/countries.csv and adds names to
data/survey/translations/countries.json. Names that are there already stay as they are.

Languages are ISO 639 codes, the one that most people speak first: those that are official in the
country, or in a part of it and spoken by a fifth of its people; where there are none, the one that
most speak. Countries of the bundled survey keep the languages that they were surveyed in.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

from babel import Locale
from babel.core import get_global

DATA = Path(__file__).resolve().parent.parent / "data"
COUNTRIES = DATA / "countries.csv"
SURVEYED = DATA / "survey" / "countries.csv"
NAMES = DATA / "survey" / "translations" / "countries.json"

SPOKEN_BY = 20  # per cent of the people
SAME = {"nb": "no", "nn": "no"}  # one written language of two
NO_ALIAS = {"XKX": "XK"}
# The CLDR gives the status as well, or shortens a word.
SHORTER = {
    "HKG": {
        "es": "Hong Kong", "pt": "Hong Kong", "de": "Hongkong", "nl": "Hongkong", "uk": "Гонконг",
        "ru": "Гонконг", "zh": "香港", "hi": "हाँग काँग", "th": "ฮ่องกง", "sw": "Hong Kong",
        "am": "ሆንግ ኮንግ", "ar": "هونغ كونغ", "fr": "Hong Kong",
    },
    "MHL": {"ru": "Маршалловы Острова"},
    "SLB": {"ru": "Соломоновы Острова"},
    "SYC": {"ru": "Сейшельские Острова"},
}  # fmt: skip


def main() -> None:
    with open(COUNTRIES, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with open(SURVEYED, encoding="utf-8", newline="") as file:
        surveyed = {row["iso3"]: row["survey_languages"] for row in csv.DictReader(file)}
    for row in rows:
        iso3 = row["iso3"]
        row["languages"] = surveyed.get(iso3) or ";".join(languages(alpha2(iso3)))
    with open(COUNTRIES, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)

    names = json.loads(NAMES.read_text(encoding="utf-8"))
    for language, known in names.items():
        added = {row["iso3"]: name(row, language) for row in rows} | known
        names[language] = dict(sorted(added.items()))
    NAMES.write_text(json.dumps(names, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def alpha2(iso3: str) -> str:
    return NO_ALIAS.get(iso3) or get_global("territory_aliases")[iso3][0]


def languages(territory: str) -> list[str]:
    facts = get_global("territory_languages")[territory]
    by_people = sorted(facts, key=lambda code: -facts[code]["population_percent"])
    main = [
        code
        for code in by_people
        if facts[code]["official_status"] in ("official", "de_facto_official")
        or (facts[code]["official_status"] and facts[code]["population_percent"] >= SPOKEN_BY)
    ]
    bare = (code.split("_")[0] for code in main or by_people[:1])
    return list(dict.fromkeys(SAME.get(code, code) for code in bare))


def name(row: dict[str, str], language: str) -> str:
    if language == "en":
        return row["name"]
    shorter = SHORTER.get(row["iso3"], {}).get(language)
    found = shorter or Locale.parse(language).territories[alpha2(row["iso3"])]
    return found.replace("ʼ", "’")


if __name__ == "__main__":
    main()
