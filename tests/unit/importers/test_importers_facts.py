"""What importing promises, as a whole: the bundled shares come back, large files stay on disk,
hostile ones do no harm, and the command line says all of it in one line."""

import csv
import json
import random

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.__main__ import main
from core.errors import ImportRefused
from core.importers import (
    arrow,
    culturespa,
    files,
    glance,
    globalopinionqa,
    import_into,
    reading,
    scales,
    table,
    wvs,
)
from core.survey.survey import load_bundled
from tests.published import RECORDED, STUDY
from tests.survey_files import (
    BRAZIL,
    GOQA,
    KENYA,
    dictionary,
    goqa,
    lines_of,
    person,
    sheet,
    study,
    zipped,
)

BUNDLED = load_bundled()


# -- the bundled shares ----------------------------------------------------------------------------

PARTS = 24  # a share is told by which of the weights 1, 2, 4, … 2^23 people gave the answer
ANSWERS = max(len(item.options) for item in BUNDLED.items)


def respondents_of(iso3, rows):
    """People whose weighted answers have exactly the bundled shares of a country, every item at
    once: for each option and each power of two at most one person who gave that answer. Ten more
    weigh nothing, so that nowhere too few people answered."""
    number = {c.iso3: n for n, c in enumerate(BUNDLED.cultures)}[iso3]
    people = [
        {"B_COUNTRY_ALPHA": iso3, "D_INTERVIEW": k, "A_YEAR": BUNDLED.culture(iso3).year,
         "W_WEIGHT": f"{2**bit * 1e-6:.6f}", "A_WAVE": 7, "C_COW_NUM": number}
        for bit in range(PARTS)
        for k in range(ANSWERS)
    ]  # fmt: skip
    people += [{**people[0], "W_WEIGHT": "0"} for _ in range(10)]
    for item in BUNDLED.items:
        cell = BUNDLED.shares.get((iso3, item.id))
        for person_ in people:
            person_[item.id] = -4
        if cell is None:
            continue
        for person_ in people[-10:]:
            person_[item.id] = item.codes[0]
        for option, share in enumerate(cell.values):
            whole = round(share * (2**PARTS - 1))
            for bit in range(PARTS):
                if whole >> bit & 1:
                    people[bit * ANSWERS + option][item.id] = item.codes[option]
    rows += people


def test_the_same_respondents_give_the_bundled_shares_to_a_millionth(tmp_path):
    weighted = sorted(
        {iso3 for (iso3, _), cell in BUNDLED.shares.items() if cell.basis == "weighted"}
    )
    assert len(weighted) == 55
    some = weighted[::9]  # 7 countries with all their items; any 7 take as long
    rows = []
    for iso3 in some:
        respondents_of(iso3, rows)
    random.Random(1).shuffle(rows)
    path = tmp_path / "wvs.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    found = wvs.read(path).survey
    expected = {key: cell for key, cell in BUNDLED.shares.items() if key[0] in some}
    assert found.shares.keys() == expected.keys()
    worst = max(
        np.abs(found.shares[key].values - cell.values).max() for key, cell in expected.items()
    )
    assert worst < 1e-6
    assert {cell.basis for cell in found.shares.values()} == {"weighted"}
    assert found.core_ids == BUNDLED.core_ids
    assert {c.iso3: c.year for c in found.cultures} == {
        iso3: BUNDLED.culture(iso3).year for iso3 in some
    }


# -- large files -----------------------------------------------------------------------------------


def test_a_file_larger_than_the_memory_it_may_use_is_read(tmp_path, monkeypatch):
    people = [person(k, 1.0, Q1=1 + k_ % 4) for k_ in range(50) for k in ("KEN", "BRA")]
    wide = [{**row, **{f"Z{n}": "some text or other" for n in range(200)}} for row in people]
    path = sheet(tmp_path / "wvs.csv", wide)
    header, _, body = path.read_bytes().partition(b"\n")
    with open(path, "wb") as file:
        file.write(header + b"\n")
        for _ in range(400):
            file.write(body)
    size = path.stat().st_size
    assert size > 150e6
    monkeypatch.setattr(reading, "MEMORY", "100MB")
    monkeypatch.setattr(reading, "THREADS", 2)
    found = wvs.read(path)
    assert {c.iso3: c.n for c in found.survey.cultures} == {"KEN": 20_000, "BRA": 20_000}
    assert found.survey.shares["KEN", "Q1"].values == pytest.approx([0.26, 0.26, 0.24, 0.24])


