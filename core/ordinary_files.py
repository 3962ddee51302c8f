"""Files that somebody named, read only where they are files: no device, no pipe, no end missing."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def is_ordinary(path: Path) -> bool:
    """True for a file, and for a link to one; False also where nothing is there."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):  # ValueError: a zero byte
        return False


def read_ordinary(path: Path, most_mb: int = 256) -> bytes:
    """A file's bytes. Raises OSError for what is no ordinary file, and for a larger one."""
    # Opening a pipe would wait for somebody to write to it.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(handle, "rb") as file:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EINVAL, "it is not an ordinary file", str(path))
        if facts.st_size > most_mb * 1_000_000:
            raise OSError(errno.EFBIG, f"it is larger than {most_mb} MB", str(path))
        return file.read()
