"""One import at a time, in the background: look at a file, then bring it in.

A file of half a gigabyte takes a minute to read, so neither happens while a page is drawn. The
desk belongs to the process that owns the store: what lies on it is the same for every tab, and
still there after a refresh. Uploads lie in PLURISCOPE_HOME/uploads and go when they are done with.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from core.errors import ImportRefused, PluriscopeError
from core.importers import (
    culturespa,
    files,
    glance,
    globalopinionqa,
    import_into,
    importer,
    table,
    wvs,
)
from core.importers.imported import Check
from core.sanitize import clean_text
from core.store.store import Store

log = logging.getLogger("pluriscope.imports")

PREVIEW = 20  # rows
STUMBLED = (
    "Pluriscope itself stumbled over this file, so nothing was imported. Details are in the log."
)


@dataclass(frozen=True, eq=False)
class Looked:
    """What looking at a file found. options: those it was looked at with. columns: all of the
    file's. preview: its first rows. problems: line, column, problem (a table's). words: item,
    answer, n of answers in words that are not understood (World Values Survey). orders: lists of
    answers and whether they have an order (GlobalOpinionQA, see its orders())."""

    check: Check
    options: Any
    columns: tuple[str, ...] = ()
    preview: pd.DataFrame | None = None
    problems: pd.DataFrame | None = None
    words: pd.DataFrame | None = None
    orders: pd.DataFrame | None = None


@dataclass(frozen=True, eq=False)
class Desk:
    """What lies on the desk now.

    step: "empty", "looking", "looked", "importing", "storing" or "done". turn: grows with each
    file, a key for what a page remembers of it. name: what its owner calls the file. phase: what
    is being done, in words, since `began` (time.monotonic). result: what import_into() gave.
    error: why the last step failed.
    """

    step: str = "empty"
    turn: int = 0
    name: str = ""
    path: Path | None = None
    uploaded: bool = False
    kind: str = ""
    phase: str = ""
    began: float = 0.0
    looked: Looked | None = None
    result: dict = field(default_factory=dict)
    error: str = ""

    @property
    def busy(self) -> bool:
        return self.step in ("looking", "importing", "storing")

    @property
    def elapsed(self) -> float:
        """Seconds since the step at work began."""
        return time.monotonic() - self.began


# Why: docs/decisions.md, "An import goes on without its page."
class Imports:
    """The desk of one store. Every method returns at once; `desk` says how far the work is."""

    def __init__(self, store: Store):
        self.store = store
        self.desk = Desk()
        self._lock = threading.RLock()
        self._uploads = store.home / "uploads"
        # What a crash left behind.
        for left in (self._uploads, *store.home.glob(".import-*")):
            shutil.rmtree(left, ignore_errors=True)

    # -- choosing a file -------------------------------------------------------------------------

    def look_at_upload(self, name: str, content: BinaryIO) -> None:
        """Copy what was uploaded to disk, and look at it."""
        folder = self._uploads / secrets.token_hex(4)
        folder.mkdir(parents=True)
        path = folder / _file_name(name)
        with open(path, "wb") as kept:
            shutil.copyfileobj(content, kept, 1 << 20)
        self._put(path, path.name, uploaded=True)

    def look_at(self, path: str) -> None:
        """Look at a file or folder on this machine; it stays where it is."""
        where = Path(path.strip())
        self._put(where, clean_text(where.name, 80) or path.strip(), uploaded=False)

    def look_again(self, kind: str, options: Any = None) -> None:
        """Look at the same file as another kind, or with other options."""
        with self._lock:
            if self.desk.step == "looked":
                new = replace(self.desk, step="looking", kind=kind)
                self._start(new, self._look, options)

    def clear(self) -> None:
        """Take the file off the desk; work on it is given up, and nothing of it stays.

        Once it is being stored it is too late; that takes a moment and is undone in the Library.
        """
        with self._lock:
            if self.desk.step != "storing":
                self._drop_upload()
                self.desk = Desk(turn=self.desk.turn + 1)

    def bring_in(self, options: Any) -> None:
        """Read the file that was looked at, and put it in the store."""
        with self._lock:
            if self.desk.step == "looked":
                self._start(replace(self.desk, step="importing"), self._bring, options)

    # -- the work --------------------------------------------------------------------------------

    def _put(self, path: Path, name: str, uploaded: bool) -> None:
        with self._lock:
            if self.desk.step == "storing":
                return
            self._drop_upload()
            new = Desk("looking", self.desk.turn + 1, name, path, uploaded)
            self._start(new, self._look, None)

    def _start(self, desk: Desk, work: Callable[[Desk, Any], None], options: Any) -> None:
        self.desk = replace(desk, began=time.monotonic(), phase="", error="")
        threading.Thread(
            target=self._do, args=(self.desk, work, options), daemon=True, name="import"
        ).start()

    def _do(self, desk: Desk, work: Callable[[Desk, Any], None], options: Any) -> None:
        try:
            work(desk, options)
        except PluriscopeError as error:
            self._failed(desk, str(error))
        except Exception:  # whatever a file holds, the app goes on and says so
            if self._failed(desk, STUMBLED):
                log.exception("import of %s", desk.name)

    def _failed(self, desk: Desk, error: str) -> bool:
        step = "looked" if desk.looked else "empty"
        return self._publish(desk, step=step, error=error, phase="")

    def _publish(self, desk: Desk, **changes: Any) -> bool:
        """Put what came of the work on the desk, unless the desk has moved on."""
        with self._lock:
            if self.desk.turn != desk.turn:
                return False
            self.desk = replace(self.desk, **changes)
            return True

    def _look(self, desk: Desk, options: Any) -> None:
        self._publish(desk, phase="Looking at the file")
        with ExitStack() as open_files:
            try:  # once for all that is asked of it: a zip takes a while to unpack
                given = open_files.enter_context(files.opened(desk.path))
            except ImportRefused:  # a folder, or what the importer refuses in its own words
                given = desk.path
            self._look_into(desk, given, options)

    def _look_into(self, desk: Desk, given: files.Given, options: Any) -> None:
        seen = glance(given)
        kind = desk.kind or seen.kind
        module = importer(kind)
        given = (
            desk.path if module is culturespa else given
        )  # which reads a folder, or a zip of one
        options = options or module.Options()
        check = module.check(given, options)
        found: dict[str, pd.DataFrame] = {}
        if check.can_import or check.rows:
            found["preview"] = module.preview(given, PREVIEW, options)
            if module is table:
                found["problems"] = table.problems(given, options)
            if module is wvs:
                self._publish(desk, phase="Looking for answers in words")
                found["words"] = wvs.unknown_words(given, options)
            if module is globalopinionqa:
                found["orders"] = globalopinionqa.orders(given, options)
        looked = Looked(check, options, seen.columns, **found)
        self._publish(desk, step="looked", kind=kind, looked=looked, phase="")

    def _bring(self, desk: Desk, options: Any) -> None:
        imported = importer(desk.kind).read(
            desk.path, options, lambda phase: self._publish(desk, phase=phase)
        )
        if self._publish(desk, step="storing", phase="Keeping it"):
            result = import_into(self.store, imported, source=desk.name)
            with self._lock:
                self._drop_upload()
                self._publish(desk, step="done", result=result, phase="", looked=None)

    def _drop_upload(self) -> None:
        if self.desk.uploaded:
            shutil.rmtree(self.desk.path.parent, ignore_errors=True)


def _file_name(name: str) -> str:
    """The name of an upload as a name on disk: no folders, nothing unseen, not too long."""
    name = clean_text(name.replace("\\", "/").rpartition("/")[2], 200).replace("/", "")
    stem, suffix = Path(name).stem.strip(". "), Path(name).suffix[:8]
    return f"{stem.encode()[:180].decode(errors='ignore') or 'upload'}{suffix}"


_open: dict[Path, Imports] = {}
_opening = threading.Lock()


def open_imports(store: Store) -> Imports:
    """The desk of a store, the same for whoever asks."""
    with _opening:
        if store.home not in _open or _open[store.home].store is not store:
            _open[store.home] = Imports(store)
        return _open[store.home]
