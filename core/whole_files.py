"""Files that are whole or not there: written beside their place, put on the disk, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def whole_file(path: Path, encoding: str | None = None) -> Iterator[IO]:
    """A file to write to, of bytes or (with an encoding) of text.

    It is at `path` once the block has ended well, and on the disk by then; else all is as before.
    """
    unfinished = path.with_name(f"{path.name}.part")
    try:
        with open(unfinished, "w" if encoding else "wb", encoding=encoding) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a file's whole content; text as UTF-8."""
    with whole_file(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)
