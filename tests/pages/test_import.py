"""The page that brings in surveys, and the desk behind it: real files, real store, no browser."""

import io
import threading

import pytest

from core.asking import languages
from core.importers import culturespa, table, wvs
from core.importers.desk import Imports, _file_name, open_imports
from core.store.store import Store
from core.store.survey_tables import table_of
from pages.widgets import session
from tests.pages.driver import said
from tests.survey_files import (
    GOQA,
    KENYA,
    KENYA_Q1,
    goqa,
    in_words,
    lines_of,
    sheet,
    study,
)
from tests.translation_files import line, prompts
from tests.waiting import until

LABELS = {name: f"{name} label" for name in KENYA[0]}


def wait(at):
    """Run the page until the desk has done what it does."""
    finish(open_imports(session.store()))
    at = at.run()
    assert not at.exception
    return at


def look(app, path):
    """The page with a file on it, looked at."""
    at = app("import")
    at.text_input[0].set_value(str(path))
    return wait(at.button[[b.label for b in at.button].index("Check it")].click().run())


def press(at, key):
    return wait(at.button(key=key).click().run())


def keys(at) -> set[str]:
    return {button.key for button in at.button}


def test_the_page_of_an_empty_store_says_what_can_be_brought_in(app):
    at = app("import")
    assert not at.exception
    for name in ("World Values Survey", "GlobalOpinionQA", "CultureSPA", "Your own table"):
        assert name in said(at)
    assert "not to be passed on" in said(at)
    assert at.get("download_button")[0].proto.label == "Download the template"


def test_an_upload_is_kept_on_disk_until_it_is_imported(home, app):
    at = app("import")
    at.file_uploader[0].upload("../../my survey.csv", table.TEMPLATE.read_bytes(), "text/csv")
    at = wait(at.run())
    uploads = list((home / "uploads").rglob("*.csv"))
    assert [path.name for path in uploads] == ["my survey.csv"]
    assert session.store().surveys()["id"].tolist() == [
        "wvs7"
    ]  # nothing is stored before the last step
    at = press(at, "import_do")
    assert not list((home / "uploads").rglob("*.csv"))
    assert "2 questions and 2 countries" in said(at)
    assert session.store().survey("my-survey").shares["KEN", "tea"].n_valid == 1012
    assert "my survey" in said(app("import"))  # after a refresh it is still there


def test_a_translation_is_added_and_leads_to_asking_in_it(app):
    at = app("import")
    add = [button.label for button in at.button].index("Add the translation")
    at.file_uploader(key="import_translated").upload("mine.jsonl", line("Q57").encode())
    at = at.button[add].click().run()
    assert "wording in Japanese" in said(at)
    files = at.file_uploader(key="import_translated")
    files.upload("mine.jsonl", line("Q57").encode())
    files.upload("prompts.json", prompts().encode())
    at = at.button[add].click().run()
    assert not at.exception
    assert "Japanese: 1 of 259" in said(at)
    assert "ja" in languages.available(session.store().survey())


def test_respondents_become_a_survey_that_can_be_asked(tmp_path, app):
    at = look(app, sheet(tmp_path / "wvs.csv", KENYA, delimiter=";"))
    assert "13 people, 1 country" in said(at)
    assert [frame.value["Q1"].tolist() for frame in at.dataframe if "Q1" in frame.value]
    at = press(at, "import_do")
    survey = session.store().survey(wvs.SURVEY_ID)
    assert survey.shares["KEN", "Q1"].values == pytest.approx(KENYA_Q1)
    dropped = next(frame.value for frame in at.dataframe if "Why" in frame.value)
    assert dropped.set_index("Why")["How many"]["do not know (−1)"] == 1
    countries = next(frame.value for frame in at.dataframe if "Country" in frame.value)
    assert countries.to_dict("records") == [{"Country": "Kenya", "People": 13, "Questions": 3}]
    assert table_of(session.store(), survey.id, survey.version, "respondents") is None
    at = at.button(key="import_to_run").click().run()
    assert not at.exception
    assert at.selectbox(key="run_survey").value == f"{survey.id}@{survey.version}"


