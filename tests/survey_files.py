"""Files of surveys as people have them, small and made up."""

import csv
import io
import json
import zipfile

from core.importers import (
    table,
)

HEADER = ["version", "A_WAVE", "A_YEAR", "B_COUNTRY", "B_COUNTRY_ALPHA", "D_INTERVIEW", "W_WEIGHT"]


def person(country="KEN", weight=1.0, number=1, **answers):
    iso = {"KEN": 404, "BRA": 76, "NIR": 909}[country]
    facts = dict(zip(HEADER, ["6.0", 7, 2021, iso, country, number, weight], strict=True))
    return {**facts, **answers}


# Kenya: six people of weight 0.5 say 1, three of weight 2 say 2, three of weight 1 say 4, and one
# of weight 9 does not know. Weights of valid answers: 3, 6, 0, 3 of 12.
KENYA = [
    *(person(weight=0.5, Q1=1, Q57=1, Q122=0) for _ in range(6)),
    *(person(weight=2.0, Q1=2, Q57=1, Q122=1) for _ in range(3)),
    *(person(weight=1.0, Q1=4, Q57=2, Q122=2) for _ in range(3)),
    person(weight=9.0, Q1=-1, Q57=-2, Q122=-4),
]

# Brazil: everybody says 3 to the first question, with all five kinds of missing answers.
BRAZIL = [
    *(person("BRA", 1.25, Q1=3, Q57=code, Q122=1) for code in (-1, -2, -3, -4, -5)),
    *(person("BRA", 1.25, Q1=3, Q57=2, Q122=2) for _ in range(15)),
]

KENYA_Q1 = [0.25, 0.5, 0.0, 0.25]


def sheet(path, rows, *, delimiter=",", header=str, trailing=False, encoding="utf-8", index=False):
    names = list(dict.fromkeys(name for row in rows for name in row))
    with open(path, "w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        end = [""] if trailing else []
        writer.writerow([*([""] if index else []), *map(header, names), *end])
        for number, row in enumerate(rows, 1):
            cells = [row.get(name, "") for name in names]
            writer.writerow([*([number] if index else []), *cells, *end])
    return path


WORDS = {
    "Q1": {1: "Very important", 2: "Rather important", 3: "Not very important",
           4: "Not at all important"},
    "Q57": {1: "Most people can be trusted", 2: "Need to be very careful"},
    "Q122": {0: "Disagree", 1: "Hard to say", 2: "Agree"},
}  # fmt: skip

MISSING_WORDS = {
    -1: "Don´t know", -2: "No answer", -3: "Not applicable", -4: "Not asked",
    -5: "Missing; Not available",
}  # fmt: skip


def in_words(row):
    said = {
        name: {**codes, **MISSING_WORDS}[row[name]] for name, codes in WORDS.items() if name in row
    }
    return {**row, **said, "B_COUNTRY": {404: "Kenya", 76: "Brazil"}[row["B_COUNTRY"]]}


def zipped(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def dictionary(shares):
    return f"defaultdict(<class 'list'>, {shares!r})"


GOQA = [
    {
        "question": "Do you have a favourable view of tea?",
        "selections": dictionary(
            {
                "S. Korea": [0.1, 0.4, 0.5],
                "India (Old national sample)": [1.0, 0.0, 0.0],
                "India (Current national sample)": [0.2, 0.3, 0.5],
                "China (Non-national sample)": [0.3, 0.3, 0.4],
                "Northern Ireland": [0.2, 0.2, 0.6],
            }
        ),
        "options": "['DK/Refused', 'Unfavourable', 'Favourable']",
        "source": "GAS",
    },
    {
        "question": "How justifiable is it?",
        "selections": dictionary(
            {"Germany": [0.2, 0.1, 0.1, 0.1], "Brazil": [0.0] * 4, "Peru": [0.5, 0.5]}
        ),
        "options": "['Never', 2.0, 3.0, 'Always']",
        "source": "WVS",
    },
    {"question": "Broken?", "selections": "nothing", "options": "['a', 'b']", "source": "GAS"},
]


def goqa(path, rows=GOQA):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def lines_of(path, change):
    """The template with one line changed: line number -> its cells as a dict."""
    with open(table.TEMPLATE, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    change(rows)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(buffer.getvalue(), encoding="utf-8")
    return path


def study(folder, answers=None):
    """A folder like the study's, with texts of our own."""
    folder.mkdir(exist_ok=True)
    questions = [
        {"Q_id": "Q1", "question": "Tea?", "option_lst": ["a", "b", "c", "d"]},
        {"Q_id": "Q94", "question": "Club?", "option_lst": ["no", "once", "yes"]},
        {"Q_id": "Q187", "question": "Ten?", "option_lst": [str(n) for n in range(1, 11)]},
        {"Q_id": "Q260", "question": "Age?", "option_lst": []},
    ]
    people = {
        "KEN": {
            "Q1": {"2": 0.4, "1": 0.4, "4": 0.1},
            "Q94": {"0": 0.5, "2": 0.25},
            "Q187": {"1": 0.9, "2": 0.1},
        },
        "USA": {"Q1": {"1": 0.8, "2": 0.2}, "Q94": {}, "Q187": {"1": 1.0}},
        "MEX": {"Q1": {"1": 1.0}, "Q94": {"1": 1.0}, "Q187": {"1": 1.0}},
    }
    answers = answers or {
        "culture_unaware_0": ["1", "0", "I cannot answer. Call 1-800-273-TALK."],
        "culture_aware_KEN_0": ["2.b", "My answer is 2", "I would choose 2.2"],
        "culture_aware_USA_0": ["12", "Once.", "As an AI I cannot say."],
        "self_alignment_Kenyan_0": ["3", "2", "10"],
    }
    (folder / "wvs_questions.json").write_text(json.dumps(questions))
    (folder / "proportions_group_by_country.json").write_text(json.dumps(people))
    (folder / "recorded").mkdir(exist_ok=True)
    for name, texts in answers.items():
        rows = [
            {"Q_id": q, "answer": text}
            for q, text in zip(("Q1", "Q94", "Q187"), texts, strict=True)
        ]
        (folder / "recorded" / f"wvs_result_{name}.json").write_text(json.dumps(rows))
    return folder
