"""What is known of the job at work as of now, and how work ends early."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class Live:
    """What is known of the job at work, as of now.

    phase: starting, loading, answering, comparing. doing: what loading is at, in words. stage: of
    a tuning, what is being done, in words. done, total: of what is counted: answers, and for a
    tuning questions or steps as well. share: of the whole job, where it has several stages.
    """

    job: str
    state: str = "loading"
    phase: str = "starting"
    doing: str = ""
    stopping_since: float | None = None
    done: int = 0
    total: int = 0
    began: float = field(default_factory=time.monotonic)
    first: float | None = None  # when counting began
    asked: int = 0  # counted since then
    texts: dict[str, str] = field(default_factory=dict)
    stage: str = ""
    share: float | None = None
    share_at_start: float = 0.0
    worked_before: float = 0.0  # seconds, before it was stopped or interrupted
    facts: dict = field(default_factory=dict)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    @property
    def worked(self) -> float:
        """Seconds the job has been at work, pauses left out."""
        return self.worked_before + self.elapsed

    @property
    def rate(self) -> float | None:
        """Answers a second, once there are some."""
        if not self.asked or self.first is None:
            return None
        return self.asked / max(time.monotonic() - self.first, 1e-3)

    @property
    def eta(self) -> float | None:
        """Seconds to go until the job's end, or None while unknown."""
        if self.share is not None:
            gone = self.share - self.share_at_start
            return self.elapsed * (1 - self.share) / gone if gone > 0.01 else None
        return (self.total - self.done) / self.rate if self.rate else None

    def begin(self, stage: str, done: int, total: int) -> None:
        """A stage of a tuning begins."""
        self.stage, self.done, self.total = stage, done, total
        self.first, self.asked = time.monotonic(), 0


class Stopped(Exception):
    """The work in hand was stopped because somebody asked for it."""


class Closing(Exception):
    """The app is on its way out; what was under way becomes interrupted."""
