"""Bring a model from the hub onto this machine, and tell how far it is. Never loads torch."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from core import wording
from core.errors import ModelError
from core.home import home
from core.models import catalogue, hub
from core.models import files as models_files
from core.models.spec import ModelSpec

Phase = Callable[[str], None]


def download(spec: ModelSpec, name: str, say: Phase) -> Path:
    from huggingface_hub import snapshot_download

    say(f"Downloading {name}")
    there = cache()
    try:
        with hub.in_words(spec.source, spec.revision), _bytes_told(spec, name, say):
            folder = snapshot_download(
                spec.source,
                revision=spec.revision,
                cache_dir=there,
                allow_patterns=hub.wanted(spec.trust_remote_code),
                ignore_patterns=list(hub.UNWANTED),
            )
    except OSError as error:
        raise ModelError(f"The download of {spec.source} could not be written: {error}") from error
    models_files.check(Path(folder))
    return Path(folder)


def cache() -> Path:
    """Where downloads go."""
    return catalogue.hub_caches(home())[0]


@contextmanager
def _bytes_told(spec: ModelSpec, name: str, say: Phase, every: float = 1.0) -> Iterator[None]:
    """Within, say how much of a download there is, how fast it comes and how long it will take."""
    offered = hub.told(spec.source, spec.revision)
    total = offered.size_bytes if offered else 0
    over = threading.Event()
    # When there was how much of it, of late: what came in the last seconds tells the pace.
    seen = deque([(time.monotonic(), hub.bytes_here(spec.source, cache()))], maxlen=15)

    def watch() -> None:
        while not over.wait(every):
            seen.append((time.monotonic(), hub.bytes_here(spec.source, cache())))
            (since, before), (now, here) = seen[0], seen[-1]
            started = here - before > total / 100  # before, only small files came
            rate = (here - before) / (now - since) if started else 0.0
            say(_download_words(name, here, total, rate))

    watcher = threading.Thread(target=watch, daemon=True, name="download")
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _download_words(name: str, here: int, total: int, rate: float) -> str:
    """here, total: bytes; total is 0 where it is not known. rate: bytes a second."""
    of = f" of {wording.size(total)}" if total else ""
    line = f"Downloading {name}: {wording.size(min(here, total or here))}{of}"
    if rate < 1:
        return line
    line += f", {wording.size(rate)} a second"
    seconds = (total - here) / rate
    if seconds <= 0:
        return line
    left = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(5, round(seconds / 5) * 5)} s"
    return f"{line}, about {left} left"