def test_kept_rows_are_codes_and_come_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "BATCH", 7)
    kept = wvs.read(sheet(tmp_path / "wvs.csv", [*KENYA, *BRAZIL]), wvs.Options(keep_rows=True))
    rows = kept.tables["respondents"]
    assert rows["iso3"].tolist() == ["BRA"] * 20 + ["KEN"] * 13
    assert sorted(rows["Q57"][:20]) == sorted(row["Q57"] for row in BRAZIL)
    assert rows["weight"].tolist()[:20] == [1.25] * 20
    assert rows["Q57"].dtype == "Int16"


# -- hostile files ---------------------------------------------------------------------------------


def packed(path, columns, rows=50_000, size=10_000_000):
    """A Parquet file of a few kilobytes that holds the same long text in every cell."""
    cell = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * size]))
    pq.write_table(pa.table({name: cell for name in columns}), path, compression="zstd")
    assert path.stat().st_size < 20_000
    return path


def test_a_parquet_bomb_is_refused_before_it_unpacks(tmp_path):
    path = packed(tmp_path / "g.parquet", globalopinionqa.COLUMNS)
    assert "10,000,000 bytes" in globalopinionqa.check(path).problems[0]
    path = packed(tmp_path / "t.parquet", table.REQUIRED, rows=500_000, size=100_000)
    assert "50,000 MB" in table.check(path).problems[0]


def test_a_parquet_file_of_endless_lists_is_refused(tmp_path):
    endless = pa.ListArray.from_arrays(
        pa.array([0, 30_000_000], pa.int32()), pa.array(np.zeros(30_000_000))
    )
    text = pa.array(["a"])
    columns = {"question": text, "selections": text, "options": endless}
    pq.write_table(pa.table(columns), tmp_path / "g.parquet", compression="zstd")
    assert "20,000,000 values" in globalopinionqa.check(tmp_path / "g.parquet").problems[0]


def test_a_parquet_file_of_too_many_columns_is_refused(tmp_path):
    pq.write_table(pa.table({f"c{n}": [1] for n in range(6000)}), tmp_path / "w.parquet")
    assert "6,000 columns" in table.check(tmp_path / "w.parquet").problems[0]
    huge = tmp_path / "huge.parquet"
    huge.write_bytes(b"PAR1" + b"\0" * 64 + (1 << 30).to_bytes(4, "little") + b"PAR1")
    assert "far too many columns" in table.check(huge).problems[0]
    cut = tmp_path / "cut.parquet"
    cut.write_bytes((tmp_path / "w.parquet").read_bytes()[:5000])
    assert "ends too soon" in table.check(cut).problems[0]


def test_a_folder_with_more_files_than_anybody_would_give_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_SEEN", 10)
    for n in range(12):
        (tmp_path / f"{n}.txt").write_text("x")
    for module in (culturespa, globalopinionqa):
        assert "more than 10 files" in module.check(tmp_path).problems[0]


def test_a_link_in_a_folder_is_not_followed(tmp_path):
    outside = study(tmp_path / "outside")
    inside = tmp_path / "inside"
    inside.mkdir()
    for path in outside.rglob("*.json"):
        (inside / path.name).symlink_to(path)
    (inside / "recorded").symlink_to(outside / "recorded")
    assert "no wvs_questions.json" in culturespa.check(inside).problems[0]


WEIRD = (
    *(None, True, -1, 1e308, float("nan"), float("inf"), 10**400),
    *("", "x", "\ud800", "1" * 5000, "\0", "<b>"),
    *([], {}, [1], {"a": 1}, [[]], {"1": {}}, {"1": [1]}),
)


