"""The pages that work and keep: Ask, Run, Library. Real store, real worker, tiny real model."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import errors
from core.asking.answers import Answer
from core.jobs.askings import askings, rename
from core.jobs.choices import AskChoices, TuneChoices
from core.jobs.messages import HeldModel
from core.jobs.plan import plan_question, plan_survey
from core.jobs.plan_tuning import plan_tuning
from core.models import catalogue, memory_fit
from core.models.spec import BUILTIN, GIB, ModelSpec
from core.prompts.prompt_sets import load_prompt_set
from core.store.jobs import MergeJob
from core.store.runs import Run
from core.survey.survey import load_bundled
from core.views import export, provenance, runs, side_by_side
from pages.widgets import model_picker, session
from pages.widgets import text as widgets_text
from tests import filled, hub
from tests.pages.driver import button, choose, said, wait

PAGES = ("ask", "run", "library")


# -- every page opens ------------------------------------------------------------------------------


def test_every_page_opens_on_an_empty_store(app):
    for name in PAGES:
        at = app(name)
        assert not at.exception, name
        assert at.title


def test_every_page_opens_on_a_filled_store(filled_home, app):
    for name in PAGES:
        at = app(name)
        assert not at.exception, name
    assert "Written answers" in said(at)


def test_mangled_links_degrade(app):
    at = app("ask", item="nonsense", people="XXX,KEN", ask="gone")
    assert not at.exception
    assert "The answer this link points to is not here" in said(at)
    assert at.selectbox(key="ask_item").value == "Q1"
    assert at.multiselect(key="ask_people").value == ["KEN"]
    for name in ("run", "library"):
        assert not app(name, set="nonsense", places="?", shelf="zzz", who="Atlantis").exception


@pytest.mark.parametrize("odd", ["~nosuchuser/x", "/" + "x" * 300, "x" * 300])
def test_a_link_to_a_model_at_an_odd_path_is_a_sentence(app, odd):
    at = app("ask", model=odd, adapter=odd)
    assert not at.exception and button(at, "Ask").disabled
    assert at.error


# -- Ask -------------------------------------------------------------------------------------------


def test_a_question_is_asked_stored_reopened_and_asked_again(working, tiny_model):
    at = working("ask", item="Q1", people="DEU,KEN")
    choose(at, tiny_model)
    button(at, "Ask").click().run()
    group = at.query_params["ask"]
    group = group[0] if isinstance(group, list) else group
    at = wait(at)
    assert not at.exception

    asked = side_by_side.load(session.store(), group)
    assert [side.iso3 for side in asked.sides] == ["", "DEU", "KEN"]
    for side in asked.sides:
        assert side.shares.sum() == pytest.approx(1, abs=1e-5)
        assert side.written is not None
    assert len(at.get("plotly_chart")) == 3

    again = working("ask", ask=group)
    assert not again.exception
    assert side_by_side.how(asked) in said(again)
    assert again.multiselect(key="ask_people").value == ["DEU", "KEN"]

    button(again, "Ask again").click().run()
    assert "seed 43" in said(wait(again))
    other = side_by_side.load(session.store(), session.store().runs(kind="question")[0].group)
    assert (asked.settings.seed, other.settings.seed) == (42, 43)
    assert np.allclose(asked.sides[1].shares, other.sides[1].shares)  # the seed is for writing


def stored(store, model, prompt_set="pluriscope") -> side_by_side.SideBySide:
    """A question of long ago in the store: answered, by a model that need not be there any more."""
    plan = plan_question(
        store,
        AskChoices(model, cultures=["DEU", "KEN"], prompt_set=str(prompt_set), seed=7),
        "Q1",
    )
    wording = plan.prompts
    store.add_prompt_set(wording.sha256, wording.id, wording.name, "en", dict(wording.texts))
    group = None
    for settings, name in zip(plan.settings, plan.names, strict=True):
        keys = settings.planned_cells(store.survey())
        run = store.add_run(
            settings, planned=len(keys), name=name, group=group, kind="question",
            facts={"precision": "fp32", "device": "cpu"},
        )  # fmt: skip
        group = run.group
        scored = settings.answering == "probabilities"
        shares, text = ((0.4, 0.3, 0.2, 0.1), None) if scored else ((), "1, so I think.")
        rest = (shares, 0.9, 1, "answered", "label", text, 0.2)
        store.add_answers(run.no, [Answer(*key, *rest) for key in keys])
        store.update_run(run.id, state="done")
    return side_by_side.load(store, group)


def wording_file(home, name="mine.json", **about):
    """A prompt set in a file of the user's."""
    path = home / "prompts" / name
    path.parent.mkdir(exist_ok=True)
    texts = dict(load_prompt_set().texts)
    texts["plain_system"] += " Be brief."
    path.write_text(json.dumps({"id": "my-own", "texts": texts, **about}), encoding="utf-8")
    return path


