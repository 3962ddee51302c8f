"""The one DuckDB file: who holds it, reading, writing in turns, migrating."""

from __future__ import annotations

import json
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa

from core.errors import PluriscopeError, StoreBusy
from core.store.schema import MIGRATIONS
from core.survey.survey import Survey

JSON_COLUMNS = {"settings", "counts", "facts", "base", "record"}


class Database:
    """Open with a folder (PLURISCOPE_HOME); raises StoreBusy where another process holds it."""

    def __init__(self, home: Path | str, *, holder: str = "Pluriscope"):
        self.home = Path(home)
        self.home.mkdir(parents=True, exist_ok=True)
        self.path = self.home / "pluriscope.duckdb"
        self._write = threading.RLock()
        self._mine = threading.local()  # the cursor of the transaction a thread is in
        self._changes = 0
        self._surveys: dict[tuple[str, str], Survey] = {}
        self._connection = self._open()
        (self.home / "holder.json").write_text(
            json.dumps({"pid": os.getpid(), "what": holder}), encoding="utf-8"
        )
        self._migrate()

    def _open(self) -> duckdb.DuckDBPyConnection:
        try:
            return duckdb.connect(
                str(self.path),
                config={
                    "autoinstall_known_extensions": "false",
                    "autoload_known_extensions": "false",
                    "python_enable_replacements": "false",
                    "enable_external_access": "false",
                    "memory_limit": "2GB",
                },
            )
        except duckdb.Error as error:
            if isinstance(error, duckdb.IOException) and "lock" in str(error).lower():
                raise StoreBusy(_who_holds(self.home, str(error))) from None
            raise PluriscopeError(
                f"{self.path} is damaged or not a Pluriscope store ({str(error).splitlines()[0]}). "
                "Move the file aside to start with an empty store."
            ) from error

    def close(self) -> None:
        with self._write:
            self._connection.close()
            (self.home / "holder.json").unlink(missing_ok=True)

    def query(self, sql: str, params: Sequence | dict = ()) -> pd.DataFrame:
        """A tidy table. `params` are bound, never pasted."""
        with self._reading() as cursor:
            return cursor.execute(sql, params).df()

    def rows(self, sql: str, params: Sequence | dict = ()) -> list[tuple]:
        with self._reading() as cursor:
            return cursor.execute(sql, params).fetchall()

    def arrow(self, sql: str, params: Sequence | dict = ()) -> pa.Table:
        with self._reading() as cursor:
            return cursor.sql(sql, params=params).to_arrow_table()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Several writes that land together or not at all; this thread's reads see them."""
        with self._writing():
            yield

    @contextmanager
    def _reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor of the call's own, or that of the transaction this thread is in."""
        if (open_one := getattr(self._mine, "cursor", None)) is not None:
            yield open_one
            return
        with self._connection.cursor() as cursor:
            yield cursor

    @contextmanager
    def _writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A transaction; all of it lands or none. Inside another one it is part of that."""
        if (open_one := getattr(self._mine, "cursor", None)) is not None:
            yield open_one
            return
        with self._write, _disk_in_words(), self._connection.cursor() as cursor:
            cursor.begin()
            self._mine.cursor = cursor
            try:
                yield cursor
            except BaseException:
                cursor.rollback()
                self._surveys.clear()  # one of them may not have landed
                raise
            finally:
                self._mine.cursor = None
            cursor.commit()
            self._changes += 1

    @property
    def changes(self) -> int:
        """Grows with every write; a key for caches of reads."""
        return self._changes

    def _migrate(self) -> None:
        with self._writing() as cursor:
            cursor.execute("create table if not exists migrations (name text, ran timestamp)")
            ran = {name for (name,) in cursor.execute("select name from migrations").fetchall()}
            newer = ran - {step.__name__ for step in MIGRATIONS}
            if newer:
                raise PluriscopeError(
                    "This store was written by a newer Pluriscope. Update Pluriscope, or set "
                    "PLURISCOPE_HOME to another folder."
                )
            for step in MIGRATIONS:
                if step.__name__ not in ran:
                    step(cursor.execute)
                    cursor.execute(
                        "insert into migrations values (?, ?)", [step.__name__, utc_now()]
                    )

    def _records(self, sql: str, params: Sequence) -> list[dict]:
        """Rows as dicts, JSON columns read."""
        with self._reading() as cursor:
            cursor.execute(sql, params)
            names = [column[0] for column in cursor.description]
            records = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        for record in records:
            for name in JSON_COLUMNS & record.keys():
                record[name] = json.loads(record[name])
        return records


@contextmanager
def _disk_in_words() -> Iterator[None]:
    """A disk that is full is a sentence; what did not land can be written once there is room."""
    try:
        yield
    except duckdb.Error as error:
        reason = re.search(r"(?:could not|failed to) write .*: (.+)", str(error), re.I)
        if not reason and "no space left" not in str(error).lower():
            raise
        why = reason[1] if reason else "no space left on the disk"
        raise PluriscopeError(
            f"What came could not be written to the store ({why}). Make room on the disk, then "
            "Resume."
        ) from error


def new_id() -> str:
    """A short id that sorts by time: eight characters of time, four of chance."""
    return f"{int(time.time() * 10):x}"[-8:] + secrets.token_hex(2)


def utc_now() -> datetime:
    """UTC, without a zone, as DuckDB's timestamp keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)


def _who_holds(home: Path, error: str) -> str:
    what, pid = "another program", None
    try:
        record = json.loads((home / "holder.json").read_text(encoding="utf-8"))
        what, pid = record["what"], record["pid"]
    except (OSError, ValueError, KeyError):
        match = re.search(r"PID (\d+)", error)
        pid = int(match[1]) if match else None
    number = f" (process {pid})" if pid else ""
    return (
        f"The store in {home} is in use by {what}{number}. Do this in the app, or close it first; "
        "or set PLURISCOPE_HOME to another folder."
    )


def insert_rows(cursor: duckdb.DuckDBPyConnection, table: str, rows: list[dict]) -> None:
    if not rows:
        return
    cursor.register("incoming", pa.Table.from_pylist(rows))
    cursor.execute(f"insert into {table} by name select * from incoming")
    cursor.unregister("incoming")


def insert_frame(
    cursor: duckdb.DuckDBPyConnection, table: str, key: list, frame: pd.DataFrame
) -> None:
    """Insert a frame whose columns end the table's, after the key's values."""
    cursor.register("incoming", pa.Table.from_pandas(frame, preserve_index=False))
    blanks = ", ".join("?" * len(key))
    cursor.execute(f"insert into {table} select {blanks}, * from incoming", key)
    cursor.unregister("incoming")
