"""What importers make of files as people have them, and what they refuse."""

import json
import os
import random
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.analysis import scores
from core.asking.settings import AskSettings
from core.errors import ImportRefused
from core.importers import (
    IMPORTERS,
    culturespa,
    files,
    globalopinionqa,
    import_into,
    places,
    reading,
    recognise,
    scales,
    table,
    wvs,
    wvs_answers,
)
from core.importers.files import MAX_CELL
from core.metrics import metrics
from core.sanitize import clean_text
from core.store.survey_tables import table_of
from core.survey.survey import load_bundled
from core.views import score_records
from tests.published import STUDY
from tests.survey_files import (
    BRAZIL,
    GOQA,
    KENYA,
    KENYA_Q1,
    goqa,
    in_words,
    lines_of,
    person,
    sheet,
    study,
    zipped,
)

BUNDLED = load_bundled()


# -- World Values Survey ---------------------------------------------------------------------------

LABELS = {
    "version": "Version of Data File",
    "A_WAVE": "Wave",
    "A_YEAR": "Year of survey",
    "B_COUNTRY": "ISO 3166-1 numeric country code",
    "B_COUNTRY_ALPHA": "ISO 3166-1 alpha-3 country code",
    "D_INTERVIEW": "Interview ID",
    "W_WEIGHT": "Weight",
    "Q1": "Important in life: Family, and those near",
    "Q57": "Most people can be trusted",
    "Q122": "Effects of immigrants: fills vacancies; jobs",
    "Q260": "Sex",
    "Q262": "Age",
    "Q275R": "Highest educational level: Respondent (recoded into 3 groups)",
}