def test_weights_and_rows_are_the_users_choice(tmp_path, app):
    at = look(app, sheet(tmp_path / "wvs.csv", KENYA))
    weighted, keep = at.checkbox
    weighted.set_value(False)
    keep.set_value(True)
    at.text_input(key=f"import_name_{open_imports(session.store()).desk.turn}").set_value(
        "<b>Mine</b>"
    )
    press(at.run(), "import_do")
    survey = session.store().survey(wvs.SURVEY_ID)
    assert (survey.name, survey.shares["KEN", "Q1"].basis) == ("Mine", "unweighted")
    rows = table_of(session.store(), survey.id, survey.version, "respondents")
    assert rows["Q1"].tolist() == [row["Q1"] for row in KENYA]
    assert rows["Q57"].tolist()[-1] == -2


def test_a_column_under_another_name_is_pointed_out(tmp_path, app):
    rows = [
        {("Land" if k == "B_COUNTRY_ALPHA" else k): v for k, v in row.items() if k != "B_COUNTRY"}
        for row in KENYA
    ]
    at = look(app, sheet(tmp_path / "wvs.csv", rows))
    assert "no column B_COUNTRY_ALPHA" in said(at)
    assert at.button(key="import_do").disabled
    box = next(box for box in at.selectbox if box.label == "Country")
    at = box.set_value("Land").run()
    assert "import_do" not in keys(at)
    at = press(press(at, "import_again"), "import_do")
    assert session.store().survey(wvs.SURVEY_ID).culture("KEN").n == 13


def test_answers_in_words_are_explained(tmp_path, app):
    rows = [
        {**row, "Q57": {"Most people can be trusted": "Ja"}.get(row["Q57"], row["Q57"])}
        for row in map(in_words, KENYA)
    ]
    path = sheet(tmp_path / "wvs.csv", rows, header=LABELS.get)
    at = look(app, path)
    box = next(box for box in at.selectbox if box.label.startswith("“Ja”"))
    assert "Q57" in box.label and "9 people" in box.label
    box.set_value(1)
    press(at.run(), "import_do")
    assert session.store().survey(wvs.SURVEY_ID).shares["KEN", "Q57"].values == pytest.approx(
        [0.75, 0.25]
    )


def test_an_order_of_answers_is_given_and_taken(tmp_path, app):
    rail = {
        **GOQA[0],
        "question": "Rail, road or sea?",
        "options": "['Rail', 'Road', 'Sea', 'DK']",
        "selections": "{'Kenya': [0.1, 0.2, 0.6, 0.1]}",
    }
    at = look(app, goqa(tmp_path / "goqa.csv", [*GOQA, rail]))
    at = press(at, "import_do")
    survey = session.store().survey("globalopinionqa")
    assert [item.scale for item in survey.items] == ["binary", "ordinal", "nominal"]
    assert "answered is not published" in said(at)


def test_the_studys_answers_lead_to_the_map(tmp_path, app):
    at = look(app, study(tmp_path / "study"))
    for count in ("3 questions", "2 countries", "3 recorded runs"):
        assert count in said(at)
    (model,) = [field for field in at.text_input if field.label == "Which model answered"]
    assert model.value == culturespa.MODEL
    model.set_value("example/another-8b")
    at = press(at, "import_do")
    assert {run.model for run in session.store().runs()} == {"example/another-8b"}
    at = at.button(key="import_to_map").click().run()
    assert not at.exception
    assert at.selectbox(key="map_run").value == session.store().runs()[0].group


