"""Ask questions of a table on disk without loading it: DuckDB reads only the columns it needs.

The database is in memory, gone after each question, and may open that one file and nothing else.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pandas as pd

from core.errors import ImportRefused
from core.importers.files import MAX_COLUMNS, MAX_LINE, Sheet, Source

MEMORY = "1GB"


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
    cells = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(sheet.width))
    columns = ", ".join(
        f"""nullif(trim(c{place}), '') as "{alias}\"""" for alias, place in wanted.items()
    )
    with _database(sheet.source.path) as (database, path):
        for name, frame in (tables or {}).items():
            database.register(name, frame)

        def answer(short_rows: bool) -> pd.DataFrame:
            rows = f"""(select {columns} from read_csv({_quoted(path)}, auto_detect=false,
                header=true, delim={_quoted(sheet.delimiter)}, quote='"', escape='"',
                columns={{{cells}}}, null_padding={short_rows}, max_line_size={MAX_LINE}))"""
            return database.execute(
                f"with rows as not materialized {rows} {sql}", params or {}
            ).df()

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


def parquet_columns(source: Source) -> list[tuple[str, str]]:
    """(name, type) of the columns of a Parquet file."""
    with _database(source.path) as (database, path):
        found = _run(database, f"describe select * from {_parquet(path)}", None, source)
    if len(found) > MAX_COLUMNS:
        raise ImportRefused(
            f"{source.name} has {len(found):,} columns; up to {MAX_COLUMNS:,} can be imported."
        )
    return list(zip(found["column_name"], found["column_type"], strict=True))


def parquet(source: Source, columns: list[str], limit: int) -> list[dict]:
    """Rows of a Parquet file as records; refused where there are more than `limit`."""
    named = ", ".join('"' + column.replace('"', '""') + '"' for column in columns)
    with _database(source.path) as (database, path):
        table = _parquet(path)
        rows = int(_run(database, f"select count(*) as n from {table}", None, source)["n"][0])
        if rows > limit:
            raise ImportRefused(
                f"{source.name} has {rows:,} rows; up to {limit:,} can be imported."
            )
        try:
            cursor = database.execute(f"select {named} from {table}")
            return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
        except duckdb.Error as error:
            raise _refused(error, source) from None


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


def _run(
    database: duckdb.DuckDBPyConnection, sql: str, params: dict | None, source: Source
) -> pd.DataFrame:
    try:
        return database.execute(sql, params or {}).df()
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