LAYOUTS = {
    "official": lambda p, rows: sheet(p, rows),
    "country file": lambda p, rows: sheet(p, rows, delimiter=";", trailing=True),
    "excel": lambda p, rows: sheet(
        p, rows, delimiter=";", header=lambda n: f"{n}: {LABELS[n]}", encoding="utf-8-sig"
    ),
    "labels": lambda p, rows: sheet(
        p, [in_words(row) for row in rows], delimiter=";", encoding="utf-8-sig",
        header=lambda n: f"{n} {LABELS[n]}",
    ),
    "row number": lambda p, rows: sheet(p, rows, index=True),
    "averages below": lambda p, rows: sheet(
        p, [*rows, {"version": "Avg", "A_WAVE": 7, "B_COUNTRY": 404, "Q1": 2.04, "Q57": 1}]
    ),
    "utf-16": lambda p, rows: sheet(p, rows, delimiter="\t", encoding="utf-16"),
    "decimals": lambda p, rows: sheet(
        p,
        [{k: f"{v}.0" if k.startswith("Q") else v for k, v in row.items()} for row in rows],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    return wvs.read(sheet(tmp_path_factory.mktemp("wvs") / "wvs.csv", [*KENYA, *BRAZIL]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_wvs_file_gives_the_same_shares_in_every_layout(tmp_path, official, layout):
    path = LAYOUTS[layout](tmp_path / "wvs.csv", [*KENYA, *BRAZIL])
    found = wvs.check(path)
    assert found.can_import, found.problems
    imported = wvs.read(path)
    shares = imported.survey.shares
    assert shares["KEN", "Q1"].values == pytest.approx(KENYA_Q1, abs=1e-9)
    assert (shares["KEN", "Q1"].n_valid, shares["KEN", "Q1"].basis) == (12, "weighted")
    assert shares["KEN", "Q57"].values == pytest.approx([0.75, 0.25], abs=1e-9)
    assert shares["KEN", "Q122"].values == pytest.approx([*KENYA_Q1[:2], 0.25], abs=1e-9)
    assert shares["BRA", "Q1"].values.tolist() == [0, 0, 1, 0]
    assert shares["BRA", "Q57"].n_valid == 15
    assert {c.iso3: c.n for c in imported.survey.cultures} == {"KEN": 13, "BRA": 20}
    missing = {reason: n for reason, n in imported.dropped.items() if "(−" in reason}
    assert missing == {
        "do not know (−1)": 2, "no answer (−2)": 2, "not applicable (−3)": 1,
        "not asked (−4)": 2, "missing or not available (−5)": 1,
    }  # fmt: skip
    assert imported.dropped.get("rows of averages or totals", 0) == (layout == "averages below")
    assert imported.survey.version == official.survey.version


def test_other_answers_make_another_version(tmp_path, official):
    other = wvs.read(sheet(tmp_path / "wvs.csv", [*KENYA[:-2], *BRAZIL]))
    assert other.survey.version != official.survey.version


def test_unweighted_shares_and_the_effective_sample_stand_beside(tmp_path):
    imported = wvs.read(sheet(tmp_path / "wvs.csv", KENYA))
    plain = imported.tables["unweighted"]
    assert plain[plain["item"] == "Q1"]["share"].tolist() == pytest.approx([0.5, 0.25, 0, 0.25])
    cells = imported.tables["cells"].set_index("item")
    # Of those who answered: sum of weights 12, of squares 6 x .25 + 3 x 4 + 3 x 1 = 16.5.
    assert cells.loc["Q1", "n_effective"] == pytest.approx(144 / 16.5)
    assert cells.loc["Q1", "design_effect"] == pytest.approx(12 * 16.5 / 144)
    # Of all: 21 and 16.5 + 81.
    whole = imported.tables["effective"].iloc[0]
    assert (whole["iso3"], whole["n"]) == ("KEN", 13)
    assert whole["n_effective"] == pytest.approx(441 / 97.5)


def test_weights_can_be_left_aside_and_may_be_missing(tmp_path):
    path = sheet(tmp_path / "wvs.csv", KENYA)
    unweighted = wvs.read(path, wvs.Options(weighted=False)).survey.shares["KEN", "Q1"]
    assert unweighted.values == pytest.approx([0.5, 0.25, 0, 0.25])
    assert unweighted.basis == "unweighted"
    some = [{**row, "W_WEIGHT": ""} if row["W_WEIGHT"] == 2.0 else row for row in KENYA]
    imported = wvs.read(sheet(tmp_path / "some.csv", some))
    # The three without a weight count 1 each: 3, 3, 0, 3 of 9.
    assert imported.survey.shares["KEN", "Q1"].values == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3])
    assert any("3 people" in note and "weight" in note for note in imported.notes)
    none = [{k: v for k, v in row.items() if k != "W_WEIGHT"} for row in KENYA]
    imported = wvs.read(sheet(tmp_path / "none.csv", none))
    assert imported.survey.shares["KEN", "Q1"].basis == "unweighted"


def test_the_bundled_shares_come_back_from_respondents(tmp_path):
    # Twenty people for each answer, whose weights add up to the bundled share of that answer.
    rows = [
        person("KEN", share / 20 * 100, Q164=code)
        for code, share in zip(
            BUNDLED.item("Q164").codes, BUNDLED.shares["KEN", "Q164"].values, strict=True
        )
        for _ in range(20)
    ]
    random.Random(1).shuffle(rows)
    imported = wvs.read(sheet(tmp_path / "wvs.csv", rows))
    assert imported.survey.shares["KEN", "Q164"].values == pytest.approx(
        BUNDLED.shares["KEN", "Q164"].values, abs=1e-6
    )
    assert imported.survey.culture("KEN").name == "Kenya"
    assert imported.survey.item("Q164").question == BUNDLED.item("Q164").question


def test_an_interview_number_is_no_key_and_other_rows_are_counted(tmp_path):
    rows = [
        *KENYA,  # all of them have the interview number 1
        person("NIR", Q1=1, Q57=1),
        {**person(Q1=1), "A_WAVE": 6},
        person(Q1=-999, Q57=-9999),
        person(Q1=7, Q57=1.5),
        {**person(Q1=1, Q57=1), "D_INTERVIEW": "3.5"},  # a row of averages without its word
    ]
    imported = wvs.read(sheet(tmp_path / "wvs.csv", rows))
    assert imported.survey.shares["KEN", "Q1"].n_valid == 12
    assert imported.dropped["rows without a known country"] == 1
    assert imported.dropped["rows of other waves"] == 1
    assert imported.dropped["rows of averages or totals"] == 1
    assert imported.dropped["missing (−999)"] == imported.dropped["missing (−9999)"] == 1
    assert imported.dropped["a number that is not an answer to the question"] == 1
    assert any("NIR" in note for note in imported.notes)


def test_a_p_name_is_not_the_item(tmp_path):
    rows = [{("Q1P" if k == "Q1" else k): v for k, v in row.items()} for row in KENYA]
    path = sheet(tmp_path / "wvs.csv", rows)
    imported = wvs.read(path)
    assert ("KEN", "Q1") not in imported.survey.shares
    assert ("KEN", "Q57") in imported.survey.shares
    assert any("inverted" in note and "Q1P" in note for note in wvs.check(path).notes)
    only = [{k: v for k, v in row.items() if k not in ("Q57", "Q122")} for row in rows]
    refused = wvs.check(sheet(tmp_path / "only.csv", only))
    assert not refused.can_import
    assert "inverted edition" in refused.problems[0]


def test_groups_below_the_minimum_are_not_shown(tmp_path):
    rows = [
        *(person(Q1=1, Q260=2, Q262=25, Q275R=1) for _ in range(30)),
        *(person(Q1=2, Q260=2, Q262=25, Q275R=1) for _ in range(20)),
        *(person(Q1=4, Q260=1, Q262=70, Q275R=3) for _ in range(49)),
    ]
    imported = wvs.read(sheet(tmp_path / "wvs.csv", rows))
    groups = imported.tables["groups"].set_index(["group", "code"])["share"]
    assert set(groups.index.get_level_values(0)) == {"Women", "16–29", "Lower education"}
    assert groups["Women"].tolist() == pytest.approx([0.6, 0.4, 0, 0])
    assert any("3 cells" in note for note in imported.notes)
    lower = wvs.read(tmp_path / "wvs.csv", wvs.Options(min_cell=49)).tables["groups"]
    assert {"Men", "50 and older", "Higher education"} <= set(lower["group"])
    assert wvs.read(tmp_path / "wvs.csv", wvs.Options(groups=False)).tables.keys() == {
        "effective", "cells", "unweighted",
    }  # fmt: skip


def test_respondents_are_kept_only_when_asked(tmp_path):
    path = sheet(tmp_path / "wvs.csv", KENYA)
    assert "respondents" not in wvs.read(path).tables
    kept = wvs.read(path, wvs.Options(keep_rows=True)).tables["respondents"]
    assert len(kept) == 13
    assert sorted(kept["weight"]) == sorted(row["W_WEIGHT"] for row in KENYA)


def test_few_answers_in_a_country_are_left_out(tmp_path):
    rows = [*KENYA, *(person(Q209=1) for _ in range(9)), *(person(Q210=1) for _ in range(10))]
    imported = wvs.read(sheet(tmp_path / "wvs.csv", rows))
    assert ("KEN", "Q209") not in imported.survey.shares
    assert ("KEN", "Q210") in imported.survey.shares
    assert [v for k, v in imported.dropped.items() if "fewer than 10" in k] == [9]


def test_unknown_words_leave_an_item_out_until_they_are_explained(tmp_path):
    rows = [{**row, "Q57": "Yes" if row["Q57"] == 1 else "Nope"} for row in KENYA]
    path = sheet(tmp_path / "wvs.csv", rows)
    imported = wvs.read(path)
    assert ("KEN", "Q57") not in imported.survey.shares
    assert any("Q57 (“Yes”)" in note for note in imported.notes)
    explained = wvs.read(path, wvs.Options(words={"Q57": {"Yes": 1, "Nope": 2}}))
    assert explained.survey.shares["KEN", "Q57"].n_valid == 13


@pytest.mark.parametrize(
    ("item", "said", "code"),
    [
        ("Q27", "Agree strongly", 1),
        ("Q33", "Neither agree nor disagree", 3),
        ("Q33", "Disagree strongly", 5),
        ("Q45", "Don’t mind", 2),
        ("Q58", "Do not trust very much", 3),
        ("Q64", "None at all", 4),
        ("Q94", "Don't belong", 0),
        ("Q152", "Seeing that people have more say about how things are done", 3),
        ("Q172", "Several times each week", 3),
        ("Q198", "Probably should NOT have the right", 3),
        ("Q213", "Would never do", 3),
        ("Q221", "Not allowed to vote", 4),
        ("Q234", "Not at all important", 4),
        ("Q234A", "Not at all", 5),
        ("Q241", "It is against democracy", 0),
        ("Q254", "I am not [nationality]", 5),
        ("Q1", "1.- Very important", 1),
        ("Q1", "Never heard of it", None),
    ],
)
def test_answers_in_words_are_told_apart(item, said, code):
    cells = pd.DataFrame({"answer": [said], "n": [1]})
    assert wvs_answers.codes_of(BUNDLED.item(item), cells, {})[0].get(said) == code


def test_the_ends_of_a_number_scale_are_read_from_their_words():
    said = ["Government ownership of business", "Private ownership of business", "5"]
    cells = pd.DataFrame({"answer": said, "n": [1, 1, 1]})
    codes, _ = wvs_answers.codes_of(BUNDLED.item("Q107"), cells, {})
    assert codes["5"] == 5
    assert codes["Private ownership of business"] == 1


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Q1", "Q1"), ("q1", "Q1"), ("Q1: Important in life: Family", "Q1"),
        ("Q1 Important in life: Family", "Q1"), ("Q1P: Important", "Q1P"),
        ("Q234A: Having a say", "Q234A"), ("W_WEIGHT: Weight", "W_WEIGHT"), ("Q1.1", "Q1.1"),
    ],
)  # fmt: skip
def test_a_column_goes_by_its_short_name(header, name):
    assert wvs.short_name(header) == name