def test_the_bars_of_a_question_have_their_table_before_while_and_after(
    filled_home, app, monkeypatch
):
    at = app("ask", item="Q1", people="DEU,KEN")
    queue = session.jobs()
    monkeypatch.setattr(type(queue), "_next", lambda self: None)  # nothing begins
    before = at.dataframe[0].value
    assert before["People in Germany"].notna().all() and before["Asked plainly"].isna().all()
    button(at, "Ask").click().run()
    assert button(at, "Stop")
    after = app("ask", ask=stored(queue.store, ModelSpec("builtin")).group).dataframe[0].value
    assert after["Asked plainly"].notna().all()
    for shown in (at.dataframe[0].value, after):  # nothing moves when the numbers come
        assert list(shown.columns) == list(before.columns) and len(shown) == len(before)


@pytest.mark.parametrize("gone", ["adapter", "folder", "file", "nothing"])
def test_a_link_shows_the_stored_answer_whatever_is_gone_since(filled_home, app, tmp_path, gone):
    app("home")
    path = wording_file(filled_home)
    model = {
        "adapter": ModelSpec("builtin", adapter=str(tmp_path / "deleted-adapter")),
        "folder": ModelSpec(str(tmp_path / "deleted-model"), precision="fp32"),
    }.get(gone, ModelSpec("builtin"))
    asked = stored(session.store(), model, path if gone in ("file", "nothing") else "pluriscope")
    if gone == "file":
        path.unlink()
    at = app("ask", ask=asked.group)
    for _ in ("opened", "again"):
        assert not at.exception
        assert side_by_side.how(asked) in said(at)
        assert not any(one.label == "Ask" for one in at.button)
        at.run()
    if gone == "nothing":
        assert at.selectbox(key="ask_wording").value == str(path)
    # Loaded again, with all that the address holds by now; and come back to from another page.
    address = {
        name: one[0] if isinstance(one, list) else one for name, one in at.query_params.items()
    }
    assert side_by_side.how(asked) in said(app("ask", **address))
    at.switch_page("pages/run.py").run()
    at.query_params.clear()
    at.query_params["ask"] = asked.group
    at.switch_page("pages/ask.py").run()
    assert side_by_side.how(asked) in said(at)


def test_a_stored_answer_gives_way_once_something_else_is_chosen(filled_home, app, tmp_path):
    app("home")
    gone = ModelSpec("builtin", adapter=str(tmp_path / "deleted-adapter"))
    asked = stored(session.store(), gone, wording_file(filled_home))
    changes = {
        "country": lambda at: at.multiselect(key="ask_people").set_value(["KEN"]),
        "question": lambda at: at.selectbox(key="ask_item").set_value("Q2"),
        "seed": lambda at: at.number_input(key="ask_seed").set_value(8),
        "wording": lambda at: at.selectbox(key="ask_wording").set_value("pluriscope-b"),
        "orders": lambda at: at.segmented_control(key="ask_orders").set_value("As given"),
        "way": lambda at: at.radio(key="ask_as").set_value(at.radio(key="ask_as").options[1]),
        "precision": lambda at: at.segmented_control(key="model_precision_True").set_value("bf16"),
        "own": lambda at: at.toggle(key="ask_own").set_value(True),
    }
    for name, change in changes.items():
        at = app("ask", ask=asked.group)
        assert side_by_side.how(asked) in said(at), name
        change(at).run()
        assert not at.exception, name
        assert side_by_side.how(asked) not in said(at), name
    # A link opened shows its answer, whatever else an address holds that was changed since.
    address = {"model": "builtin", "precision": "bf16", "ask_own": "true", "item": "Q2"}
    at = app("ask", ask=asked.group, **address)
    assert side_by_side.how(asked) in said(at)
    assert at.header[0].value == widgets_text.plain(asked.item.question)
    assert at.session_state["model_spec"] == ModelSpec("builtin")
    assert at.multiselect(key="ask_people").value == ["DEU", "KEN"]
    at = app("ask", ask=asked.group)
    at.multiselect(key="ask_people").set_value(["KEN"]).run()
    assert button(at, "Ask").label == "Ask"
    at.multiselect(key="ask_people").set_value(["DEU", "KEN"]).run()
    assert side_by_side.how(asked) in said(at)  # and back again


