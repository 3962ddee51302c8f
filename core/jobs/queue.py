"""One worker, one ordered queue. Jobs live outside any browser and survive a restart.

States: queued → loading → running → (stopping) → done, stopped, failed; and interrupted, for what
was under way when the app itself ended. Answers are saved as they come, so Stop keeps them and
Resume asks only what is unasked. The model lives in another process (core.worker); this module
starts it, sends it one job at a time, and writes what it reports to the store.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import queue
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path

from core.analysis import derived_runs, scores
from core.asking.answers import Answer
from core.errors import Failed, PluriscopeError
from core.home import ROOT
from core.jobs.choices import AskChoices
from core.jobs.plan import Plan, plan_survey
from core.jobs.plan_tuning import TuningPlan
from core.jobs.progress import Closing, Live, Stopped
from core.jobs.stage_hands import StageHands
from core.metrics import metrics
from core.models.catalogue import describe
from core.models.spec import ModelSpec
from core.prompts.prompt_sets import PromptSet
from core.store.database import utc_now
from core.store.jobs import AskJob, Job, MergeJob, TuneJob
from core.store.runs import Run
from core.store.store import Store
from core.store.wordings import questionnaire_of
from core.survey.survey import load_bundled, save_snapshot
from core.tuning import stages
from core.tuning.settings import TuneSettings

WAITING, ACTIVE = ("queued",), ("loading", "running", "stopping")
UNFINISHED = (*WAITING, *ACTIVE)
GOING_ON = tuple(state for state in UNFINISHED if state != "stopping")
RESUMABLE = ("stopped", "failed", "interrupted")
# What to turn where the system ended the model's process.
LESS_MEMORY = {
    "ask": "Choose a smaller model or a lower precision (4-bit needs the least), then Resume. "
    "What was answered is saved.",
    "tune": "Lower “Tokens at once” (micro_tokens), tune in 4-bit, or close other programs, then "
    "Resume: training goes on from the last checkpoint.",
}
LOADING_GRACE = 3.0  # seconds in which a model that is being loaded may still hear of a stop
log = logging.getLogger("pluriscope.jobs")


class Jobs:
    """The queue and its one worker. One for each process that owns a store.

    only_own: leave what others queued in line, as a command should.
    """

    def __init__(self, store: Store, *, only_own: bool = False):
        self.store = store
        self._own: set[str] | None = set() if only_own else None
        self.model: dict | None = None  # what the worker holds
        self._lock = threading.RLock()
        self._wake = threading.Condition(self._lock)
        self._live: Live | None = None
        self._log_begins = 0  # where the job at work begins in the log of the worker's process
        self._process: subprocess.Popen | None = None
        self._told: str | None = None  # which command the worker is at
        self._numbers = itertools.count()
        self._unsaid: list[tuple[Job, str, str]] = []  # failures that could not be noted yet
        self._events: queue.SimpleQueue = queue.SimpleQueue()
        self._warm = self._unload = self._closing = False
        self._thread: threading.Thread | None = None
        self._mark_interrupted()

    # -- asking for things -----------------------------------------------------------------------

    def start(self, plan: Plan, *, first: bool = False) -> str:
        """Queue one asking; gives the job's id. One question goes to the head of the line.

        The same asking that is still under way is not queued twice; its id comes back. One that
        is being stopped is asked anew.
        """
        wanted = AskJob(plan.settings, plan.side_by_side, plan.kind, plan.derive)
        with self._lock:
            for job in self.store.jobs(GOING_ON):
                if job.settings == wanted:
                    return job.id
            spoken = [there.prompts for there in plan.translations]
            for one in (plan.prompts, *plan.more_prompts, *spoken):
                self._keep(one)
            for there in plan.translations:
                self.store.add_translation(there.sha256, there.language, there.texts())
            runs: list[Run] = []
            for one, name in zip(plan.settings, plan.names, strict=True):
                survey = self.store.survey(one.survey, one.survey_version)
                runs.append(
                    self.store.add_run(
                        one,
                        planned=len(one.keys(survey)),
                        name=name,
                        group=runs[0].group if runs else None,
                        kind=plan.kind,
                    )
                )
            job_id = self.store.add_job(
                plan.title,
                wanted,
                [run.id for run in runs],
                first=first or plan.kind == "question",
            )
            self._claim(job_id)
        self._ensure_thread()
        return job_id

    def start_tuning(self, plan: TuningPlan) -> str:
        """Queue a tuning. Gives the job's id; the tuning's is in its settings.

        The same tuning that is still under way is not queued twice; its job's id comes back.
        """
        with self._lock:
            for job in self.store.jobs(GOING_ON):
                known = job.kind == "tune" and self.store.tuning(job.settings.tuning)
                if known and TuneSettings.from_json(known["settings"]) == plan.settings:
                    return job.id
            self._keep(plan.prompts)
            tuning = self.store.add_tuning(plan.settings.to_json(), name=plan.name)
            job_id = self.store.add_job(plan.name, TuneJob(tuning))
            self._claim(job_id)
        self._ensure_thread()
        return job_id

    def _keep(self, prompts: PromptSet) -> None:
        """Have the store hold the very texts that will be asked with."""
        self.store.add_prompt_set(
            prompts.sha256, prompts.id, prompts.name, prompts.language, dict(prompts.texts)
        )

    def start_merge(self, model: ModelSpec, folder: Path) -> str:
        """Queue saving a model with its adapter merged in as a model in `folder`; the job's id."""
        with self._lock:
            job_id = self.store.add_job(f"Merging {describe(model)}", MergeJob(model, folder))
            self._claim(job_id)
        self._ensure_thread()
        return job_id

    def _claim(self, job_id: str) -> None:
        if self._own is not None:
            self._own.add(job_id)

    def stop(self, job_id: str) -> None:
        """Stop after the batch in hand and keep what was answered. A queued job leaves the line.

        Loading cannot be left half done: if it lasts, its process ends and a new one begins.
        """
        with self._lock:
            job = self.store.job(job_id)
            if job.state == "queued":
                self._finish(job, "stopped")
            elif self._live and self._live.job == job_id and job.state in ACTIVE:
                self._live.state = "stopping"
                self._live.stopping_since = self._live.stopping_since or time.monotonic()
                self.store.update_job(job_id, state="stopping")
                if self._told:
                    self._send({"do": "stop", "job": self._told})

    def discard(self, job_id: str) -> None:
        """Stop, and put what was answered in the bin, from where it can be taken back at any time.

        It goes there at once, so that whoever takes it back need not wait for the work to stop.
        """
        with self._lock:
            job = self.store.job(job_id)
            at_work = job.state in ACTIVE
            if job.kind == "tune":
                tuning = job.settings.tuning
                self.store.delete_tuning(tuning, everything=True, files=not at_work)
            self.store.delete_runs(job.runs)
            if at_work:
                self.stop(job_id)
            elif job.state == "queued":
                self._finish(job, "stopped")

    def take_back(self, job_id: str) -> None:
        """Take what was discarded with a job out of the bin; the job can be resumed."""
        with self._lock:
            job = self.store.job(job_id)
            if job.kind == "tune":
                self.store.restore_tuning(job.settings.tuning)
            self.store.restore_runs(job.runs)

    def resume(self, job_id: str) -> None:
        """Go on where a stopped, failed or interrupted job left off: only the unasked is asked.

        Of a tuning that is done, arms that failed are tried again. A job that waits in line stays
        there; a command that only does its own takes it over.
        """
        with self._lock:
            job = self.store.job(job_id)
            if job.state in WAITING:
                self._claim(job_id)
                self._ensure_thread()
                return
            if job.state not in RESUMABLE and not self._has_failed_arms(job):
                return
            if job.kind == "tune":
                self.store.restore_tuning(job.settings.tuning)
            self.store.restore_runs(self._runs_of(job))
            for run_id in self._runs_of(job):
                if self.store.run(run_id).state != "done":
                    self.store.update_run(run_id, state="queued")
            ahead = [other.position for other in self.store.jobs(WAITING)]
            self.store.update_job(
                job_id,
                state="queued",
                position=min(ahead, default=0.0) - 1,
                error=None,
                details=None,
                finished=None,
            )
            self._claim(job_id)
        self._ensure_thread()

    def move(self, job_id: str, up: bool) -> None:
        """Change places with the queued job before (up) or after."""
        with self._lock:
            line = self.store.jobs(WAITING)
            place = next((i for i, job in enumerate(line) if job.id == job_id), None)
            if place is None:
                return
            other = place - 1 if up else place + 1
            if 0 <= other < len(line):
                a, b = line[place], line[other]
                self.store.update_job(a.id, position=b.position)
                self.store.update_job(b.id, position=a.position)

    def remove(self, job_id: str) -> None:
        """Take a job that is not under way out of the history. Its runs stay."""
        with self._lock:
            if self.store.job(job_id).state in ACTIVE:
                raise PluriscopeError("Stop the job first, then remove it.")
            self.store.delete_job(job_id)
            self.store.log_of(job_id).unlink(missing_ok=True)

    def unload(self) -> None:
        """Let go of the model once the worker is free."""
        with self._lock:
            self._unload = True
            self._wake.notify_all()

    def serve(self) -> None:
        """Begin with what is queued from before, and start the worker process ahead of need."""
        with self._lock:
            self._warm = True
        self._ensure_thread()

    # -- looking ---------------------------------------------------------------------------------

    def live(self, job_id: str | None = None) -> Live | None:
        """The job at work, or None (also where it is not `job_id`)."""
        live = self._live
        return live if live and job_id in (None, live.job) else None

    def asking(self) -> str | None:
        """The id of the job whose questions are being asked now."""
        live = self._live
        return live.job if live and live.phase != "comparing" else None

    def busy(self) -> bool:
        return self._live is not None or bool(self.store.jobs(UNFINISHED, limit=1))

    def held_bytes(self) -> int:
        """Memory of the model held now, which is let go of before another is loaded."""
        held = self.model
        return held["memory_bytes"] if held else 0

    def log_text(self, job_id: str) -> str | None:
        """What the worker's process printed while it did a job that failed; None if not kept."""
        path = self.store.log_of(job_id)
        return path.read_text(encoding="utf-8") if path.exists() else None

    def wait(
        self, job_id: str, on_progress: Callable[[Live], None] | None = None, poll: float = 0.1
    ) -> Job:
        """Block until a job has ended; gives it as the store has it then."""
        while True:
            job = self.store.job(job_id)
            if job.state not in UNFINISHED:
                return job
            live = self.live(job_id)
            if live and on_progress:
                on_progress(live)
            time.sleep(poll)

    def close(self) -> None:
        """End the worker process. A job at work becomes interrupted."""
        with self._lock:
            self._closing = True
            self._wake.notify_all()
            process = self._process
        if process:
            process.kill()
            process.wait()
        if self._thread:
            self._thread.join(timeout=10)
        self._mark_interrupted()

    # -- the worker's thread -----------------------------------------------------------------------

    def _ensure_thread(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._serve, daemon=True, name="jobs")
                self._thread.start()
            self._wake.notify_all()

    def _serve(self) -> None:
        while not self._closing:
            with self._lock:
                if self._unsaid and not self._say_failures():
                    self._wake.wait(timeout=1)
                    continue
                job = self._next()
                if job is None:
                    if self._unload:
                        self._unload = False
                        self._send({"do": "unload"})
                    elif self._warm:
                        self._warm = False
                        self._ensure_process(warm=True)
                    else:
                        self._wake.wait(timeout=1)
                    self._drain()
                    continue
                self._live = Live(job.id, worked_before=job.worked)
                self._log_begins = self._log_path().stat().st_size if self._is_up() else 0
            try:
                self.store.update_job(job.id, state="loading", started=utc_now(), phase="starting")
                self._execute(job)
            except PluriscopeError as error:
                self._fail(job, str(error), traceback.format_exc())
            except Exception:  # whatever went wrong with one job, the queue goes on
                log.exception("job %s", job.id)
                if not self._closing:
                    self._fail(
                        job,
                        "Pluriscope itself stumbled over this job. What was answered is saved; "
                        "Resume carries on.",
                        traceback.format_exc(),
                    )
            else:
                self._compare(job)
            finally:
                with self._lock:
                    self._live = None

    def _compare(self, job: Job) -> None:
        """Have the headline scores ready before anybody opens the map.

        Only of what is complete, since others will have more answers once they are resumed; and
        not for a command, after which no page is opened.
        """
        if self._own is not None or self.store.job(job.id).state != "done":
            return
        runs = [self.store.run(run_id) for run_id in self._runs_of(job)]
        runs += self._made_of(runs)
        runs = [run for run in runs if run.kind == "survey" and run.answered and not run.deleted]
        self._live.phase = "comparing"
        wanted = [
            partial(scores.table, self.store, run, metric)
            for run in runs
            for metric in (metrics.HEADLINE, "paper")
        ]
        wanted += [partial(scores.change, self.store, runs[0], other) for other in runs[1:]]
        try:
            for compute in wanted:
                if self._closing:
                    return
                compute()
        except Exception:  # a page that needs the score will show why it cannot be had
            log.exception("scores of job %s", job.id)

    def _next(self) -> Job | None:
        line = self.store.jobs(WAITING)
        return next((job for job in line if self._own is None or job.id in self._own), None)

    def _execute(self, job: Job) -> None:
        """Do a job to its end, and note how it ended."""
        try:
            if job.kind == "tune":
                stages.carry_out(StageHands(self, job), job.settings.tuning)
            elif job.kind == "merge":
                for _ in self._converse(job, {"do": "merge", **job.settings.to_json()}):
                    pass
            else:
                self._ask(job, job.runs, job.settings.side_by_side)
        except Closing:
            return
        except Stopped:
            self._finish(job, "stopped")
        except Failed as failure:
            self._fail(job, str(failure), failure.details)
        except PluriscopeError as error:
            self._fail(job, str(error), traceback.format_exc())
        else:
            self._finish(job, "done")

    def _ask(
        self, job: Job, run_ids: Sequence[str], side_by_side: bool = False,
        on_answers: Callable[[int], None] | None = None,
    ) -> None:  # fmt: skip
        """Have what is unanswered of some runs answered, and save it as it comes."""
        live = self._live
        runs = [self.store.run(run_id) for run_id in run_ids]
        by_id = {run.id: run for run in runs}
        live.total = sum(run.planned for run in runs)
        live.done = sum(run.answered for run in runs)
        self.store.update_job(job.id, done=live.done, total=live.total)
        for run in runs:
            self.store.update_run(run.id, state="running")
        saved = time.monotonic()
        command = {
            "do": "ask",
            "home": str(self.store.home),
            "survey_file": self._survey_file(runs[0]),
            "runs": [self._order(run, side_by_side) for run in runs],
        }
        for event in self._converse(job, command):
            kind = event["event"]
            if kind == "facts":
                for run in runs:  # all runs of a job share the model that was loaded
                    known = self.store.run(run.id).facts
                    self.store.update_run(run.id, facts={**known, **event["facts"]})
            elif kind == "text":
                live.texts = event["texts"]
            elif kind == "answers":
                answers = [
                    Answer(**{**row, "probs": tuple(row["probs"])}) for row in event["answers"]
                ]
                landed = self.store.add_answers(by_id[event["run"]].no, answers)
                live.done += landed
                live.asked += landed
                if on_answers:
                    on_answers(landed)
                if time.monotonic() - saved > 2:
                    saved = time.monotonic()
                    self.store.update_job(
                        job.id, done=live.done, rate=live.rate, worked=live.worked
                    )
        self.store.update_job(job.id, done=live.done, rate=live.rate)

    def _converse(self, job: Job, command: dict) -> Iterator[dict]:
        """Send the worker a command and yield what it reports until it has done it.

        Raises Stopped, Failed or Closing where it ends otherwise. Phases are noted here.
        """
        live = self._live
        self._ensure_process()
        if self._told:  # whoever gave it gave up, because what came could not be saved
            self._send({"do": "stop", "job": self._told})
        # Each command is known by a name of its own, so that none hears of what another one did.
        self._told = told = f"{job.id}/{next(self._numbers)}"
        self._send({**command, "job": told})
        if live.state == "stopping":  # asked to before the process was there to hear it
            self._send({"do": "stop", "job": told})
        while True:
            try:
                event = self._events.get(timeout=0.5)
            except queue.Empty:
                self._end_endless_loading(live)
                continue
            kind = event["event"]
            if kind == "ended":
                self._told = None
                raise self._died(event["code"], command["do"])
            if self._about_the_machine(event):
                continue
            if event.get("job") != told:
                continue
            if kind in ("failed", "stopped", "done"):
                self._told = None
            if kind == "phase":
                live.doing = event.get("doing", "")
                self._set_phase(live, event["phase"])
            elif kind == "failed":
                raise Failed(event["error"], event["details"])
            elif kind == "stopped":
                self.store.update_job(job.id, done=live.done, rate=live.rate)
                raise Stopped
            elif kind == "done":
                return
            else:
                yield event

    def _order(self, run: Run, side_by_side: bool) -> dict:
        settings = run.settings
        asked = questionnaire_of(self.store, settings)
        return {
            "id": run.id,
            "settings": run.settings.to_json(),
            "side_by_side": side_by_side and settings.answering == "written",
            "answered": sorted(self.store.answered(run.no)),
            "prompts": asdict(asked.prompts),
            "translations": [there.to_json() for there in asked.translations.values()],
        }

    def _survey_file(self, run: Run) -> str | None:
        """A file the worker reads the survey from; None for the bundled one."""
        survey_id, version = run.settings.survey, run.settings.survey_version
        survey = self.store.survey(survey_id, version)
        bundled = load_bundled()
        if (bundled.id, bundled.version) == (survey_id, version):
            return None
        path = self.store.home / "surveys" / f"{survey_id}-{version}.json"
        if not path.exists():
            save_snapshot(survey, path)
        return str(path)

    def _set_phase(self, live: Live, phase: str) -> None:
        live.phase = phase
        with self._lock:
            if live.state != "stopping":
                live.state = "loading" if phase == "loading" else "running"
                self.store.update_job(live.job, state=live.state, phase=phase)
        if phase == "answering" and live.first is None:
            live.first = time.monotonic()

    def _finish(self, job: Job, state: str) -> None:
        cut_short = "failed" if state == "done" else state  # of an arm that could not be made
        for run_id in self._runs_of(job):
            run = self.store.run(run_id)
            if run.state != "done":
                self.store.update_run(
                    run_id, state="done" if run.answered >= run.planned else cut_short
                )
        if state == "done":
            self._derive(job)
        self._bin_the_rest(job)
        worked = {"worked": live.worked} if (live := self.live(job.id)) else {}
        self.store.update_job(job.id, state=state, finished=utc_now(), **worked)

    def _runs_of(self, job: Job) -> list[str]:
        """The runs a job holds that are there; those of a tuning are made as it goes."""
        if job.kind == "tune":
            return [run.id for run in self.store.tuning_runs(job.settings.tuning)]
        return self.store.there_are(job.runs)

    def _has_failed_arms(self, job: Job) -> bool:
        if job.kind != "tune" or job.state != "done":
            return False
        arms = self.store.arms(job.settings.tuning)
        return any(arm["state"] == "failed" for arm in arms)

    def _bin_the_rest(self, job: Job) -> None:
        """What a tuning made after it was discarded, while it was stopping, goes after it."""
        with self._lock:
            tuning = job.kind == "tune" and self.store.tuning(job.settings.tuning)
            if tuning and tuning["deleted"]:
                self.store.delete_tuning(tuning["id"], everything=True)

    def _derive(self, job: Job) -> None:
        """Make of the finished runs what was wished for when they were planned."""
        if job.kind != "ask" or not job.settings.derive:
            return
        asked = [self.store.run(run_id) for run_id in job.runs]
        if any(run.deleted for run in asked):  # discarded in its last moment
            return
        try:
            derived_runs.make(self.store, asked, job.settings.derive)
        except PluriscopeError as error:
            self.store.update_job(job.id, error=str(error), details=traceback.format_exc())

    def _made_of(self, runs: Sequence[Run]) -> list[Run]:
        """The runs that were made of these and stand beside them."""
        groups = dict.fromkeys(run.group for run in runs)
        beside = [run for group in groups for run in self.store.runs(kind=None, group=group)]
        return [run for run in reversed(beside) if run.settings.derived]

    def _fail(self, job: Job, error: str, details: str) -> None:
        self._keep_log(job.id)
        try:
            self.store.update_job(job.id, error=error, details=details)
            self._finish(job, "failed")
        except PluriscopeError:  # on a full disk not even this can be noted
            self._unsaid.append((job, error, details))

    def _say_failures(self) -> bool:
        """Note what could not be noted before; False while it still cannot."""
        waiting, self._unsaid = self._unsaid, []
        for job, error, details in waiting:
            self._fail(job, error, details)
        return not self._unsaid

    def _end_endless_loading(self, live: Live) -> None:
        """A download or a large model hears of a stop only at its end; do not wait for that."""
        since = live.stopping_since
        if since and live.phase == "loading" and time.monotonic() - since > LOADING_GRACE:
            self._process.kill()

    def _died(self, code: int, doing: str) -> Exception:
        """What to raise when the worker process has ended by itself."""
        self._process = None
        self.model = None
        if self._closing:
            return Closing()
        if self._live.state == "stopping" and self._live.phase == "loading":
            self._warm = True
            return Stopped()
        if code in (-9, 137):
            error = (
                "The model's process was ended by the system, most likely because memory ran out. "
                f"{LESS_MEMORY['tune' if doing == 'tune' else 'ask']}"
            )
        else:
            error = (
                f"The model's process ended unexpectedly (code {code}). What was answered is "
                "saved; Resume starts the process anew and carries on."
            )
        return Failed(error, self._printed(4000))

    def _log_path(self) -> Path:
        """What the worker's process prints, of one process at a time: warnings, crashes."""
        return self.store.home / "worker.log"

    def _printed(self, most: int) -> str:
        """The end of what the worker's process printed since the job at work began."""
        try:
            with open(self._log_path(), "rb") as stream:
                stream.seek(self._log_begins)
                return stream.read()[-most:].decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def _keep_log(self, job_id: str) -> None:
        path = self.store.log_of(job_id)
        with suppress(OSError):  # on a full disk it is done without
            path.parent.mkdir(exist_ok=True)
            path.write_text(self._printed(1_000_000), encoding="utf-8")

    # -- the worker's process ----------------------------------------------------------------------

    def _is_up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _ensure_process(self, warm: bool = False) -> None:
        """Start the process if there is none. Only ever called on the worker's thread: the kernel
        ends the process with the thread that started it (see core.worker)."""
        if self._is_up():
            return
        self._log_begins = 0
        with open(self._log_path(), "w", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "core.jobs.worker", *(["--warm"] if warm else [])],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                # Threads that wait for each other sleep: spinning, as OpenMP does by default, takes
                # the cores from pages and from itself wherever anything else is at work.
                # Cards are counted as nvidia-smi counts them, which told how much is free.
                env={
                    "OMP_WAIT_POLICY": "PASSIVE",
                    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
                    **os.environ,
                    "TOKENIZERS_PARALLELISM": "false",
                },
            )
        self._events = queue.SimpleQueue()
        threading.Thread(
            target=_listen, args=(self._process, self._events), daemon=True, name="worker events"
        ).start()

    def _send(self, command: dict) -> None:
        with self._lock:
            if self._is_up():
                try:
                    self._process.stdin.write(json.dumps(command, ensure_ascii=False) + "\n")
                    self._process.stdin.flush()
                except BrokenPipeError:
                    log.warning("the worker process is gone; its end is being reported")

    def _drain(self) -> None:
        """Between jobs: take note of what the worker says of its model."""
        while not self._events.empty():
            event = self._events.get()
            if not self._about_the_machine(event) and event["event"] == "ended":
                self._process, self.model = None, None

    def _about_the_machine(self, event: dict) -> bool:
        """Take note of what belongs to no job: which model is held, how fast this machine is."""
        if event["event"] == "model":
            self.model = event["held"]
        elif event["event"] == "machine":
            self.store.keep_result("machine", event["device"], event["rates"])
        else:
            return False
        return True

    def _mark_interrupted(self) -> None:
        """What was under way when the app last ended can be resumed."""
        for job in self.store.jobs(ACTIVE):
            self._bin_the_rest(job)
            self.store.update_job(job.id, state="interrupted", finished=utc_now())
            for run_id in self._runs_of(job):
                if self.store.run(run_id).state == "running":
                    self.store.update_run(run_id, state="interrupted")


def _listen(process: subprocess.Popen, events: queue.SimpleQueue) -> None:
    for line in process.stdout:
        try:
            events.put(json.loads(line))
        except json.JSONDecodeError:  # a line cut off by a crash
            log.warning("unreadable event: %.200s", line)
    events.put({"event": "ended", "code": process.wait()})


_open: dict[Path, Jobs] = {}
_opening = threading.Lock()


def open_jobs(home: Path) -> Jobs:
    """The app's store and queue of a folder, opened once in this process whoever asks."""
    with _opening:
        if home not in _open:
            _open[home] = Jobs(Store(home, holder="the Pluriscope app"))
        return _open[home]


def ensure_demo(jobs: Jobs) -> str | None:
    """On an empty store, have the built-in model asked the core set; gives the job's id if so.

    Done once: a store whose demo was deleted stays as its owner left it.
    """
    marker = jobs.store.home / "demo-made"
    if marker.exists():
        return None
    if not jobs.store.runs(kind="survey") and not jobs.store.jobs():
        job = jobs.start(plan_survey(jobs.store, AskChoices()))
    else:
        job = None
    Path(marker).write_text("The ready-made run was started once.\n", encoding="utf-8")
    return job
