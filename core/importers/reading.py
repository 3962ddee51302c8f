"""Ask questions of a table on disk without loading it: DuckDB reads only the columns it needs.

The database is in memory, gone after each question, and may open that one file and nothing else.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import duckdb
import pandas as pd
import pyarrow as pa

from core.errors import ImportRefused
from core.importers.files import MAX_COLUMNS, MAX_LINE, Sheet, Source

MEMORY = "1GB"
THREADS = min(4, os.cpu_count() or 1)  # each takes some 30 MB to read with
BATCH = 20_000  # rows
MAX_VALUES = 20_000_000  # in a Parquet file
MAX_TEXT = 512 << 20  # bytes in one column of it
T = TypeVar("T")


def ask(
    sheet: Sheet,
    wanted: Mapping[str, int],
    sql: str,
    params: dict | None = None,
    tables: Mapping[str, pd.DataFrame] | None = None,
) -> pd.DataFrame:
    """The answer to a query over the table `rows`, whose columns are the wanted ones as text.

    wanted: alias -> position in the sheet. Cells are trimmed; empty ones are null. params are
    bound, never pasted; aliases are ours and go in as they are. tables: small frames to join.
    """
    return _ask(sheet, wanted, sql, params, tables, lambda found: found.df())


def in_batches(
    sheet: Sheet,
    wanted: Mapping[str, int],
    sql: str,
    tables: Mapping[str, pd.DataFrame],
    make: Callable[[pa.RecordBatch], T],
) -> list[T]:
    """What `make` makes of the answer to such a query, some thousand rows at a time: for answers
    as long as the file itself."""

    def take(found: duckdb.DuckDBPyRelation) -> list[T]:
        return [make(batch) for batch in found.to_arrow_reader(BATCH)]

    return _ask(sheet, wanted, sql, None, tables, take)


def _ask(
    sheet: Sheet,
    wanted: Mapping[str, int],
    sql: str,
    params: dict | None,
    tables: Mapping[str, pd.DataFrame] | None,
    take: Callable[[duckdb.DuckDBPyRelation], T],
) -> T:
    cells = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(sheet.width))
    columns = ", ".join(
        f"""nullif(trim(c{place}), '') as "{alias}\"""" for alias, place in wanted.items()
    )
    with _database(sheet.source.path) as (database, path):
        for name, frame in (tables or {}).items():
            database.register(name, frame)

        def answer(short_rows: bool) -> T:
            rows = f"""(select {columns} from read_csv({_quoted(path)}, auto_detect=false,
                header=true, delim={_quoted(sheet.delimiter)}, quote='"', escape='"',
                columns={{{cells}}}, null_padding={short_rows}, max_line_size={MAX_LINE}))"""
            return take(
                database.sql(f"with rows as not materialized {rows} {sql}", params=params or {})
            )

        try:
            try:
                return answer(short_rows=True)  # rows of averages are often cut short
            except duckdb.Error as error:
                # DuckDB reads cells that span lines only where rows are whole.
                if "quoted new lines" not in str(error):
                    raise
                return answer(short_rows=False)
        except duckdb.Error as error:
            raise _refused(error, sheet.source) from None


def parquet_columns(source: Source) -> tuple[str, ...]:
    """The columns of a Parquet file."""
    with _database(source.path) as (database, path):
        found = _run(database, f"describe select * from {_parquet(path)}", source)
    if len(found) > MAX_COLUMNS:
        raise ImportRefused(
            f"{source.name} has {len(found):,} columns; up to {MAX_COLUMNS:,} can be imported."
        )
    return tuple(found["column_name"])


def parquet(source: Source, columns: Sequence[str], limit: int, longest: int) -> Iterator[dict]:
    """Rows of a Parquet file as records; texts, numbers, lists of them, and groups of numbers.

    Refused where there are more than `limit` rows, or a text has more than `longest` bytes: well
    packed, gigabytes fit into a small file, so sizes are asked for before cells are.
    """
    with _database(source.path) as (database, path):
        _check_sizes(database, path, source, columns, limit, longest)
        try:
            cursor = database.execute(f"select {_listed(columns)} from {_parquet(path)}")
            while rows := cursor.fetchmany(2_000):
                yield from (dict(zip(columns, row, strict=True)) for row in rows)
        except duckdb.Error as error:
            raise _refused(error, source) from None


