"""What the store keeps, and what it refuses."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from core.asking.answers import Answer
from core.asking.settings import AskSettings
from core.errors import PluriscopeError
from core.models.spec import ModelSpec
from core.store.jobs import AskJob, TuneJob
from core.store.schema import MIGRATIONS
from core.store.store import Store
from core.survey.survey import load_bundled

ROOT = Path(__file__).resolve().parents[3]


def a_run(store: Store, **changes) -> object:
    survey = store.survey()
    settings = AskSettings(
        model=ModelSpec("builtin"), method="plain", cultures=(), items=("Q1",), item_set="",
        survey=survey.id, survey_version=survey.version, prompt_set="p", prompt_sha256="0",
    )  # fmt: skip
    return store.add_run(replace(settings, **changes), planned=4, name="A run")


def answer(item="Q1", number=0, iso3="", probs=(0.7, 0.2, 0.1, 0.0)):
    return Answer(iso3, item, number, probs, 0.99, 1, "answered", "single token", None, None)


def test_the_bundled_survey_is_there_on_first_start_and_once(store):
    assert store.surveys()[["id", "items", "countries"]].to_dict("records") == [
        {"id": "wvs7", "items": 259, "countries": 61}
    ]
    assert not store.add_survey(load_bundled())
    assert store.rows("select count(*) from shares") == [(15_617,)]


def test_a_survey_reads_back_as_it_went_in(store):
    bundled = load_bundled()
    store._surveys.clear()
    read = store.survey()
    assert read.items == bundled.items
    assert read.cultures == bundled.cultures
    assert read.core_ids == bundled.core_ids
    assert read.shares["USA", "Q57"].n_valid == bundled.shares["USA", "Q57"].n_valid


def test_an_answer_lands_once(store):
    run = a_run(store)
    assert store.add_answers(run.no, [answer("Q1"), answer("Q2"), answer("Q1")]) == 2
    assert store.add_answers(run.no, [answer("Q2"), answer("Q2", number=1)]) == 1
    assert store.answered(run.no) == {("", "Q1", 0), ("", "Q2", 0), ("", "Q2", 1)}
    assert store.run(run.id).answered == 3
    other = a_run(store)  # another run may hold the same keys
    assert store.add_answers(other.no, [answer("Q1")]) == 1


def test_a_run_keeps_its_settings_whatever_is_updated(store):
    run = a_run(store)
    store.update_run(run.id, state="running", name="Renamed", facts={"revision": "abc"})
    again = store.run(run.id)
    assert again.settings == run.settings
    assert (again.state, again.name, again.facts) == ("running", "Renamed", {"revision": "abc"})


def test_deleted_runs_come_back_until_the_bin_is_emptied(store):
    run, kept = a_run(store), a_run(store)
    store.add_answers(run.no, [answer()])
    store.delete_runs([run.id])
    assert [r.id for r in store.runs()] == [kept.id]
    store.restore_runs([run.id])
    assert {r.id for r in store.runs()} == {run.id, kept.id}
    store.delete_runs([run.id])
    assert store.empty_bin() == 1
    assert store.rows("select count(*) from answers") == [(0,)]
    with pytest.raises(PluriscopeError, match="no run"):
        store.run(run.id)


def test_scores_are_kept_for_exactly_the_answers_they_came_from(store):
    run = a_run(store)
    scores = pd.DataFrame(
        [["", 70.0, 65.0, 75.0, 40.0, 95.0, 80.0, 52]],
        columns=["iso3", "value", "low", "high", "floor", "ceiling", "others", "items"],
    )
    store.keep_scores(run.no, "emd", "", 10, "1", scores)
    assert store.kept_scores(run.no, "emd", "", 10, "1").value.tolist() == [70.0]
    assert store.kept_scores(run.no, "emd", "", 11, "1").empty
    assert store.kept_scores(run.no, "paper", "", 10, "1").empty


def test_jobs_stand_in_line_in_their_order(store):
    first, second = (store.add_job(t, AskJob(())) for t in ("first", "second"))
    urgent = store.add_job("urgent", AskJob(()), first=True)
    assert [job.id for job in store.jobs(["queued"])] == [urgent, first, second]


def test_a_job_is_found_by_its_run_and_by_its_tuning(store):
    asked = store.add_job("asked", AskJob(()), ["a", "b"])
    tuned = store.add_job("tuned", TuneJob("t"))
    for _ in range(210):
        store.add_job("later", AskJob(()), ["c"])
    assert store.job_of_run("b").id == asked and store.job_of_tuning("t").id == tuned
    assert store.job_of_run("d") is None and store.job_of_tuning("b") is None
    assert [job.id for job in store.jobs(kind="tune")] == [tuned]


def test_a_second_process_is_told_who_holds_the_store(store):
    code = (
        "import sys; from core.store.store import Store\n"
        "from core.errors import StoreBusy\n"
        f"try: Store({str(store.home)!r})\n"
        "except StoreBusy as error: print(error)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    ).stdout
    assert f"process {os.getpid()}" in said
    assert "PLURISCOPE_HOME" in said


def test_a_damaged_file_is_named_and_left_alone(tmp_path):
    (tmp_path / "pluriscope.duckdb").write_bytes(b"not a database at all" * 300)
    with pytest.raises(PluriscopeError, match="damaged"):
        Store(tmp_path)
    assert (tmp_path / "pluriscope.duckdb").read_bytes().startswith(b"not a database")


def test_a_store_of_a_newer_pluriscope_is_refused(tmp_path):
    store = Store(tmp_path)
    store.rows("insert into migrations values ('m999_from_the_future', now()::timestamp)")
    store.close()
    with pytest.raises(PluriscopeError, match="newer Pluriscope"):
        Store(tmp_path)
    assert MIGRATIONS[0].__name__ == "m001_initial"


def test_the_database_reaches_no_file_but_its_own(store, tmp_path):
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with pytest.raises(Exception, match=r"(?i)permission|external|disabled"):
        store.rows(f"select * from read_csv('{tmp_path / 'secret.csv'}')")


WRITER = """
import sys
from core.asking.answers import Answer
from core.store.store import Store
from tests.unit.store.test_store import a_run
store = Store(sys.argv[1])
run = a_run(store)
number = 0
while True:
    batch = [Answer("", "Q1", number + i, (1.0,), 1.0, 1, "answered", "r", None, None)
             for i in range(7)]
    store.add_answers(run.no, batch)
    number += 7
    print(number, flush=True)  # said only after it was saved
