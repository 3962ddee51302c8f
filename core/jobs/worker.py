"""The process that holds the model: it reads commands, works, and reports. `python -m core.worker`

Commands come as JSON lines on standard input, events leave as JSON lines on standard output. The
app never imports torch and never holds a model; if this process dies (out of memory, a crash in
native code), the app goes on, says so, and what was answered is already saved. This process ends
when its input closes, so it never outlives the app.

Commands: {"do": "ask", "job", "runs": [...], "survey_file"}, {"do": "stop", "job"},
{"do": "unload"}; for tuning {"do": "write", "job", "model", "requests": [{"messages", "seed"}],
"temperature", "top_p", "max_new_tokens"}, {"do": "judge", "job", "file_in", "file_out"},
{"do": "tune", "job", "model", "examples", "lora", "seed", "folder", "title", "iso3"},
{"do": "abilities", "job", "model", "adapter", "tasks"} and {"do": "merge", "job", "model",
"folder"}. Events carry the job they belong to: phase,
facts, answers, text, written, training, trained, abilities, done, stopped, failed; "model" says
what is held now, and "machine" how fast matrices are multiplied here.
"""

from __future__ import annotations

import json
import os
import platform
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from core.asking.questionnaire import Planned, Questionnaire
from core.asking.responses import ask
from core.asking.settings import AskSettings
from core.errors import PluriscopeError
from core.inference.chat_frames import frames_of
from core.models.adapter_exchange import write_index
from core.models.adapters import adapters_sha256, by_adapter
from core.models.catalogue import describe, is_teaching, merged_sha256
from core.models.spec import ModelSpec, typed_path
from core.prompts.demonstrations import questions
from core.prompts.prompt_sets import PromptSet
from core.prompts.translations import Translation
from core.survey.survey import Survey, load_bundled, load_snapshot
from core.tuning.culturespa.filtering import judge_file
from core.tuning.settings import Lora


class Channel:
    """Where events go: one JSON line each."""

    def __init__(self, stream):
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, **fields}, ensure_ascii=False, allow_nan=False)
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()