def mutated(value, rng, depth=0):
    """JSON with some of its values replaced by what nobody expects there."""
    if rng.random() < 0.15:
        return rng.choice(WEIRD)
    if isinstance(value, dict):
        return {
            k if rng.random() > 0.05 else rng.choice(("", "Q999", "KEN", "9" * 30)): mutated(v, rng)
            if rng.random() < 0.3
            else v
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [mutated(v, rng) if rng.random() < 0.3 else v for v in value]
    return rng.choice(WEIRD) if rng.random() < 0.3 else value


def test_whatever_stands_in_the_studys_files_it_is_read_or_refused(tmp_path, store):
    folder = study(tmp_path / "study")
    paths = [
        folder / "wvs_questions.json",
        folder / "proportions_group_by_country.json",
        folder / "recorded" / "wvs_result_culture_aware_KEN_0.json",
    ]
    whole = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    rng = random.Random(5)
    outcomes = set()
    for _ in range(80):
        for path, value in zip(paths, whole, strict=True):
            path.write_text(json.dumps(mutated(value, rng)))
        try:
            import_into(store, culturespa.read(folder))
            outcomes.add("read")
        except ImportRefused as refused:
            assert len(str(refused)) < 400
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def scribbled(text, rng):
    letters = list(text)
    for _ in range(rng.randint(1, 6)):
        letters[rng.randrange(len(letters))] = rng.choice(
            ("'", "[", "{", "9" * 320, "nan", "=", ",", "\n", '"', "None", "1e999", "\\", "1j", "٣")
        )
    return "".join(letters)


def test_whatever_stands_in_a_table_it_is_read_or_refused(tmp_path, store):
    rng = random.Random(6)
    outcomes = set()
    for _ in range(80):
        rows = [{k: scribbled(v, rng) for k, v in row.items()} for row in GOQA]
        path = tmp_path / "t.csv"
        path.write_text(scribbled(scribbled(table.TEMPLATE.read_text(encoding="utf-8"), rng), rng))
        for read in (
            lambda rows=rows: globalopinionqa.read(goqa(tmp_path / "g.csv", rows)),
            lambda path=path: table.read(path, table.Options(accept_good_rows=True)),
        ):
            try:
                import_into(store, read())
                outcomes.add("read")
            except ImportRefused:
                outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_a_number_too_large_to_be_one_is_refused(tmp_path):
    rows = [{**GOQA[0], "selections": "{'Kenya': [" + "9" * 400 + ", 1]}", "options": "['a', 'b']"}]
    assert not globalopinionqa.check(goqa(tmp_path / "g.csv", rows)).can_import


def test_a_formula_is_shown_as_it_stands(tmp_path, snapshot):
    path = lines_of(tmp_path / "mine.csv", lambda rows: rows[1].update(option="=1+1"))
    (problem,) = table.problems(path)["problem"]
    assert "“=1+1”" in problem and problem == snapshot


# -- which kind, which order -----------------------------------------------------------------------


def test_a_file_is_recognised_by_its_names_also_where_it_cannot_be_read(tmp_path):
    assert glance(tmp_path / "none.csv").kind == "table"
    rows = [{k: v for k, v in row.items() if not k.startswith("B_")} for row in KENYA]
    found = glance(sheet(tmp_path / "wvs.csv", rows))
    assert (found.kind, "Q57" in found.columns) == ("wvs", True)
    broken = zipped(tmp_path / "study.zip", {"a/wvs_questions.json": "[]"})
    assert glance(broken).kind == "culturespa"
    assert "no proportions_group_by_country.json" in culturespa.check(broken).problems[0]


def test_the_data_set_may_be_a_folder_as_hugging_face_lays_it_out(tmp_path):
    folder = tmp_path / "llm_global_opinions"
    (folder / "data").mkdir(parents=True)
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x.csv").write_text("a,b\n1,2\n")
    pd.DataFrame(GOQA).to_parquet(folder / "data" / "train-00000-of-00001.parquet")
    expected = globalopinionqa.read(goqa(tmp_path / "g.csv")).survey.version
    assert glance(folder).kind == "globalopinionqa"
    assert globalopinionqa.read(folder).survey.version == expected
    (folder / "data" / "more.csv").write_text("a,b\n1,2\n")
    assert "holds 2" in globalopinionqa.check(folder).problems[0]


def arrow_stream(path, columns, **options):
    """A file as the library `datasets` writes them; options as for pa.ipc.IpcWriteOptions."""
    made = pa.table(columns)
    with pa.OSFile(str(path), "wb") as file:
        options = pa.ipc.IpcWriteOptions(**options)
        with pa.ipc.new_stream(file, made.schema, options=options) as writer:
            writer.write_table(made, max_chunksize=2)
    return path


def columns_of(rows):
    return {key: [row[key] for row in rows] for key in rows[0]}


def test_the_data_set_may_be_as_datasets_keeps_it(tmp_path):
    expected = globalopinionqa.read(goqa(tmp_path / "g.csv")).survey.version
    # save_to_disk
    saved = tmp_path / "saved"
    (saved / "train").mkdir(parents=True)
    (saved / "dataset_dict.json").write_text('{"splits": ["train"]}')
    (saved / "train" / "state.json").write_text("{}")
    (saved / "train" / "dataset_info.json").write_text("{}")
    arrow_stream(saved / "train" / "data-00000-of-00001.arrow", columns_of(GOQA))
    arrow_stream(saved / "train" / "cache-0123.arrow", {"x": [1]})
    assert glance(saved).kind == "globalopinionqa"
    assert globalopinionqa.check(saved).facts["Format"] == "Arrow"
    assert globalopinionqa.read(saved).survey.version == expected
    # the file of the other kind, alone; columns that are not plain are passed over
    made = pa.table({**columns_of(GOQA), "picture": pa.array([b"x"] * len(GOQA))})
    with pa.ipc.new_file(str(tmp_path / "f.arrow"), made.schema) as writer:
        writer.write_table(made)
    found = glance(tmp_path / "f.arrow")
    assert (found.kind, "picture" in found.columns) == ("globalopinionqa", False)
    assert globalopinionqa.read(tmp_path / "f.arrow").survey.version == expected
    # the study's folder stays the study's
    assert glance(study(tmp_path / "study")).kind == "culturespa"


def test_a_snapshot_of_the_cache_is_read_through_its_links(tmp_path):
    kept = tmp_path / "hub" / "datasets--Anthropic--llm_global_opinions"
    data = kept / "snapshots" / "0123abcd" / "data"
    (kept / "blobs").mkdir(parents=True)
    data.mkdir(parents=True)
    goqa(kept / "blobs" / "f00d")
    (data / "global_opinions.csv").symlink_to("../../../blobs/f00d")
    expected = globalopinionqa.read(kept / "blobs" / "f00d").survey.version
    for folder in (kept, data.parent, data):
        assert glance(folder).kind == "globalopinionqa"
        assert globalopinionqa.read(folder).survey.version == expected
    goqa(tmp_path / "secret.csv")
    (data / "global_opinions.csv").unlink()
    (data / "global_opinions.csv").symlink_to(tmp_path / "secret.csv")
    assert "holds 0 CSV" in globalopinionqa.check(kept).problems[0]


def test_arrow_that_would_grow_or_is_damaged_is_refused(tmp_path):
    bomb = {"question": ["x" * 1_000_000] * 4}
    for compression in ("zstd", "lz4"):
        path = arrow_stream(tmp_path / "bomb.arrow", bomb, compression=compression)
        assert "compressed Arrow" in globalopinionqa.check(path).problems[0]
    words = {"question": pa.array(["a", "b"]).dictionary_encode()}
    path = arrow_stream(tmp_path / "words.arrow", words)
    assert "dictionary" in globalopinionqa.check(path).problems[0]
    path = arrow_stream(tmp_path / "nulls.arrow", {"x": pa.nulls(10)})
    assert "no column of texts" in globalopinionqa.check(path).problems[0]
    whole = arrow_stream(tmp_path / "whole.arrow", columns_of(GOQA)).read_bytes()
    rng = random.Random(7)
    outcomes = set()
    for _ in range(150):
        wrong = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            wrong[rng.randrange(len(wrong))] = rng.randrange(256)
        if rng.random() < 0.3:
            wrong = wrong[: rng.randrange(4, len(wrong))]
        (tmp_path / "wrong.arrow").write_bytes(wrong)
        try:
            arrow.to_parquet(tmp_path / "wrong.arrow", "wrong", tmp_path / "made.parquet")
            outcomes.add("read")
        except ImportRefused:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


TRAVEL = [
    {
        "question": f"How do you travel to {place}?",
        "selections": dictionary({"Kenya": shares}),
        "options": options,
        "source": "GAS",
    }
    for place, options, shares in (
        ("work", "['Rail', 'Road', 'Sea', 'DK']", [0.1, 0.2, 0.3, 0.4]),
        ("school", "['DK', 'Sea', 'Rail', 'Road']", [0.4, 0.3, 0.1, 0.2]),
        ("town", "['Always', 'Sometimes', 'Never']", [0.5, 0.3, 0.2]),
    )
]


def test_the_order_of_answers_is_listed_once_and_may_be_said_otherwise(tmp_path):
    path = goqa(tmp_path / "g.csv", TRAVEL)
    listed = globalopinionqa.orders(path)
    assert listed[["answers", "ordered", "questions"]].values.tolist() == [
        [("Rail", "Road", "Sea"), False, 2],
        [("Always", "Sometimes", "Never"), True, 1],
    ]
    options = globalopinionqa.Options(
        ordered=(("Rail", "Road", "Sea"),), unordered=(("Always", "Sometimes", "Never"),)
    )
    work, school, town = globalopinionqa.read(path, options).survey.items
    for item in (work, school):
        assert (item.scale, item.codes, item.off_scale) == ("ordinal", (1, 2, 3, 4), (4,))
        assert [o.label for o in item.options] == ["Rail", "Road", "Sea", "DK"]
    assert town.scale == "nominal"
    shares = globalopinionqa.read(path, options).survey.shares
    assert shares["KEN", school.id].values == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_an_order_that_is_said_goes_before_one_that_is_read():
    labels = ("1", "2", "3")
    assert scales.arrange(labels, ("3", "1", "2")).order == (2, 0, 1)
    assert scales.arrange(labels, ()).scale == "nominal"
    assert scales.on_scale(("Yes", "No", "Don't know")) == ("Yes", "No")


# -- the command line ------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Runs a command; gives the record in the last line it prints."""
    monkeypatch.setenv("PLURISCOPE_HOME", str(tmp_path / "home"))

    def run(*words):
        assert main([*map(str, words), "--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return run


def test_the_command_imports_respondents(tmp_path, command):
    path = sheet(tmp_path / "wvs.csv", [*KENYA, *BRAZIL])
    found = command("import", "wvs", path)
    assert found["countries"] == {
        "BRA": {"respondents": 20, "items": 3}, "KEN": {"respondents": 13, "items": 3},
    }  # fmt: skip
    assert found["dropped"]["not asked (−4)"] == 2
    plain = command("import", "wvs", path, "--unweighted", "--name", "Mine")
    assert (plain["survey"], plain["version"] != found["version"]) == ("wvs7-import", True)
    lines = command("references", "--survey", "wvs7-import", "--metric", "paper")
    wanted = {"uniform", "midpoint", "mean_others", "median_others", "nearest", "nearest5",
              "ceiling"}  # fmt: skip
    assert wanted <= lines.keys()


def test_the_command_imports_global_opinions(tmp_path, command):
    found = command("import", "globalopinionqa", goqa(tmp_path / "g.csv"))
    assert set(found["countries"]) == {"KOR", "IND", "DEU"}
    assert found["countries"]["KOR"] == {"respondents": None, "items": 1}
    assert found["runs"] == []
    lines = command("references", "--survey", "globalopinionqa", "--metric", "emd")
    assert lines["uniform"] is not None


def test_a_flag_for_another_kind_is_a_sentence(tmp_path, command, capsys):
    assert main(["import", "table", str(table.TEMPLATE), "--unweighted"]) == 2
    assert "--unweighted is for wvs" in capsys.readouterr().err
    bad = lines_of(tmp_path / "bad.csv", lambda rows: rows[0].update(share="x"))
    assert main(["import", "table", str(bad)]) == 2
    assert "Line 2, share" in capsys.readouterr().err
    assert command("import", "table", bad, "--accept-good-rows")["dropped"]


def test_the_command_is_told_which_model_answered(tmp_path, command):
    folder = study(tmp_path / "study")
    command("import", "culturespa", folder)
    command("import", "culturespa", folder, "--model", "example/another-8b")
    models = {run["model"] for run in command("runs")}
    assert models == {culturespa.MODEL, "example/another-8b"}


@pytest.mark.skipif(not STUDY.is_dir(), reason=f"the CultureSPA study's data are not at {STUDY}")
def test_the_command_gives_the_studys_published_figures(command):
    found = command("import", "culturespa", STUDY)
    ids = {run["method"]: run["id"] for run in found["runs"]}
    assert set(found["runs"][0]) == {"id", "method", "countries"}
    assert {len(run["countries"]) for run in found["runs"][:2]} == {18}
    records = {one["run"]: one for one in command("score", "--run", "all", "--metric", "paper")}
    plain, country = records[ids["plain"]], records[ids["country"]]
    assert plain["mean"]["value"] == pytest.approx(62.36, abs=0.005)
    assert country["mean"]["value"] == pytest.approx(66.61, abs=0.005)
    for iso3, (unaware, n_unaware, aware, n_aware, _) in RECORDED.items():
        row, other = plain["countries"][iso3], country["countries"][iso3]
        assert row["value"] == pytest.approx(unaware, abs=0.005)
        assert other["value"] == pytest.approx(aware, abs=0.005)
        assert (row["items"], other["items"]) == (n_unaware, n_aware)
    refused = command("score", "--run", ids["country"], "--metric", "paper_refusal")
    for iso3, (*_, without) in RECORDED.items():
        assert refused["countries"][iso3]["value"] == pytest.approx(without, abs=0.005)
    lines = command("references", "--survey", "culturespa", "--metric", "paper")
    # The study's "median of the other 17", "mean of the other 17" and "scale midpoint".
    assert lines["median_others"] == pytest.approx(67.66, abs=0.005)
    assert lines["mean_others"] == pytest.approx(71.59, abs=0.005)
    assert lines["midpoint"] == pytest.approx(57.95, abs=0.005)