def test_an_own_question_says_that_it_has_no_people(app):
    at = app("ask")
    at.toggle(key="ask_own").set_value(True).run()
    assert "Write a question first" in said(at)
    at.text_area(key="ask_own_question").set_value("Tea or coffee? <b>*now*</b>")
    at.text_area(key="ask_own_options").set_value("Tea\nCoffee\n").run()
    assert not at.exception
    assert "no answers of people to set beside it" in said(at)
    assert widgets_text.plain("<b>*now*</b>") in at.header[0].value


def test_a_model_that_cannot_be_used_is_a_sentence(app):
    at = app("ask")
    choose(at, "/nowhere/at/all")
    assert "There is no folder /nowhere/at/all" in said(at)
    assert button(at, "Ask").disabled


def test_any_hub_id_says_size_and_licence_or_what_stands_in_its_way(app, tiny_model):
    facts = {"cardData": {"license": "mit"}, "safetensors": {"parameters": {}, "total": 10**12}}
    with hub.serve({"maker/vast": tiny_model}, extra=facts) as served:
        at = app("ask")
        at.session_state["model_kind"] = "To download"
        at.session_state["model_To download_typed"] = "maker/vast"
        at.run()
        words = said(at)
        assert "licence: mit" in words and "1000.0 billion parameters" in words
        assert button(at, "Ask").disabled and not served.downloads()
        at.session_state["model_To download_typed"] = "maker/nothing"
        at.run()
        assert "no model maker/nothing on Hugging Face" in said(at).replace("\u2060", "")
        assert button(at, "Ask").disabled
    at.session_state["model_To download_typed"] = "maker/other"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
        at.run()
    assert "size and licence of this model are not known" in said(at)
    assert not button(at, "Ask").disabled


@pytest.mark.parametrize(("name", "label"), [("ask", "Ask"), ("run", "Start"), ("tune", "Start")])
def test_the_model_in_memory_makes_room_for_the_next(app, monkeypatch, name, label):
    monkeypatch.setattr(memory_fit, "free_memory", lambda: ("cpu", 50 * 1024**2))
    at = app(name)
    assert button(at, label).disabled and "only 50 MiB are free" in said(at)
    spec = ModelSpec("builtin")
    session.jobs().model = HeldModel(spec, "held", "fp32", 8 * GIB, "cpu")
    at.run()
    assert not button(at, label).disabled


def test_a_verdict_tells_the_way_and_the_nearest(filled_home, app):
    item = load_bundled().item("Q164")
    sides = side_by_side.preview(load_bundled(), item, ["DEU", "KEN"], "country")
    plain, germany, kenya = sides
    assert side_by_side.verdict(item, kenya, sides) == ""  # nothing was asked yet
    plain = plain._replace(shares=germany.people)
    kenya = kenya._replace(shares=kenya.people)
    sides = [plain, germany, kenya]
    assert side_by_side.verdict(item, plain, sides).endswith("nearest to people in Germany.")
    assert "towards people in Kenya" in side_by_side.verdict(item, kenya, sides)


# -- Run -------------------------------------------------------------------------------------------


def test_a_run_says_what_it_costs_and_starts_once(working, tiny_model):
    at = working("run")
    choose(at, tiny_model)
    at.radio(key="set").set_value("One topic").run()
    at.selectbox(key="set_topic").set_value("Economic Values").run()
    # 6 questions x (1 plain + 18 countries) x 2 orders
    assert "6 questions" in said(at) and "228 prompts" in said(at)
    before = len(session.store().jobs())
    button(at, "Start: 228 questions").click().run()
    button(at, "Start: 228 questions").click().run()
    assert len(session.store().jobs()) == before + 1
    at = wait(at)
    assert not at.exception
    asking = askings(session.store())[0]
    assert (asking.state, asking.answered) == ("done", 228)
    assert button(at, "Start: 228 questions, ")  # now the pace of this model is known