def test_a_wrong_line_stops_everything_until_the_good_rows_are_accepted(tmp_path, app):
    path = lines_of(tmp_path / "mine.csv", lambda rows: rows[1].update(share="=1+1"))
    at = look(app, path)
    problems = next(frame.value for frame in at.dataframe if "problem" in frame.value)
    assert problems["line"].tolist() == [3, 3]
    assert "import_do" not in keys(at)
    assert session.store().surveys()["id"].tolist() == ["wvs7"]
    at = press(at, "import_good")
    assert set(session.store().survey("mine").shares) == {
        ("BRA", "tea"), ("KEN", "early"), ("BRA", "early"),
    }  # fmt: skip


def test_what_cannot_be_read_is_a_sentence_and_the_next_file_a_click_away(tmp_path, app):
    (tmp_path / "page.csv").write_text("<html><body>Log in</body></html>")
    for path, says in (
        (tmp_path / "page.csv", "is a web page"),
        (tmp_path / "none.csv", "There is no file"),
        ("~nobody-of-this-name/x.csv", "There is no file"),
        ("x" * 1000, "There is no file"),
        ("/dev/zero", "not an ordinary file"),
    ):
        at = look(app, path)
        assert says in said(at)
        assert "import_do" not in keys(at)
        at = at.button(key="import_other").click().run()
        assert at.file_uploader


def test_a_file_may_be_read_as_another_kind(tmp_path, app):
    at = look(app, table.TEMPLATE)
    turn = open_imports(session.store()).desk.turn
    at.selectbox(key=f"import_kind_{turn}_table").set_value("wvs").run()
    at = wait(at)
    assert "has no column of wave 7" in said(at)


# -- the desk --------------------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path):
    store = Store(tmp_path / "home")
    imports = Imports(store)
    yield imports
    finish(imports)
    store.close()


def finish(imports: Imports) -> None:
    until(lambda: not imports.desk.busy, "the desk did not come to an end")


def test_what_is_cancelled_is_not_stored(desk, tmp_path):
    header, *lines = table.TEMPLATE.read_text(encoding="utf-8").splitlines(keepends=True)
    more = [line.replace("tea", f"tea{n}", 1) for n in range(3000) for line in lines[:6]]
    path = tmp_path / "large.csv"
    path.write_text(header + "".join(more))
    desk.look_at(str(path))
    finish(desk)
    desk.bring_in(table.Options())
    desk.clear()
    for thread in threading.enumerate():
        if thread.name == "import":
            thread.join()
    assert desk.desk.step == "empty"
    assert desk.store.surveys()["id"].tolist() == ["wvs7"]


def test_another_file_takes_the_place_of_the_first(desk, tmp_path):
    desk.look_at_upload("one.csv", io.BytesIO(b"a,b\n1,2\n" * 100_000))
    desk.look_at_upload("two.csv", io.BytesIO(table.TEMPLATE.read_bytes()))
    finish(desk)
    assert (desk.desk.name, desk.desk.looked.check.can_import) == ("two.csv", True)
    assert [p.name for p in (desk.store.home / "uploads").rglob("*.csv")] == ["two.csv"]
    desk.clear()
    assert not list((desk.store.home / "uploads").rglob("*.csv"))


def test_what_a_crash_left_behind_goes_at_the_next_start(desk):
    desk.look_at_upload("one.csv", io.BytesIO(table.TEMPLATE.read_bytes()))
    finish(desk)
    (desk.store.home / ".import-abc").mkdir()
    Imports(desk.store)
    assert not (desk.store.home / "uploads").exists()
    assert not (desk.store.home / ".import-abc").exists()


def test_the_desk_is_the_same_for_whoever_asks(desk):
    assert open_imports(desk.store) is open_imports(desk.store)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("WVS 7.csv.zip", "WVS 7.csv.zip"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\a.csv", "a.csv"),
        ("..", "upload"),
        ("", "upload"),
        ("=1+1.csv", "1+1.csv"),
        ("a\u202eb\0c.csv", "abc.csv"),
        ("ä" * 300, "ä" * 90),
    ],
)
def test_an_uploads_name_is_only_a_name(given, kept):
    assert _file_name(given) == kept