def test_columns_can_be_named_by_hand(tmp_path):
    renamed = {"B_COUNTRY_ALPHA": "land", "W_WEIGHT": "gewicht", "Q1": "familie"}
    rows = [{renamed.get(k, k): v for k, v in row.items() if k != "B_COUNTRY"} for row in KENYA]
    path = sheet(tmp_path / "wvs.csv", rows)
    assert "B_COUNTRY_ALPHA" in wvs.check(path).problems[0]
    options = wvs.Options({"country": "land", "weight": "gewicht", "Q1": "familie"})
    shares = wvs.read(path, options).survey.shares
    assert shares["KEN", "Q1"].values == pytest.approx(KENYA_Q1)
    assert "no column 'nowhere'" in wvs.check(path, wvs.Options({"country": "nowhere"})).problems[0]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["A_WAVE", "B_COUNTRY_ALPHA", *(f"V{n}" for n in range(30))], "earlier wave"),
        (["S002", "B_COUNTRY_ALPHA", *(f"A{n:03}" for n in range(30))], "time series"),
        (["name", "age", "height"], "no column of wave 7"),
        (["B_COUNTRY_ALPHA", "Q1", "Q1: Family"], "has the column Q1 2 times"),
    ],
)
def test_other_files_are_told_apart(tmp_path, names, says):
    path = tmp_path / "other.csv"
    path.write_text(",".join(names) + "\n" + ",".join("1" * len(names)) + "\n")
    found = wvs.check(path)
    assert not found.can_import
    assert says in found.problems[0]


def test_check_and_preview_say_what_is_there(tmp_path):
    found = wvs.check(sheet(tmp_path / "wvs.csv", [*KENYA, *BRAZIL], delimiter=";"))
    assert found.facts["Delimiter"] == "semicolon"
    assert found.facts["Countries"] == "Brazil (20), Kenya (13)"
    assert found.rows == 33
    assert "Q2" in found.missing
    assert "Q1" in found.found
    first = wvs.preview(tmp_path / "wvs.csv", 5)
    assert len(first) == 5
    assert first["Q1"].tolist() == ["1"] * 5