def test_a_failed_run_says_a_sentence_and_keeps_the_traceback_folded(working, tmp_path, tiny_model):
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    (broken / "chat_template.jinja").unlink()
    at = working("run")
    session.jobs().start(
        plan_survey(
            session.store(),
            AskChoices(ModelSpec(str(broken)), methods=["plain"], items="Economic Values"),
        ),
    )
    at = wait(at)
    assert "has no chat template" in said(at)
    assert any(one.label == "For the technically minded" for one in at.expander)
    assert "Traceback" in at.code[-1].value
    assert button(at, "Resume")


def test_what_waits_can_change_places_and_leave(filled_home, app, monkeypatch):
    at = app("run")
    queue = session.jobs()
    monkeypatch.setattr(type(queue), "_next", lambda self: None)  # nothing begins
    for topic in ("Economic Values", "Security"):
        queue.start(plan_survey(queue.store, AskChoices(ModelSpec("builtin"), items=topic)))
    at.run()
    first, second = [job.id for job in queue.store.jobs(("queued",))]
    assert at.button(key=f"up_{first}").disabled
    at.button(key=f"up_{second}").click().run()
    assert [job.id for job in queue.store.jobs(("queued",))] == [second, first]
    at.button(key=f"out_{first}").click().run()
    assert [job.id for job in queue.store.jobs(("queued",))] == [second]


def test_a_tuning_taken_out_of_the_line_comes_back_and_lies_in_the_bin_until_then(
    filled_home, app, monkeypatch
):
    at = app("run")
    queue, store = session.jobs(), session.store()
    monkeypatch.setattr(type(queue), "_next", lambda self: None)  # nothing begins
    job = queue.start_tuning(
        plan_tuning(store, TuneChoices(ModelSpec("builtin"), name="My tuning"))
    )
    at.run()
    at.button(key=f"out_{job}").click().run()
    assert store.tunings() == [] and "“My tuning” is in the bin." in said(at)
    at.button(key="undo").click().run()
    assert [one["name"] for one in store.tunings()] == ["My tuning"]
    assert store.job(job).state == "stopped"

    queue.discard(job)
    at = app("library", shelf="Storage")
    assert "1 tuning." in said(at) and "My tuning" in said(at)
    at.button(key="restore").click().run()
    assert [one["name"] for one in store.tunings()] == ["My tuning"]
    store.delete_tuning(store.tunings()[0]["id"])
    assert "My tuning" in said(app("library", shelf="Storage"))
    store.empty_bin()
    assert "The bin is empty." in said(app("library", shelf="Storage"))


# -- Library ---------------------------------------------------------------------------------------


def test_a_deleted_run_comes_back(filled_home, app):
    at = app("library")
    asking = askings(session.store())[0]
    at.get_by_key(f"menu_{asking.group}").click("Delete").run()
    assert asking.group not in {one.group for one in askings(session.store())}
    at.button(key="undo").click().run()
    assert asking.group in {one.group for one in askings(session.store())}
    assert not at.exception


def test_renaming_keeps_the_runs_apart(filled_home, app):
    app("library")
    asking = askings(session.store())[-1]
    rename(session.store(), asking, "  First   try ")
    renamed = askings(session.store())[-1]
    assert renamed.name == "First try"
    assert [run.name for run in renamed.runs] == [
        "First try · asked plainly",
        "First try · as a person from …",
    ]


def test_the_bin_is_emptied_only_after_a_question(filled_home, app):
    at = app("library", shelf="Storage")
    store = session.store()
    store.delete_runs([store.runs()[0].id])
    at.run()
    at.button(key="empty_bin").click().run()
    assert "This cannot be undone" in said(at)
    assert at.button(key="confirm_yes").label == "Remove for good"
    assert len(store.runs(kind=None, deleted=True)) == 1  # only asked so far


def test_a_merge_that_failed_says_so_on_its_shelf_until_it_is_dismissed(working):
    at = working("library", shelf="Adapters")
    store = session.store()
    wanted = MergeJob(ModelSpec("builtin", adapter="/no/adapter"), Path("/x/y"))
    job_id = store.add_job("Merging Built-in model + kenya", wanted)
    store.update_job(job_id, state="failed", error="Make room on the disk.", details="Traceback")
    at.run()
    assert "Merging Built-in model + kenya" in said(at) and "Make room on the disk." in said(at)
    button(at, "Try again").click().run()
    wait(at)
    assert "/no/adapter is not an adapter" in said(at)
    button(at, "Dismiss").click().run()
    assert "Merging" not in said(at)
    assert job_id not in {job.id for job in store.jobs(["failed"])}


