"""kill -9 at any moment loses no answer and doubles none. Real app, worker and built-in model."""

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from core.analysis import scores
from core.store.store import Store
from tests import warm
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[3]
KILLS = 20

# What the server does: it owns the store and the queue. Resumes what there is to resume, or else
# starts a run; says the phase and how many answers are saved whenever that changes.
APP = """
import sys, time
from core.jobs.choices import AskChoices
from core.jobs.plan import plan_survey
from core.jobs.queue import RESUMABLE, Jobs
from core.store.store import Store

home, sys.executable = sys.argv[1:]
jobs = Jobs(Store(home))
waiting = jobs.store.jobs([*RESUMABLE, "queued"])
if waiting:
    jobs.resume(waiting[0].id)
    jobs.serve()
else:
    jobs.start(plan_survey(jobs.store, AskChoices(orders="given")))
last = None
while jobs.busy():
    live = jobs.live()
    now = (live.phase, live.done) if live else None
    if now and now != last:
        last = now
        print(*now, flush=True)
    time.sleep(0.002)
jobs.close()
jobs.store.close()
"""


def start(home: Path, python: str | Path = sys.executable) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", APP, str(home), str(python)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Starts workers that have imported torch already, see tests.warm."""
    folder = tmp_path_factory.mktemp("w")
    with subprocess.Popen(
        [sys.executable, "-m", "tests.warm", str(folder / "s")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as forking:
        assert forking.stdout.readline() == "ready\n"
        yield warm.launcher(folder / "python", folder / "s")
        forking.kill()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, python) -> dict:
    """What the runs hold and score when nothing happens to the app."""
    home = tmp_path_factory.mktemp("undisturbed")
    assert start(home, python).wait() == 0
    store = Store(home)
    found = {run.method: (_answers(store, run), scores.table(store, run)) for run in store.runs()}
    store.close()
    return found


def _answers(store: Store, run):
    return store.answers(run.no).set_index(["iso3", "item", "number"])


def kill_at(app: subprocess.Popen, phase: str, seconds: float) -> int:
    """SIGKILL some time after a phase began (or the job ended, if sooner); gives the number of
    answers that the app had said to be saved."""
    said = 0
    for line in app.stdout:
        now, done = line.split()
        said = int(done)
        if now == phase:
            break
    time.sleep(seconds)
    app.kill()
    said = max([said, *(int(line.split()[1]) for line in app.stdout if line.endswith("\n"))])
    app.wait()
    return said


def test_twenty_kills_at_random_moments_lose_and_double_nothing(tmp_path, python, undisturbed):
    chance = random.Random(20)
    kept = {}
    for _ in range(KILLS):
        # From the opening of the store to the scores after the last answer.
        phase, longest = chance.choice(
            [("", 0.5), ("starting", 0.2), ("loading", 0.8)]
            + 4 * [("answering", 1.5)]
            + 2 * [("comparing", 0.3)]
        )
        app = start(tmp_path, python)
        if phase:
            said = kill_at(app, phase, chance.random() * longest)
        else:  # before it says anything
            time.sleep(chance.random() * longest)
            app.kill()
            app.wait()
            said = 0
        store = Store(tmp_path)
        saved = {run.id: _answers(store, run) for run in store.runs()}
        for run in store.runs():
            assert run.answered == len(saved[run.id]) <= run.planned
            assert saved[run.id].index.is_unique
        newest = store.runs()[0].group if saved else None
        assert said <= sum(run.answered for run in store.runs(group=newest))
        for run_id, before in kept.items():  # nothing is gone and nothing was asked again
            assert saved[run_id].answered_at[before.index].equals(before.answered_at)
        kept = saved
        store.close()

    assert start(tmp_path, python).wait() == 0  # and left alone, it comes to its end
    store = Store(tmp_path)
    for job in store.jobs():
        assert job.state == "done"
    for run in store.runs():
        answers, (expected, score) = _answers(store, run), undisturbed[run.method]
        assert run.state == "done" and len(answers) == run.answered == run.planned
        assert answers.index.equals(expected.index)
        probs, wanted = (np.concatenate(list(one.probs)) for one in (answers, expected))
        assert np.allclose(probs, wanted, atol=1e-4)
        table = scores.table(store, run)
        assert table.iso3.equals(score.iso3) and np.allclose(table.value, score.value, atol=1e-3)
    store.close()


def test_a_killed_app_takes_the_process_of_its_model_with_it(tmp_path):
    app = start(tmp_path)
    app.stdout.readline()
    until(psutil.Process(app.pid).children, "no worker was started")
    children = psutil.Process(app.pid).children()
    app.kill()
    app.wait()
    until(lambda: not any(map(_alive, children)), "the worker outlived the app")


def _alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
