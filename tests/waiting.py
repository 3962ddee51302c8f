"""Waiting for what comes in its own time: until it is there, and never for a fixed while.

Whatever else the machine is doing may hold a test up, so LONG is generous. Nobody waits that long
unless what is waited for never comes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

LONG = 600  # seconds


def until(condition: Callable[[], object], otherwise: str = "it did not come") -> None:
    """Return as soon as the condition holds; fail with the words `otherwise` if it never does."""
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.01)