def test_only_models_in_our_own_folder_can_be_deleted(home, tmp_path_factory, tiny_model):
    ours = home / "models" / "mine"
    shutil.copytree(tiny_model, ours)
    (entry,) = catalogue.on_this_machine(home)
    assert catalogue.can_delete(entry, home)
    catalogue.delete(entry, home)
    assert not ours.exists()
    theirs = catalogue.Entry("here", str(tiny_model), "theirs", path=tiny_model)
    assert not catalogue.can_delete(theirs, home)
    with pytest.raises(errors.ModelError):
        catalogue.delete(theirs, home)


# -- exports ---------------------------------------------------------------------------------------


def test_a_table_holds_shares_that_add_up_and_names_its_run(filled_runs):
    store, runs_made = filled_runs
    table = export.run_table(store, runs_made.country.id)
    assert set(table["run"]) == {runs_made.country.id}
    assert len(table.groupby(["country", "item"])) == 18 * 52
    sums = table.groupby(["country", "item"])["model_share"].sum()
    assert np.allclose(sums, 1, atol=1e-5)
    people = store.survey().shares["USA", "Q17"]
    usa = table[(table["country"] == "USA") & (table["item"] == "Q17")]
    assert np.allclose(usa["people_share"], people.values)
    assert set(usa["people_n"]) == {people.n_valid}
    plain = export.run_table(store, runs_made.plain.id)
    assert set(plain["answered_as"]) == {""} and plain["country"].nunique() == 18


def test_written_answers_export_the_share_of_those_that_could_be_read(filled_runs):
    store, runs_made = filled_runs
    table = export.run_table(store, runs_made.written.id)
    kenya = table[(table["country"] == "KEN") & (table["item"] == "Q1")]
    # Four answers: two say 2, one refuses, one cannot be read.
    assert kenya.set_index("code").loc[2, "model_share"] == 1
    assert set(kenya["answers"]) == {4}
    assert set(kenya["refused"]) == {1} and set(kenya["unreadable"]) == {1}


def test_csv_and_parquet_read_back_the_same(filled_runs):
    store, runs_made = filled_runs
    table = export.run_table(store, runs_made.written.id)
    parquet = pd.read_parquet(io.BytesIO(export.parquet_bytes(table)))
    csv = pd.read_csv(io.BytesIO(export.csv_bytes(table)), keep_default_na=False)
    assert list(parquet.columns) == list(csv.columns) == list(table.columns)
    assert np.allclose(parquet["model_share"], table["model_share"])
    assert csv["label"].tolist() == table["label"].tolist()


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "\xa0=1", "＝1", "－1", "＠A"],
)
def test_a_formula_in_a_csv_is_only_text(text):
    rows = export.csv_bytes(pd.DataFrame({"option": [text, "fine"], "share": [-0.5, 1.0]}))
    assert rows.decode().replace('"', "").partition("\n")[2].startswith("'")
    assert b"-0.5" in rows and b"'fine" not in rows


@pytest.mark.parametrize("name", ["=1+1", " @A1", "\n+1", "＝1"])
def test_a_formula_in_a_column_s_name_is_only_text(name):
    header = export.csv_bytes(pd.DataFrame({name: ["fine"], "share": [1.0]})).decode()
    assert header.replace('"', "").startswith("'")


def test_a_run_as_json_holds_every_answer_and_its_wording(filled_runs):
    store, runs_made = filled_runs
    record = json.loads(export.run_json(store, runs_made.written.id))
    assert len(record["answers"]) == 24
    assert record["settings"]["prompt_sha256"] == runs_made.written.settings.prompt_sha256
    assert "{country}" in record["wording"]["country_system"]
    texts = {answer.get("text") for answer in record["answers"]}
    assert filled.UNTRUSTED in texts


@pytest.mark.parametrize(
    ("source", "facts"), [(str(BUILTIN), {}), ("/gone/merged", {"teaching": True})]
)
def test_a_run_of_the_teaching_model_is_told_as_one_whatever_its_path(filled_runs, source, facts):
    run = filled_runs[1].country

    def of(source: str, facts: dict) -> Run:
        model = replace(run.settings.model, source=source)
        stored = json.dumps(replace(run.settings, model=model).to_json())
        return replace(run, stored=stored, facts=facts)

    other = of(source, facts)
    assert runs.is_builtin(other) and "a teaching model" in provenance.model_in_full(other)
    gone = of("/gone", {})
    assert not runs.is_builtin(gone) and "teaching" not in provenance.model_in_full(gone)