"""


@pytest.mark.parametrize("after", [0.0, 0.05, 0.2])
def test_what_was_said_to_be_saved_survives_kill_9(tmp_path, after):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    said = int(process.stdout.readline())
    deadline = time.monotonic() + after
    while time.monotonic() < deadline:
        said = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    said = max([said, *(int(line) for line in process.stdout.read().split() if line)])
    process.wait()
    store = Store(tmp_path)
    run = store.runs()[0]
    keys = store.answered(run.no)
    assert len(keys) == run.answered >= said
    assert store.rows("select count(*) from answers")[0][0] == len(keys)  # none doubled
    assert run.answered % 7 == 0  # a batch lands whole or not at all
    store.close()


def test_room_on_disk_counts_each_file_once(store):
    # The layout of the hub cache: a blob, and a snapshot that links to it.
    hub = store.home / "models" / "hub" / "models--a--b"
    (hub / "blobs").mkdir(parents=True)
    (hub / "snapshots" / "c").mkdir(parents=True)
    (hub / "blobs" / "x").write_bytes(b"0" * 1000)
    (hub / "snapshots" / "c" / "model.safetensors").symlink_to(hub / "blobs" / "x")
    (hub / "snapshots" / "c" / "gone").symlink_to(hub / "blobs" / "gone")
    (store.home / "notes.txt").write_bytes(b"0" * 10)
    used = store.storage()
    assert used["models"] == 1000
    assert used["store"] >= store.path.stat().st_size > 0


def test_the_bin_is_emptied_while_others_write(store):
    # DuckDB gives space back only when nobody is in the middle of a write; that can wait.
    run = a_run(store)
    store.delete_runs([run.id])
    with store._connection.cursor() as other:
        other.begin()
        other.execute("update surveys set name = 'Another'")
        assert store.empty_bin() == 1
        other.rollback()
    assert store.runs(deleted=True) == []
