"""The process that holds the model (core/jobs/worker.py), as the queue sees it."""

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
from pathlib import Path
from typing import Any

from core.home import ROOT
from core.jobs.messages import (
    Ended,
    Failure,
    Finished,
    MachineSpeed,
    ModelChanged,
    Stop,
    StoppedEarly,
    Unload,
    read_line,
    to_line,
)
from core.jobs.progress import Live

LOADING_GRACE = 3.0  # seconds in which a model that is being loaded may still hear of a stop
log = logging.getLogger("pluriscope.jobs")


# Why: docs/decisions.md, "The model lives in a process of its own."
class WorkerProcess:
    """One process at a time: started, given one command at a time, listened to, ended.

    log: the file it prints to, of one process at a time: warnings, crashes.
    """

    def __init__(self, log: Path):
        self.log = log
        self._log_begins = 0  # where the job at work begins in it
        self._process: subprocess.Popen | None = None
        self._events: queue.SimpleQueue = queue.SimpleQueue()
        self._told = ""  # the name of the command it is at
        self._numbers = itertools.count()
        self._sending = threading.Lock()

    @property
    def is_up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self, warm: bool = False) -> None:
        """Start the process if there is none. warm: it reads its libraries ahead of need.

        Only ever called on the thread that does the jobs: the kernel ends the process with the
        thread that started it (worker._die_with_parent).
        """
        if self.is_up:
            return
        self._log_begins, self._told = 0, ""
        with open(self.log, "w", encoding="utf-8") as errors:
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
                    # Why: docs/decisions.md, "Waiting threads sleep."
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

    def tell(self, job: str, command: Any) -> None:
        """Have a command done for a job, after the one at hand, which is stopped."""
        self.stop()  # whoever gave it gave up, because what came could not be saved
        # Each command is known by a name of its own, so that none hears of what another one did.
        self._told = f"{job}/{next(self._numbers)}"
        self._send(self._told, command)

    def stop(self) -> None:
        """Ask for an end of the command at hand, if there is one."""
        if self._told:
            self._send(self._told, Stop())

    def unload(self) -> None:
        """Have it let go of its model."""
        self._send("", Unload())

    def event(self, timeout: float = 0.0) -> Any | None:
        """What it says next of the command at hand or of itself; None where that takes longer.

        Of itself: ModelChanged, MachineSpeed and Ended.
        """
        while True:
            try:
                job, event = self._events.get(bool(timeout), timeout)
            except queue.Empty:
                return None
            if job == self._told or isinstance(event, ModelChanged | MachineSpeed | Ended):
                break
        if isinstance(event, Ended):
            self._process = None
        if isinstance(event, Ended | Finished | StoppedEarly | Failure):
            self._told = ""
        return event

    def end_endless_loading(self, live: Live) -> None:
        """A download or a large model hears of a stop only at its end; do not wait for that."""
        since = live.stopping_since
        if since and live.phase == "loading" and time.monotonic() - since > LOADING_GRACE:
            self._process.kill()

    def end(self) -> None:
        if process := self._process:
            process.kill()
            process.wait()

    def begin_log(self) -> None:
        """What it prints from now on belongs to another job."""
        self._log_begins = self.log.stat().st_size if self.is_up else 0

    def printed(self, most: int) -> str:
        """The end of what it printed since the job at work began, `most` bytes of it."""
        try:
            with open(self.log, "rb") as stream:
                stream.seek(self._log_begins)
                return stream.read()[-most:].decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def _send(self, job: str, command: Any) -> None:
        with self._sending:
            if self.is_up:
                try:
                    self._process.stdin.write(to_line(job, command))
                    self._process.stdin.flush()
                except BrokenPipeError:
                    log.warning("the worker process is gone; its end is being reported")


def _listen(process: subprocess.Popen, events: queue.SimpleQueue) -> None:
    for line in process.stdout:
        try:
            events.put(read_line(line))
        except json.JSONDecodeError:  # a line cut off by a crash
            log.warning("unreadable event: %.200s", line)
    events.put(("", Ended(process.wait())))