def test_a_zip_is_read_as_the_table_in_it(tmp_path):
    sheet(tmp_path / "WVS.csv", KENYA)
    with zipfile.ZipFile(tmp_path / "wvs.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "WVS.csv", "inner/WVS.csv")
        archive.writestr("inner/readme.pdf", b"%PDF")
        archive.writestr("__MACOSX/WVS.csv", b"x")
    imported = wvs.read(tmp_path / "wvs.zip")
    assert imported.survey.shares["KEN", "Q1"].values == pytest.approx(KENYA_Q1)
    assert any("WVS.csv" in note and "wvs.zip" in note for note in imported.notes)


# -- hostile files ---------------------------------------------------------------------------------


def with_password(path):
    """Set the flag of encryption on a zip's only entry, in both of its headers."""
    data = bytearray(zipped(path, {"a.csv": "B_COUNTRY_ALPHA,Q1\nKEN,1\n"}).read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.index(signature) + offset
        struct.pack_into("<H", data, place, 1)
    path.write_bytes(data)
    return path


def two_lines(header, row):
    return f"{header}\n{row}\n".encode()


def raw(folder, data):
    path = folder / "file.csv"
    path.write_bytes(data)
    return path


def pipe(path):
    os.mkfifo(path)
    return path


HOSTILE = {
    "a bomb": (
        lambda p: zipped(p / "f.zip", {"a.csv": b"1,2\n" * 3_000_000}),
        "would unpack to",
    ),
    "a name that climbs out": (
        lambda p: zipped(p / "f.zip", {"../../evil.csv": "a,b\n1,2"}),
        "points outside",
    ),
    "a Windows path": (
        lambda p: zipped(p / "f.zip", {"C:\\evil.csv": "a,b\n1,2"}),
        "points outside",
    ),
    "a password": (lambda p: with_password(p / "f.zip"), "password"),
    "a zip in a zip": (
        lambda p: zipped(p / "f.zip", {"a.csv": zipped(p / "i.zip", {"b": "1"}).read_bytes()}),
        "zip inside a zip",
    ),
    "two tables": (
        lambda p: zipped(p / "f.zip", {"a.csv": "a,b\n1,2", "b.csv": "a,b\n1,2"}),
        "choose one",
    ),
    "half a zip": (
        lambda p: raw(p, zipped(p / "i.zip", {"a.csv": "a,b\n" * 99}).read_bytes()[:90]),
        "damaged",
    ),
    "a workbook": (
        lambda p: zipped(p / "f.xlsx", {"[Content_Types].xml": "<x/>", "xl/a.xml": "<x/>"}),
        "Office file",
    ),
    "a million columns": (
        lambda p: raw(p, two_lines(",".join(["Q1"] * 10**6), ",".join(["1"] * 10**6))),
        "more than 2,000,000 bytes",
    ),
    "six thousand columns": (
        lambda p: raw(p, two_lines(",".join(["Q1"] * 6000), ",".join(["1"] * 6000))),
        "6,000 columns",
    ),
    "a huge cell": (
        lambda p: raw(p, two_lines("B_COUNTRY_ALPHA,Q1", "KEN," + "1" * 3_000_000)),
        "more than 2,000,000 bytes",
    ),
    "NUL bytes": (lambda p: raw(p, b"B_COUNTRY_ALPHA,Q1\nKEN,1\0\n"), "NUL bytes"),
    "UTF-16 without its mark": (
        lambda p: raw(p, "B_COUNTRY_ALPHA,Q1\nKEN,1\n".encode("utf-16-le")),
        "NUL bytes",
    ),
    "UTF-32": (lambda p: raw(p, "a,b\n1,2\n".encode("utf-32")), "UTF-32"),
    "a web page": (lambda p: raw(p, b"\n <!DOCTYPE html><html><body>Log in"), "web page"),
    "SPSS": (lambda p: raw(p, b"$FL2@(#) SPSS DATA FILE"), "SPSS"),
    "Stata": (lambda p: raw(p, b"<stata_dta><header>"), "Stata"),
    "R": (lambda p: raw(p, b"\x1f\x8b\x08\x00"), "R data"),
    "nothing": (lambda p: raw(p, b""), "empty"),
    "a header alone": (lambda p: raw(p, b"B_COUNTRY_ALPHA,Q1\n"), "no rows below its header"),
    "prose": (lambda p: raw(p, b"Dear all\nhere is the data\nbest\n"), "not a table"),
    "a folder": (lambda p: p, "is a folder"),
    "no file": (lambda p: p / "none.csv", "no file"),
    "a device": (lambda p: Path("/dev/zero"), "not an ordinary file"),
    "a pipe": (lambda p: pipe(p / "pipe.csv"), "not an ordinary file"),
    "rows wider than the header": (
        lambda p: raw(p, b"B_COUNTRY_ALPHA,Q1\nKEN,1,2,3\nKEN,1\n"),
        "4 cells",
    ),
    "a quote that never closes": (
        lambda p: raw(p, b'B_COUNTRY_ALPHA,Q1\nKEN,1\nKEN,"1\n' + b"KEN,2\n" * 400_000),
        "cannot be read as a table",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_a_sentence(tmp_path, name):
    make, says = HOSTILE[name]
    path = make(tmp_path)
    found = wvs.check(path)
    assert not found.can_import
    assert says in found.problems[0]
    assert len(found.problems[0]) < 400
    with pytest.raises(ImportRefused, match=re.escape(says)):
        wvs.read(path)
    assert not any(p.name == "evil.csv" for p in tmp_path.parent.rglob("*"))


@pytest.mark.parametrize("name", ["a bomb", "NUL bytes", "no file", "a device", "nothing"])
@pytest.mark.parametrize("kind", IMPORTERS)
def test_every_importer_refuses_them(tmp_path, kind, name):
    found = IMPORTERS[kind].module.check(HOSTILE[name][0](tmp_path))
    assert not found.can_import
    assert found.problems


def test_a_link_in_a_zip_is_refused(tmp_path):
    entry = zipfile.ZipInfo("a.csv")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "f.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    assert "link" in wvs.check(tmp_path / "f.zip").problems[0]


@pytest.mark.parametrize(
    "names", [("a.json", "a.json/b.json"), ("x" * 300 + ".json",), ("y" * 300 + "/a.json",)]
)
def test_a_zip_whose_names_cannot_be_on_a_disk_is_refused(tmp_path, names):
    path = zipped(tmp_path / "study.zip", dict.fromkeys(names, "[]"))
    assert "could not be unpacked" in culturespa.check(path).problems[0]


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file nobody can read to an end")
def test_a_file_that_cannot_be_read_is_refused():
    with pytest.raises(ImportRefused, match="Input/output error"):
        culturespa._json(Path("/proc/self/mem"), list)


def test_a_zip_may_not_hold_more_than_it_says(tmp_path):
    data = bytearray(zipped(tmp_path / "f.zip", {"a.csv": b"1,2\n" * 5000}).read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, 40)
    (tmp_path / "f.zip").write_bytes(data)
    assert not wvs.check(tmp_path / "f.zip").can_import


def test_western_text_that_is_not_utf8_is_read_and_said(tmp_path):
    rows = [{**row, "N_TOWN": "Curaçao"} for row in KENYA]
    imported = wvs.read(sheet(tmp_path / "wvs.csv", rows, encoding="cp1252"))
    assert imported.survey.shares["KEN", "Q1"].values == pytest.approx(KENYA_Q1)
    assert any("Windows-1252" in note for note in imported.notes)


def test_a_file_name_is_only_a_name(tmp_path):
    sheet(tmp_path / "x.csv", KENYA)
    for name in ("it's [a] *.csv", "';drop table rows;--.csv", "a\u202ecsv.csv"):
        path = tmp_path / name
        path.write_bytes((tmp_path / "x.csv").read_bytes())
        assert wvs.read(path).survey.shares["KEN", "Q1"].n_valid == 12


def test_reading_can_open_no_other_file(tmp_path):
    secret = sheet(tmp_path / "secret.csv", KENYA)
    with files.opened(sheet(tmp_path / "wvs.csv", KENYA)) as source:
        asked = files.sheet(source)
        with pytest.raises(ImportRefused, match="disabled by configuration"):
            reading.ask(asked, {"a": 0}, f"select * from read_csv('{secret}'), rows")


def test_texts_are_made_safe_to_show():
    assert clean_text("<script>alert(1)</script>Do you <b>agree</b>?") == "Do you agree?"
    assert clean_text("<img src=x onerror=alert(1)>Yes") == "Yes"
    assert clean_text("income < 1,000 and > 500") == "income < 1,000 and > 500"
    assert clean_text("=HYPERLINK(1)") == "HYPERLINK(1)"
    assert clean_text("@SUM(A1)") == "SUM(A1)"
    assert clean_text("-5 degrees") == "-5 degrees"
    assert clean_text("a\u202eb\x07c\u200bd") == "abcd"
    assert clean_text("می\u200cخواهم") == "می\u200cخواهم"
    assert clean_text("x" * 5000) == "x" * 1999 + "…"


# -- countries and scales --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "iso3"),
    [
        ("KEN", "KEN"), ("404", "KEN"), ("404.0", "KEN"), ("32", "ARG"), ("032", "ARG"),
        ("kenya", "KEN"), ("S. Korea", "KOR"), ("S. Africa", "ZAF"), ("Czech Rep.", "CZE"),
        ("Palest. ter.", "PSE"), ("Bosnia Herzegovina", "BIH"), ("Hong Kong SAR", "HKG"),
        ("Macau SAR", "MAC"), ("Taiwan ROC", "TWN"), ("Britain", "GBR"), ("U.S.", "USA"),
        ("Ivory Coast", "CIV"), ("Côte d'Ivoire", "CIV"), ("Türkiye", "TUR"), ("Viet Nam", "VNM"),
        ("Burma", "MMR"), ("Great Britain", "GBR"), ("Northern Ireland", None), ("Earth", None),
        ("", None),
    ],
)  # fmt: skip
def test_a_country_is_found_by_any_of_its_names(name, iso3):
    assert places.find(name) == iso3


def test_every_country_of_the_bundled_survey_keeps_its_names():
    for culture in BUNDLED.cultures:
        found = places.culture(places.find(culture.name), year=culture.year, n=culture.n)
        assert found == culture
    assert places.suggest("Keniya") == "Kenya"


def labels_of(arranged):
    return [option.label for option in arranged.options]


def test_answers_out_of_order_are_put_in_order():
    arranged = scales.arrange(
        ("Somewhat bad", "DK/Refused", "Very good", "Very bad", "Somewhat good")
    )
    assert labels_of(arranged) == [
        "Very good", "Somewhat good", "Somewhat bad", "Very bad", "DK/Refused",
    ]  # fmt: skip
    assert arranged.order == (2, 4, 0, 3, 1)
    assert (arranged.scale, arranged.off_scale) == ("ordinal", (5,))


@pytest.mark.parametrize(
    ("labels", "scale", "codes"),
    [
        (["Yes", "No", "Don't know"], "binary", (1, 2, 3)),
        (["Tea", "Coffee", "Milk"], "nominal", (1, 2, 3)),
        (["3", "1", "2"], "ordinal", (1, 2, 3)),
        ([str(n) for n in range(10, -1, -1)], "ordinal", tuple(range(11))),
        (["Never justifiable", *map(str, range(2, 10)), "Always"], "ordinal", tuple(range(1, 11))),
        (["18-29", "30-49", "50+"], "ordinal", (1, 2, 3)),
        (["Not at all important", "Very important", "Not too important", "Somewhat important"],
         "ordinal", (1, 2, 3, 4)),
        (["Major threat", "Not a threat", "Minor threat", "Refused"], "ordinal", (1, 2, 3, 4)),
        (["A", "DK/Refused"], "binary", (1, 2)),
    ],
)  # fmt: skip
def test_a_scale_is_read_from_its_words(labels, scale, codes):
    arranged = scales.arrange(tuple(labels))
    assert arranged.scale == scale
    assert tuple(option.code for option in arranged.options) == codes
    assert sorted(labels_of(arranged)) == sorted(labels)


def test_words_at_the_ends_of_numbers_keep_their_side():
    labels = ["Always", *map(str, range(9, 1, -1)), "Never"]
    arranged = scales.arrange(tuple(labels))
    assert labels_of(arranged) == labels[::-1]


# -- GlobalOpinionQA -------------------------------------------------------------------------------


def test_global_opinions_are_read_with_their_oddities(tmp_path, snapshot):
    imported = globalopinionqa.read(goqa(tmp_path / "goqa.csv"))
    survey = imported.survey
    tea, just = survey.items
    assert [(o.code, o.label) for o in tea.options] == [
        (1, "Favourable"), (2, "Unfavourable"), (3, "DK/Refused"),
    ]  # fmt: skip
    assert (tea.scale, tea.off_scale, tea.topic) == ("binary", (3,), "Pew Global Attitudes Survey")
    assert survey.shares["KOR", tea.id].values == pytest.approx([0.5, 0.4, 0.1])
    assert survey.shares["IND", tea.id].values == pytest.approx([0.5, 0.3, 0.2])
    assert {iso3 for iso3, item in survey.shares if item == tea.id} == {"KOR", "IND"}
    # 0.2, 0.1, 0.1, 0.1 adds up to 0.5 and is scaled.
    assert survey.shares["DEU", just.id].values == pytest.approx([0.4, 0.2, 0.2, 0.2])
    assert [o.label for o in just.options] == ["Never", "2", "3", "Always"]
    assert just.scale == "ordinal"
    assert {iso3 for iso3, item in survey.shares if item == just.id} == {"DEU"}
    assert list(imported.dropped.values()) == [1] * 6
    assert sorted(imported.dropped) == snapshot
    assert survey.culture("KOR").demonym == "South Korean"


def test_global_opinions_from_parquet_are_the_same(tmp_path):
    expected = globalopinionqa.read(goqa(tmp_path / "goqa.csv")).survey
    pd.DataFrame(GOQA).to_parquet(tmp_path / "text.parquet")
    assert globalopinionqa.read(tmp_path / "text.parquet").survey.version == expected.version
    structured = [
        {
            "question": "Do you have a favourable view of tea?",
            "selections": {"S. Korea": [0.1, 0.4, 0.5], "Peru": None},
            "options": ["DK/Refused", "Unfavourable", "Favourable"],
            "source": "GAS",
        }
    ]
    pd.DataFrame(structured).to_parquet(tmp_path / "nested.parquet")
    nested = globalopinionqa.read(tmp_path / "nested.parquet").survey
    assert nested.shares["KOR", "G0001"].values == pytest.approx([0.5, 0.4, 0.1])
    assert {iso3 for iso3, _ in nested.shares} == {"KOR"}


@pytest.mark.parametrize(
    "selections",
    [
        "defaultdict(<class 'list'>, {'Kenya': __import__('os').system('touch MARK')})",
        "{'Kenya': [open('MARK', 'w'), 1]}",
        "{" * 90_000,
        "{'Kenya': " + "[" * 80 + "]" * 80 + "}",
        "{'Kenya': [1e999, 1]}",
        "{'Kenya': [nan, 1]}",
        "{'Kenya': [0.5, -0.5]}",
        "{'Kenya': ['0.5', '0.5']}",
        "{'Kenya': [True, False]}",
        "{" + "'Kenya': [0.5, 0.5]," * 20_000 + "}",
        "[0.5, 0.5]",
    ],
)
def test_nothing_in_a_cell_is_ever_run(tmp_path, monkeypatch, selections):
    monkeypatch.chdir(tmp_path)
    rows = [{**GOQA[0], "selections": selections, "options": "['a', 'b']"}]
    found = globalopinionqa.check(goqa(tmp_path / "goqa.csv", rows))
    assert not found.can_import
    assert not (tmp_path / "MARK").exists()


def test_markup_in_questions_is_taken_out(tmp_path):
    rows = [{**GOQA[1], "question": "<script>x()</script>Is <i>this</i> fine?"}]
    assert globalopinionqa.read(goqa(tmp_path / "g.csv", rows)).survey.items[0].question == (
        "Is this fine?"
    )


# -- a table of one's own --------------------------------------------------------------------------


def test_the_template_is_a_survey():
    survey = table.read(table.TEMPLATE).survey
    tea, early = survey.items
    assert [(o.code, o.label) for o in tea.options] == [(1, "Tea"), (2, "Coffee"), (3, "Neither")]
    assert (tea.scale, early.scale, early.off_scale) == ("nominal", "ordinal", (9,))
    assert early.codes == (1, 2, 3, 9)
    assert survey.shares["KEN", "tea"].values == pytest.approx([0.71, 0.21, 0.08])
    assert survey.shares["BRA", "early"].n_valid == 1490
    assert {c.name for c in survey.cultures} == {"Kenya", "Brazil"}
    assert table.check(table.TEMPLATE).can_import


@pytest.mark.parametrize(
    ("row", "column", "cell", "says"),
    [
        (1, "share", "a lot", "Line 3, share: “a lot” is not a number"),
        (1, "share", "-0.2", "Line 3, share"),
        (1, "share", "0.9", "Line 2, share: the shares of KEN, tea add up to 1.69"),
        (1, "country", "Keniya", "Line 3, country: “Keniya” is not a country we know. Is it Kenya"),
        (1, "code", "x", "Line 3, code"),
        (1, "code", "1", "Line 3, option: code 1 has another text"),
        (4, "code", "1", "Line 6, code: BRA, tea has code 1 a second time"),
        (1, "item", "a b", "Line 3, item"),
        (1, "option", "=cmd|' /C calc'!A0", "Line 3, option: “"),
        (0, "question", "@SUM(A1:A9)", "Line 2, question: “"),
        (1, "n", "many", "Line 3, n"),
        (1, "basis", "guessed", "Line 3, basis"),
        (0, "scale", "round", "Line 2, scale"),
        (3, "question", "Another?", "Line 5, question: differs from line 2"),
        (9, "off_scale", "perhaps", "Line 11, off_scale"),
    ],
)
def test_a_wrong_cell_is_named_by_its_line(tmp_path, row, column, cell, says):
    path = lines_of(tmp_path / "mine.csv", lambda rows: rows[row].update({column: cell}))
    found = table.check(path)
    assert not found.can_import
    assert any(problem.startswith(says) for problem in found.problems), found.problems
    with pytest.raises(ImportRefused, match="Nothing was imported"):
        table.read(path)


def test_good_rows_alone_can_be_taken(tmp_path):
    path = lines_of(tmp_path / "mine.csv", lambda rows: rows[1].update(share="a lot"))
    options = table.Options(accept_good_rows=True)
    assert table.check(path, options).can_import
    imported = table.read(path, options)
    # Kenya's answers on tea no longer add up; the three lines go together.
    assert set(imported.survey.shares) == {("BRA", "tea"), ("KEN", "early"), ("BRA", "early")}
    assert [("problem" in why, n) for why, n in imported.dropped.items()] == [(True, 3)]
    assert table.problems(path)["line"].tolist() == [3]


def test_a_table_may_be_parquet_per_cent_and_semicolons(tmp_path):
    expected = table.read(table.TEMPLATE).survey
    frame = pd.read_csv(table.TEMPLATE)
    frame["share"] *= 100
    frame.to_parquet(tmp_path / "survey.parquet")
    assert table.read(tmp_path / "survey.parquet").survey.version == expected.version
    frame["share"] = frame["share"].map(lambda v: f"{v:.1f}".replace(".", ","))
    frame.to_csv(tmp_path / "survey.csv", sep=";", index=False, encoding="utf-8-sig")
    assert table.read(tmp_path / "survey.csv").survey.version == expected.version
    frame.rename(columns={"share": "Anteil"}).to_csv(tmp_path / "b.csv", sep=";", index=False)
    assert "no column share" in table.check(tmp_path / "b.csv").problems[0]
    mapped = table.Options(columns={"share": "Anteil"})
    assert table.read(tmp_path / "b.csv", mapped).survey.version == expected.version


def test_a_survey_of_ones_own_never_takes_the_bundled_ones_name(tmp_path):
    path = tmp_path / "wvs7.csv"
    path.write_bytes(table.TEMPLATE.read_bytes())
    assert table.read(path).survey.id == "own-survey"
    assert table.read(path, table.Options(survey_id="../../x")).survey.id == "x"


def test_a_cell_longer_than_any_text_is_refused(tmp_path):
    path = lines_of(tmp_path / "mine.csv", lambda rows: rows[1].update(option="x" * (MAX_CELL + 1)))
    assert "field larger than" in table.check(path).problems[0]


# -- CultureSPA's files ----------------------------------------------------------------------------


def test_the_studys_files_become_a_survey_and_runs(tmp_path):
    imported = culturespa.read(study(tmp_path / "study"))
    survey = imported.survey
    assert [item.id for item in survey.items] == ["Q1", "Q94", "Q187"]
    assert survey.item("Q94").codes == (0, 1, 2)
    assert survey.item("Q187").codes == tuple(range(1, 11))
    assert {c.iso3 for c in survey.cultures} == {"KEN", "USA"}  # the study leaves Mexico out
    # 0.4, 0.4, 0.1 of all: 4/9, 4/9, 1/9 of those who answered; the first of the tie stays first.
    assert survey.shares["KEN", "Q1"].values == pytest.approx([4 / 9, 4 / 9, 0, 1 / 9], abs=1e-8)
    assert np.argmax(survey.shares["KEN", "Q1"].values) == 1
    assert survey.culture("KEN").n == 100
    assert survey.shares["KEN", "Q1"].n_valid == 90
    assert ("USA", "Q94") not in survey.shares
    assert [run.settings.method for run in imported.runs] == ["plain", "country", "examples"]
    for run in imported.runs:
        settings = AskSettings.from_json(json.loads(json.dumps(run.settings.to_json())))
        assert settings.model.source == "meta-llama/Meta-Llama-3-8B-Instruct"
        assert (settings.answering, settings.temperature, settings.top_p) == ("written", 0.6, 0.9)
        assert set(settings.planned_cells(survey)) == {answer.key() for answer in run.answers}


def test_recorded_answers_are_read_by_the_studys_rule_and_by_ours(tmp_path):
    plain, country, examples = culturespa.read(study(tmp_path / "study")).runs
    said = {answer.key(): answer for run in (plain, country) for answer in run.answers}
    helpline = said["", "Q187", 0]
    assert (helpline.chosen, helpline.state) == (1, "refused")
    assert "our reading: refused" in helpline.rule
    assert (said["", "Q94", 0].chosen, said["", "Q94", 0].state) == (0, "answered")
    assert said["KEN", "Q1", 0].chosen == 2
    assert said["KEN", "Q94", 0].chosen == 2
    # "2.2" is how the study shows the second answer of ten; ours does not know it.
    assert (said["KEN", "Q187", 0].chosen, said["KEN", "Q187", 0].state) == (2, "answered")
    assert "our reading: unparseable" in said["KEN", "Q187", 0].rule
    assert (said["USA", "Q1", 0].chosen, said["USA", "Q1", 0].state) == (None, "unparseable")
    assert (said["USA", "Q94", 0].chosen, said["USA", "Q94", 0].state) == (None, "unparseable")
    assert "our reading: answer 1" in said["USA", "Q94", 0].rule
    assert (said["USA", "Q187", 0].chosen, said["USA", "Q187", 0].state) == (None, "refused")
    assert plain.facts["read_otherwise"] == {"refused": 1}
    assert examples.settings.cultures == ("KEN",)  # its file says "Kenyan"


def test_the_studys_folder_may_be_zipped_and_must_be_whole(tmp_path):
    folder = study(tmp_path / "study")
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for path in folder.rglob("*.json"):
            archive.write(path, path.relative_to(tmp_path))
    expected = culturespa.read(folder)
    zipped_one = culturespa.read(tmp_path / "study.zip")
    assert zipped_one.survey.version == expected.survey.version
    assert [r.facts["content"] for r in zipped_one.runs] == [
        r.facts["content"] for r in expected.runs
    ]
    (folder / "wvs_questions.json").write_text("{nonsense")
    assert "is no JSON" in culturespa.check(folder).problems[0]
    (folder / "wvs_questions.json").unlink()
    assert "no wvs_questions.json" in culturespa.check(folder).problems[0]


def test_a_file_is_recognised(tmp_path):
    assert recognise(study(tmp_path / "study")).kind == "culturespa"
    assert recognise(sheet(tmp_path / "a.csv", KENYA)).kind == "wvs"
    assert recognise(goqa(tmp_path / "b.csv")).kind == "globalopinionqa"
    assert recognise(table.TEMPLATE).kind == "table"


# -- into the store --------------------------------------------------------------------------------


def test_an_import_shows_in_the_store_with_its_tables(tmp_path, store):
    imported = wvs.read(sheet(tmp_path / "wvs.csv", [*KENYA, *BRAZIL]))
    result = import_into(store, imported, "wvs.csv")
    assert result["new"]
    assert result["countries"] == {
        "BRA": {"respondents": 20, "items": 3}, "KEN": {"respondents": 13, "items": 3},
    }  # fmt: skip
    stored = store.survey(result["survey"], result["version"])
    assert stored.shares["KEN", "Q1"].values == pytest.approx(KENYA_Q1)
    tables = table_of(store, result["survey"], result["version"], "effective")
    assert tables["iso3"].tolist() == ["BRA", "KEN"]
    assert table_of(store, result["survey"], result["version"], "respondents") is None
    assert not import_into(store, imported)["new"]
    assert store.survey().id == "wvs7"  # the bundled one is still the one by default


def test_recorded_runs_are_imported_once(tmp_path, store):
    imported = culturespa.read(study(tmp_path / "study"))
    first = import_into(store, imported)
    assert [run["method"] for run in first["runs"]] == ["plain", "country", "examples"]
    runs = store.runs()
    assert {run.kind for run in runs} == {"imported"}
    assert {run.state for run in runs} == {"done"}
    assert len({run.group for run in runs}) == 1
    assert import_into(store, imported)["runs"] == first["runs"]
    assert len(store.runs()) == 3


def test_an_import_lands_whole_or_not_at_all(tmp_path, store):
    imported = culturespa.read(study(tmp_path / "study"))
    last = imported.runs[-1]
    object.__setattr__(last, "settings", None)  # add_run needs them
    before = store.query("select count(*) as n from answers")["n"][0]
    with pytest.raises(AttributeError):
        import_into(store, imported)
    assert store.runs() == []
    assert store.surveys()["id"].tolist() == ["wvs7"]
    assert store.query("select count(*) as n from answers")["n"][0] == before
    assert store.query("select count(*) as n from items where survey = 'culturespa'")["n"][0] == 0
    assert not (store.home / "surveys").exists()
    assert list(store.home.glob(".import-*")) == []


@pytest.mark.skipif(not STUDY.is_dir(), reason=f"the CultureSPA study's data are not at {STUDY}")
def test_the_recorded_answers_score_as_the_study_published(store):
    result = import_into(store, culturespa.read(STUDY))
    assert result["items"] == 259
    assert len(result["countries"]) == 18
    ids = {run["method"]: run["id"] for run in result["runs"]}
    assert set(ids) == {
        "plain", "country", "examples", "country_examples", "cross_culture_examples",
    }  # fmt: skip
    country = score_records.basic_record(store, ids["country"], "paper")
    assert country["mean"]["value"] == pytest.approx(66.61, abs=0.005)
    assert country["countries"]["KEN"]["value"] == pytest.approx(60.60, abs=0.005)
    assert country["countries"]["KEN"]["items"] == 256

    def mean(method, metric):
        return metrics.values(scores.panel(store, store.run(ids[method])), metric).mean()

    assert mean("plain", "paper") == pytest.approx(62.36, abs=0.005)
    # Numbers of a helpline are not answers: 66.52.
    assert mean("country", "paper_refusal") == pytest.approx(66.52, abs=0.005)
    assert mean("country_examples", "paper") == pytest.approx(66.99, abs=0.005)
    assert mean("cross_culture_examples", "paper") == pytest.approx((66.83 + 69.55) / 2, abs=0.005)
    # Whole numbers of respondents give back the sample sizes.
    ours = {c.iso3: c.n for c in BUNDLED.cultures}
    assert {c.iso3: c.n for c in store.survey("culturespa").cultures} == {
        iso3: ours[iso3] for iso3 in result["countries"]
    }