def test_provenance_names_all_that_a_number_depends_on(filled_runs):
    store, runs_made = filled_runs
    text = provenance.provenance_text(store, runs_made.country)
    for part in ("Precision", "Adapter: none", "Seed: 42", "Fingerprint of the wording"):
        assert part in text
    assert runs_made.country.id in text
    assert "no evidence about language models" in text
    assert "doi:10.14281/18241.20" in text


# -- text of unknown origin ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["**bold**", "<script>alert(1)</script>", "[a](b)", "$x$", ":material/home:", "# title", "`c`"],
)
def test_plain_text_escapes_every_mark(text):
    escaped = widgets_text.plain(text)
    unescaped = escaped.replace("\\", "").replace("\u2060", "")
    assert unescaped == text
    assert not any(
        escaped[place] in "*<[$`#" and (place == 0 or escaped[place - 1] != "\\")
        for place in range(len(escaped))
    )


def test_plain_text_makes_no_links():
    for text in ("see http://a.example", "www.example.com", "a@b.example"):
        assert "\u2060" in widgets_text.plain(text)


def test_models_are_told_apart_by_what_is_loaded():
    assert model_picker.same_model(ModelSpec("a/b"), ModelSpec("a/b", precision="nf4"))
    assert not model_picker.same_model(ModelSpec("a/b"), ModelSpec("a/b", precision="bf16"))
    assert not model_picker.same_model(ModelSpec("a/b"), ModelSpec("a/b", adapter="x"))


def test_a_link_to_run_names_model_questions_and_wordings(working, tmp_path):
    at = working(
        "run",
        model="some/model@v2", precision="bf16", set="My own choice", items="Q2,Q1,Q9999",
        wordings="pluriscope-b,pluriscope", answers="Written answers", samples="7", seed="11",
        temperature="0.9",
    )  # fmt: skip
    assert not at.exception
    assert at.session_state["model_spec"] == ModelSpec("some/model", "v2", "bf16")
    assert at.multiselect(key="run_items").value == ["Q2", "Q1"]  # an unknown one is left out
    assert at.multiselect(key="run_wordings").value == ["pluriscope-b", "pluriscope"]
    assert [at.number_input(key=key).value for key in ("samples", "seed")] == [7, 11]
    assert at.slider(key="temperature").value == 0.9
    at.switch_page("pages/items.py").run()
    at.query_params.clear()
    at.switch_page("pages/run.py").run()
    at.radio(key="set").set_value("My own choice").run()
    assert at.multiselect(key="run_items").value == ["Q2", "Q1"]
    assert at.session_state["model_spec"].source == "some/model"


def test_what_is_chosen_for_a_run_stands_in_its_address(working):
    at = working("run")
    assert not {"model", "precision", "adapter"} & set(at.query_params)
    at.session_state["model_precision_True"] = "bf16"
    at.run()
    assert at.query_params["precision"] == "bf16"
    assert at.query_params["model"] == "builtin"
    at.radio(key="set").set_value("My own choice").run()
    at.multiselect(key="run_items").set_value(["Q3", "Q5"]).run()
    assert at.query_params["items"] == "Q3,Q5"
    at.switch_page("pages/items.py").run()
    at.query_params.clear()
    at.switch_page("pages/run.py").run()  # and are there again when one comes back
    assert at.multiselect(key="run_items").value == ["Q3", "Q5"]
    at.session_state["model_precision_True"] = "fp32"
    at.run()
    assert not {"model", "precision", "adapter"} & set(at.query_params)


@pytest.mark.parametrize("model", ["../../etc", "a b", "<b>x</b>", "owner/name@"])
def test_a_mangled_model_in_a_link_is_said_and_harms_nothing(working, model):
    at = working("run", model=model, precision="float128", adapter="/nowhere", items=",,x")
    assert not at.exception
    assert at.error or at.session_state["model_spec"].source == "owner/name"
    assert "<b>" not in "".join(str(one.value) for one in at.error)


def test_a_question_of_ones_own_can_be_sent_as_a_link(working):
    at = working(
        "ask", ask_own="true", ask_own_question="Tea or coffee?", ask_own_options="Tea\nCoffee"
    )
    assert not at.exception
    assert at.header[0].value == "Tea or coffee?"