class Worker:
    def __init__(self, channel: Channel):
        self.channel = channel
        self.stopped: set[str] = set()
        self._shelf = None
        self._speed_of = None  # the device whose speed was told
        self._base: tuple | None = None  # what was trained on last: (spec, Loaded)

    @property
    def shelf(self):
        if self._shelf is None:
            from core.models.load import Shelf

            self._shelf = Shelf()
        return self._shelf

    def stop_asked(self, job: str) -> Callable[[], bool]:
        return lambda: job in self.stopped

    def ask(self, command: dict) -> None:
        """Answer what is unanswered of a job's runs, one run after another."""
        job = command["job"]
        survey = _survey(command.get("survey_file"))
        runs = [(run, AskSettings.from_json(run["settings"])) for run in command["runs"]]
        unfinished = [(run, s) for run, s in runs if _unasked(run, survey, s.personas())]
        for run, settings in unfinished:
            if settings.by_meaning and job not in self.stopped:
                run["vectors"] = self._meanings(job, settings, survey, command["home"])
        for run, settings in unfinished:
            if not run.get("side_by_side"):
                self._answer(job, settings, survey, [run])
        together = [(run, s) for run, s in unfinished if run.get("side_by_side")]
        if together:  # one batch, same seed on every side
            self._answer(job, together[0][1], survey, [run for run, _ in together])

    def _answer(self, job: str, settings: AskSettings, survey: Survey, runs: list[dict]) -> None:
        """Answer what is unasked of runs that differ only in whom the model answers as.

        Adapters of each country take turns on the base, each for its own country's prompts.
        """
        said: dict[str, str] = {}
        whom = dict.fromkeys(
            iso3 for run in runs for iso3 in AskSettings.from_json(run["settings"]).personas()
        )
        for model, countries in by_adapter(settings.model, tuple(whom)).items():
            if job in self.stopped:
                return
            if any(_unasked(run, survey, countries) for run in runs):
                loaded = self._load(job, runs[0]["id"], model, settings.model)
                self._answer_as(job, loaded, settings, survey, runs, set(countries), said)

    def _answer_as(
        self, job: str, loaded, settings: AskSettings, survey: Survey, runs: list[dict],
        countries: set[str], said: dict[str, str],
    ) -> None:  # fmt: skip
        """said: what has been written so far, by run and country."""
        self.channel.send("phase", job=job, phase="answering")
        run_of: dict[tuple, list[dict]] = {}  # whom the next answer to a prompt belongs to
        names: list[str] = []

        def planned() -> Iterator[Planned]:
            for run in runs:
                for one in _plan(run, survey):
                    if one.key[0] in countries:
                        run_of.setdefault(one.key, []).append(run)
                        names.append(f"{run['id']}/{one.key[0]}")
                        yield one

        def on_text(texts: list[str]) -> None:
            said.update(zip(names, texts, strict=False))
            self.channel.send("text", job=job, texts=said)

        for answers in ask(
            loaded,
            settings,
            planned(),
            stop=self.stop_asked(job),
            on_text=on_text if runs[0].get("side_by_side") else None,
            same_luck=bool(runs[0].get("side_by_side")),
        ):
            rows: dict[str, list] = {}
            for answer in answers:
                run = run_of[answer.key()].pop(0)
                rows.setdefault(run["id"], []).append(asdict(answer))
            for run_id, batch in rows.items():
                self.channel.send("answers", job=job, run=run_id, answers=batch)

    def _meanings(self, job: str, settings: AskSettings, survey: Survey, home: str) -> np.ndarray:
        """What the questions mean, for a run whose examples are chosen by it."""
        from core.models import embedding

        doing = "Comparing what the questions mean"
        self.channel.send("phase", job=job, phase="loading", doing=doing)
        own = settings.asked_items(survey)[0] if settings.own_item else None
        made = embedding.vectors(settings.embedder, questions(survey, own), Path(home))
        facts = {"embedder_revision": embedding.revision(settings.embedder)}
        self.channel.send("facts", job=job, facts=facts)
        return made

    def tune(self, command: dict) -> None:
        """Train one adapter. The model that is asked makes room first."""
        from core.tuning.train import train

        job, lora = command["job"], Lora(**command["lora"])
        if self.shelf.current:
            self.unload()
        trained = None
        try:
            trained = train(
                ModelSpec.from_json(command["model"]),
                Path(command["examples"]),
                lora,
                Path(command["folder"]),
                seed=command["seed"],
                title=command.get("title", ""),
                base=self._training_base(command, lora),
                on_phase=lambda phase: self.channel.send("phase", job=job, phase=phase),
                on_step=lambda step: self.channel.send("training", job=job, **step._asdict()),
                stop=self.stop_asked(job),
            )
        finally:
            if not (trained and trained.complete and command.get("iso3")):
                self._let_go_of_base()
            if trained and command.get("iso3"):
                write_index(Path(command["folder"]).parent, command.get("title", ""))
        self.channel.send("trained", job=job, sha256=trained.sha256, facts=trained.facts)

    def merge(self, command: dict) -> None:
        """Save a model with its adapter merged in as a model of its own."""
        from core.tuning.train import merge

        job = command["job"]
        if self.shelf.current:
            self.unload()

        def say(doing: str) -> None:
            self.channel.send("phase", job=job, phase="merging", doing=doing)

        merge(ModelSpec.from_json(command["model"]), Path(command["folder"]), on_phase=say)

    def _training_base(self, command: dict, lora: Lora):
        """The base to train on. Of several adapters, one for each country, it is read once."""
        from core.models.load import base_as_read
        from core.tuning.train import load_base

        spec = lora.base(ModelSpec.from_json(command["model"]))
        if self._base is None or self._base[0] != spec or not base_as_read(self._base[1]):
            self._let_go_of_base()
            self.channel.send("phase", job=command["job"], phase="loading")
            self._base = (spec, load_base(spec, lora))
            self.say_model()
        return self._base[1]

    def _let_go_of_base(self) -> None:
        if self._base is not None:
            from core.models.load import give_back

            self._base[1].release()
            self._base = None
            give_back()
            self.say_model()

    def write(self, command: dict) -> None:
        """Write a reply to each request; each is reported once, as it is finished."""
        from core.inference.generation import Written, generate

        job, requests = command["job"], command["requests"]
        loaded = self._load(job, "", ModelSpec.from_json(command["model"]))
        self.channel.send("phase", job=job, phase="writing")

        def on_done(index: int, one: Written) -> None:
            text = {"index": index, "text": one.text, "finished": one.finished}
            self.channel.send("written", job=job, texts=[text])

        generate(
            loaded,
            [request["messages"] for request in requests],
            temperature=command["temperature"],
            top_p=command["top_p"],
            max_new_tokens=command["max_new_tokens"],
            seeds=[request["seed"] for request in requests],
            side_by_side=WRITTEN_AT_ONCE[loaded.device.type == "cuda"],
            on_done=on_done,
            stop=self.stop_asked(job),
        )

    def judge(self, command: dict) -> None:
        """Tell which written questions are kept; from a file to a file, for they may be many."""
        self.channel.send("phase", job=command["job"], phase="judging")
        judge_file(Path(command["file_in"]), Path(command["file_out"]))

    def abilities(self, command: dict) -> None:
        """What an adapter, or one for each country, cost elsewhere: event "abilities", a record."""
        from core.tuning.abilities.guard import Guard
        from core.tuning.abilities.paired_tests import together

        job, folder = command["job"], Path(command["adapter"])
        base = ModelSpec.from_json(command["model"])
        parts = {"": folder}
        if not (folder / "adapter_config.json").is_file():
            parts = {p.parent.name: p.parent for p in sorted(folder.glob("*/adapter_config.json"))}
        if not parts:
            raise PluriscopeError(f"There is no adapter in {folder.name}, so it cannot be tested.")
        guard = Guard(
            say=lambda doing: self.channel.send("phase", job=job, phase="testing", doing=doing),
            stop=self.stop_asked(job),
        )
        records = {}
        for iso3, part in parts.items():
            self.channel.send("phase", job=job, phase="loading")
            loaded = self.shelf.get(replace(base, adapter=str(part)))
            self.say_model()
            records[iso3] = guard.measure(loaded, command.get("tasks", ()), iso3)
            if job in self.stopped:
                return
        record = records[""] if "" in records else together(records)
        self.channel.send("abilities", job=job, record=record)

    def _load(self, job: str, run_id: str, spec: ModelSpec, whole: ModelSpec | None = None):
        """Have a model in memory. whole: what it is one of, with an adapter for each country."""

        def say(doing: str) -> None:
            self.channel.send("phase", job=job, phase="loading", doing=doing)

        say("Loading the model")
        began = time.monotonic()
        loaded = self.shelf.get(spec, on_phase=say)
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
        self.channel.send("facts", job=job, run=run_id, facts=facts)
        self.say_model()
        self._say_speed(loaded.device)
        return loaded

    def _say_speed(self, device) -> None:
        """Tell once how fast this machine is: how long a model takes is guessed from it."""
        from core.models.load import matmul_rates

        if self._speed_of != device:
            self._speed_of = device
            self.channel.send("machine", device=device.type, rates=matmul_rates(device))

    def say_model(self) -> None:
        """Tell which model is in memory: the one that is asked, or the one that is trained on."""
        held = self._base[1] if self._base else self.shelf.current
        self.channel.send(
            "model",
            held=None
            if held is None
            else {
                "spec": held.spec.to_json(),
                "name": held.name,
                "precision": held.precision,
                "memory_bytes": held.memory_bytes,
                "device": str(held.device),
            },
        )

    def unload(self) -> None:
        self.shelf.unload()
        self.say_model()

    def run(self, command: dict) -> None:
        """Do one command; whatever happens, the app hears how it ended."""
        job = command.get("job")
        try:
            if command["do"] != "tune":
                self._let_go_of_base()
            if command["do"] == "ask":
                self.ask(command)
            elif command["do"] == "tune":
                self.tune(command)
            elif command["do"] == "write":
                self.write(command)
            elif command["do"] == "judge":
                self.judge(command)
            elif command["do"] == "abilities":
                self.abilities(command)
            elif command["do"] == "merge":
                self.merge(command)
            elif command["do"] == "unload":
                self.unload()
                return
            self.channel.send("stopped" if job in self.stopped else "done", job=job)
        except PluriscopeError as error:
            self.channel.send("failed", job=job, error=str(error), details=traceback.format_exc())
            self.say_model()
        except MemoryError:
            self.shelf.unload()
            self.channel.send(
                "failed", job=job, error=OUT_OF_MEMORY, details=traceback.format_exc()
            )
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
            self.channel.send("failed", job=job, error=message, details=traceback.format_exc())