def _check_sizes(
    database: duckdb.DuckDBPyConnection, path: str, source: Source, columns: Sequence[str],
    limit: int, longest: int,
) -> None:  # fmt: skip
    table, meta = _parquet(path), f"parquet_metadata({_quoted(path)})"
    values = _run(database, f"select sum(num_values) from {meta}", source).iloc[0, 0]
    rows = _run(database, f"select count(*) from {table}", source).iloc[0, 0]
    if rows > limit:
        raise ImportRefused(f"{source.name} has {rows:,} rows; up to {limit:,} can be imported.")
    if values > MAX_VALUES:
        raise ImportRefused(f"{source.name} holds more than {MAX_VALUES:,} values.")
    described = _run(database, f"describe select {_listed(columns)} from {table}", source)
    for column, kind in zip(columns, described["column_type"], strict=True):
        lengths = _lengths(column, kind, source)
        if lengths is None:
            continue
        one, every = (f"coalesce({of}(coalesce(list_{of}(l), 0)), 0)" for of in ("max", "sum"))
        sizes = _run(
            database, f"select {one}, {every} from (select {lengths} as l from {table})", source
        )
        cell, whole = (int(size) for size in sizes.iloc[0])
        if cell > longest:
            raise ImportRefused(
                f"{source.name} has a cell of {cell:,} bytes; up to {longest:,} can be imported."
            )
        if whole > MAX_TEXT:
            raise ImportRefused(
                f"{source.name} would unpack to {whole / 1e6:,.0f} MB of text; up to "
                f"{MAX_TEXT / 1e6:,.0f} MB can be imported."
            )


def _lengths(column: str, kind: str, source: Source) -> str | None:
    """SQL: how long a cell's texts are, as a list, without unpacking what is packed; None for
    numbers."""
    if kind == "VARCHAR":
        return f"[strlen({_listed([column])})]"
    if kind == "VARCHAR[]":
        return f"list_transform({_listed([column])}, lambda x: strlen(x))"
    if "VARCHAR" in kind or "BLOB" in kind:
        raise ImportRefused(f"{source.name}: {column} is in a form that is not read ({kind[:60]}).")
    return None


def _listed(columns: Sequence[str]) -> str:
    return ", ".join('"' + column.replace('"', '""') + '"' for column in columns)


@contextmanager
def _database(path: Path) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """An in-memory database and the file under a name without wildcards or quotes."""
    with tempfile.TemporaryDirectory(prefix="pluriscope-read-") as folder:
        alias = Path(folder) / "table"
        alias.symlink_to(path)
        database = duckdb.connect(
            ":memory:",
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "python_enable_replacements": "false",
                "memory_limit": MEMORY,
                "threads": str(THREADS),
                "temp_directory": folder,
            },
        )
        try:
            database.execute(f"set allowed_paths = [{_quoted(str(alias))}]")
            database.execute("set enable_external_access = false")
            database.execute("set lock_configuration = true")
            yield database, str(alias)
        finally:
            database.close()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _parquet(path: str) -> str:
    return f"read_parquet({_quoted(path)})"


def _run(database: duckdb.DuckDBPyConnection, sql: str, source: Source) -> pd.DataFrame:
    try:
        return database.execute(sql).df()
    except duckdb.Error as error:
        raise _refused(error, source) from None


def _refused(error: duckdb.Error, source: Source) -> ImportRefused:
    """DuckDB's error as a sentence, without the line itself: it may be somebody's answers."""
    message = str(error)
    if isinstance(error, duckdb.OutOfMemoryException):
        return ImportRefused(f"{source.name} needs more than {MEMORY} of memory to read.")
    line = re.search(r"CSV Error on Line: (\d+)", message)
    if not line:
        return ImportRefused(f"{source.name} cannot be read as a table. {message.splitlines()[0]}")
    cells = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", message)
    if cells:
        what = f"has {int(cells[2]):,} cells where the header has {int(cells[1]):,}"
    elif "quote" in message or "Maximum line size" in message:
        what = "has a quotation mark that never closes, or stands inside a text"
    else:
        what = "cannot be read"
    return ImportRefused(f"{source.name} cannot be read as a table: line {line[1]} {what}.")