WRITTEN_AT_ONCE = (64, 256)  # on a processor, on a graphics card
OUT_OF_MEMORY = (
    "There was not enough memory to go on. Choose a smaller model or a lower precision "
    "(4-bit needs the least), or close other programs. What was answered is saved."
)


def _survey(snapshot: str | None) -> Survey:
    return load_snapshot(Path(snapshot)) if snapshot else load_bundled()


def _unasked(run: dict, survey: Survey, whom: Sequence[str]) -> bool:
    """Is there anything left to ask of a run as one of these?"""
    answered = {tuple(key) for key in run["answered"]}
    keys = AskSettings.from_json(run["settings"]).keys(survey)
    return any(key[0] in whom and key not in answered for key in keys)


def _plan(run: dict, survey: Survey) -> Iterator[Planned]:
    settings, prompts = AskSettings.from_json(run["settings"]), PromptSet(**run["prompts"])
    answered = {tuple(key) for key in run["answered"]}
    translations = [Translation.from_json(record) for record in run.get("translations", ())]
    spoken = {one.language: one for one in translations}
    asked = Questionnaire(settings, survey, prompts, spoken, run.get("vectors"))
    return asked.planned(answered)


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
            command = json.loads(line)
            if command["do"] == "stop":
                worker.stopped.add(command["job"])
                continue
            # A stop counts for the asking before it, never for the one to come.
            worker.stopped.discard(command.get("job"))
            commands.put(command)
        os._exit(0)  # the app is gone; nothing here is worth keeping

    threading.Thread(target=listen, daemon=True).start()
    worker.channel.send("ready", pid=os.getpid())
    if "--warm" in sys.argv:
        import core.inference.generation
        import core.inference.option_scoring
        import core.models.load  # noqa: F401  the first job need not wait for torch
    while True:
        worker.run(commands.get())


if __name__ == "__main__":
    main()
