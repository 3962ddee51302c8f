"""Open a file somebody gave us: is it a table, is it safe to read, and how is it written?

Nothing is trusted: sizes, encodings, zips, columns and cells have limits, and each refusal is a
sentence for the person who chose the file. Whatever the original is, what is handed on is one
UTF-8 text file or one Parquet file.
"""

from __future__ import annotations

import codecs
import csv
import os
import re
import shutil
import stat
import statistics
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from core import wording
from core.errors import ImportRefused
from core.importers import arrow
from core.sanitize import clean_text

MAX_BYTES = 4 << 30  # unpacked; the official wave 7 file has about 250 MB
MAX_COLUMNS = 5_000  # the official wave 7 file has 606
MAX_LINE = 2_000_000  # bytes
MAX_CELL = 131_072  # characters; Python's csv reader stops there too
MAX_FOOTER = 16 << 20  # bytes in which a Parquet file describes itself
MAX_SEEN = 20_000  # files in a folder
MAX_ENTRIES = 2_000  # files in a zip
# A survey as text packs 10 to 30 times smaller; a bomb a thousand times.
MAX_RATIO = 200
SMALL = 10 << 20  # below this the ratio does not matter

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}

_NOT_TABLES = (
    (b"$FL2", "an SPSS file (.sav)"),
    (b"$FL3", "an SPSS file (.zsav)"),
    (b"<stata_dta>", "a Stata file (.dta)"),
    (b"\x1f\x8b", "a compressed file, perhaps R data (.rds, .RData)"),
    (b"RDX", "R data (.RData)"),
    (b"%PDF", "a PDF document"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file"),
    (b"SQLite format 3", "a database"),
)


@dataclass(frozen=True)
class Source:
    """A file made ready to read: UTF-8 text, or Parquet.

    path: where the readable copy (or the original) lies. name: what its owner calls it. encoding:
    how the original was written, in words. notes: what was done to it.
    """

    path: Path
    name: str
    format: str  # "text" or "parquet"
    encoding: str
    notes: tuple[str, ...] = ()


Given = str | Path | Source


@dataclass(frozen=True)
class Sheet:
    """A table on disk: its columns by the names in its header, and how to read them.

    columns: header names, "" for a nameless one. width: cells per row that a reader must expect
    (a trailing delimiter makes one more than the header has).
    """

    source: Source
    columns: tuple[str, ...]
    width: int
    delimiter: str
    notes: tuple[str, ...] = ()


def place(path: str | Path) -> Path:
    """Where a path that somebody typed points; raises ImportRefused where there is nothing."""
    try:
        found = Path(path).expanduser()
        found.stat()
    except (OSError, RuntimeError, ValueError):
        raise ImportRefused(f"There is no file {clean_text(str(path), 300)}.") from None
    return found


def regular(path: str | Path) -> Path:
    """An ordinary, readable, non-empty file; raises ImportRefused."""
    given = place(path)
    found = given.resolve()
    facts = found.stat()
    if found.is_dir():
        raise ImportRefused(f"{given} is a folder. Choose the file in it.")
    if not stat.S_ISREG(facts.st_mode):
        raise ImportRefused(f"{given} is not an ordinary file.")
    if facts.st_size == 0:
        raise ImportRefused(f"{given.name} is empty.")
    if facts.st_size > MAX_BYTES:
        raise ImportRefused(
            f"{given.name} has {wording.size(facts.st_size)}; files up to "
            f"{wording.size(MAX_BYTES)} can be imported."
        )
    try:
        with open(found, "rb"):
            pass
    except OSError as error:
        raise ImportRefused(f"{given.name} cannot be read: {error.strerror}.") from None
    return found


@contextmanager
def opened(path: Given) -> Iterator[Source]:
    """A table's file ready to read; temporary copies are gone afterwards.

    One that is ready already stays so: whoever asks an importer several things of a large file
    opens it once and hands on the Source.
    """
    if isinstance(path, Source):
        yield path
        return
    found = regular(path)
    with tempfile.TemporaryDirectory(prefix="pluriscope-import-") as folder:
        name, notes = clean_text(Path(path).name, 80), []
        if _start(found).startswith(b"PK\x03\x04"):
            found, inner = _only_table(found, Path(folder))
            notes.append(f"Read {inner} from {name}.")
            name = inner
        start = _start(found)
        if start.startswith(b"PAR1"):
            _check_footer(found, name)
            yield Source(found, name, "parquet", "Parquet", tuple(notes))
            return
        if start.startswith((arrow.STREAM, arrow.FILE)):
            ready = Path(folder) / "table.parquet"
            arrow.to_parquet(found, name, ready)
            yield Source(ready, name, "parquet", "Arrow", tuple(notes))
            return
        for magic, what in _NOT_TABLES:
            if start.startswith(magic):
                raise ImportRefused(f"{name} is {what}. Save it as CSV (UTF-8) and import that.")
        text = start.lstrip(codecs.BOM_UTF8).lstrip()[:200].lower()
        if text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<script")):
            raise ImportRefused(
                f"{name} is a web page, not a table. Download the data file itself and import that."
            )
        ready, encoding, more = _as_utf8(found, name, Path(folder))
        yield Source(ready, name, "text", encoding, (*notes, *more))


def _check_footer(path: Path, name: str) -> None:
    """A Parquet file ends with what it says of itself; that of a million columns is huge."""
    with open(path, "rb") as file:
        file.seek(0, 2)
        if file.tell() < 12:
            raise ImportRefused(f"{name} is damaged: it ends too soon.")
        file.seek(-8, 2)
        size, magic = struct.unpack("<I4s", file.read(8))
    if magic != b"PAR1":
        raise ImportRefused(f"{name} is damaged: it ends too soon.")
    if size > MAX_FOOTER:
        raise ImportRefused(
            f"{name} has far too many columns or parts; up to {MAX_COLUMNS:,} columns can be "
            "imported."
        )


def sheet(source: Source) -> Sheet:
    """The header and the delimiter of a text table; raises ImportRefused."""
    if source.format != "text":
        raise ImportRefused(f"{source.name} is {source.encoding}; give the CSV of the survey.")
    with open(source.path, encoding="utf-8-sig", newline="") as file:
        head = [line for line in (file.readline(MAX_LINE) for _ in range(60)) if line.strip()]
    if len(head) < 2:
        raise ImportRefused(f"{source.name} has no rows below its header.")
    best: tuple[float, str, list[list[str]]] = (0, "", [])
    wrong = ""
    for delimiter in DELIMITERS:
        try:
            rows = list(csv.reader(head, delimiter=delimiter))
        except csv.Error as error:  # a cell without end, most likely
            wrong = str(error)
            continue
        # Rows hold mostly numbers, so stray commas in labels of the header do not mislead.
        cells = statistics.median(len(row) for row in rows[1:] or rows)
        if cells > best[0]:
            best = (cells, delimiter, rows)
    cells, delimiter, rows = best
    if cells < 2 and wrong:
        raise ImportRefused(f"{source.name} cannot be read as a table: {wrong}.")
    if cells < 2:
        raise ImportRefused(
            f"{source.name} is not a table: its lines have no commas, semicolons or tabs."
        )
    header, body = rows[0], rows[1:]
    notes = []
    if len(header) > MAX_COLUMNS:
        raise ImportRefused(
            f"{source.name} has {len(header):,} columns; up to {MAX_COLUMNS:,} can be imported."
        )
    longer = [row for row in body if len(row) > len(header)]
    if longer and all(len(row) == len(header) + 1 and not row[-1].strip() for row in longer):
        notes.append("Rows end in a delimiter; the empty last column is left out.")
        width = len(header) + 1
    elif longer and len(longer) == len(body) and all(_counts(row, header) for row in longer):
        notes.append("Rows begin with a row number that has no name in the header.")
        header, width = ["", *header], len(header) + 1
    elif longer:
        raise ImportRefused(
            f"{source.name}: a row has {max(map(len, longer)):,} cells where the header has "
            f"{len(header):,}. Save it again with the texts in quotes."
        )
    else:
        width = len(header)
    columns = [" ".join(name.split()) for name in header]
    if columns[-1] == "":
        notes.append("The header ends in a delimiter; the empty last column is left out.")
    if columns[0] == "":
        notes.append("The first column has no name (a row number) and is left out.")
    return Sheet(source, tuple(columns), width, delimiter, tuple(notes))


def _counts(row: list[str], header: list[str]) -> bool:
    return len(row) == len(header) + 1 and row[0].strip().isdigit()


# -- zips ------------------------------------------------------------------------------------------


def _start(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(512)


def _entries(archive: zipfile.ZipFile, name: str) -> list[zipfile.ZipInfo]:
    """The files of a zip, checked before anything is unpacked."""
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise ImportRefused(f"{name} holds {len(entries):,} files; that is no survey.")
    for entry in entries:
        parts = PurePosixPath(entry.orig_filename.replace("\\", "/"))
        drive = re.match(r"[A-Za-z]:", entry.orig_filename)
        if parts.is_absolute() or ".." in parts.parts or drive or "\0" in entry.orig_filename:
            raise ImportRefused(
                f"{name} holds a file whose name points outside the zip. It is not opened."
            )
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise ImportRefused(f"{name} holds a link to another file. It is not opened.")
        if entry.flag_bits & 1:
            raise ImportRefused(f"{name} is protected by a password. Unpack it first.")
    unpacked = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if unpacked > MAX_BYTES or (unpacked > SMALL and unpacked > MAX_RATIO * max(packed, 1)):
        raise ImportRefused(
            f"{name} would unpack to {wording.size(unpacked)} from {wording.size(packed)}. That is "
            "no survey; it is not unpacked."
        )
    return [e for e in entries if not e.is_dir() and not _hidden(e.filename)]


def _hidden(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or any(part.startswith(".") for part in parts)


def is_zip_of(path: Path, suffix: str) -> bool:
    """True for a zip that holds a file of that kind; False for anything else."""
    if not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.lower().endswith(suffix) for name in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, to: Path, name: str) -> None:
    """Copy one entry out, no further than it said it would go."""
    written = 0
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as inside, open(to, "wb") as out:
            while chunk := inside.read(1 << 20):
                written += len(chunk)
                if written > entry.file_size or written > MAX_BYTES:
                    raise ImportRefused(f"{name} holds more than it says. It is not unpacked.")
                out.write(chunk)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ImportRefused(f"{name} is damaged ({error}). Download it again.") from None
    except OSError as error:
        raise ImportRefused(f"{name} could not be unpacked: {error.strerror}.") from None


def _archive(path: Path, name: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise ImportRefused(f"{name} is damaged ({error}). Download it again.") from None


def _only_table(path: Path, folder: Path) -> tuple[Path, str]:
    with _archive(path, path.name) as archive:
        entries = _entries(archive, path.name)
        names = {entry.filename for entry in entries}
        if "[Content_Types].xml" in names:
            raise ImportRefused(
                f"{path.name} is an Office file. Save the sheet as CSV (UTF-8) and import that."
            )
        tables = [e for e in entries if e.filename.lower().endswith((".csv", ".txt", ".tsv"))]
        tables = [e for e in tables if e.filename.lower().endswith(".csv")] or tables
        if not tables:
            raise ImportRefused(f"{path.name} holds no CSV file.")
        if len(tables) > 1:
            some = ", ".join(PurePosixPath(e.filename).name for e in tables[:5])
            raise ImportRefused(
                f"{path.name} holds {len(tables)} tables ({some}). Unpack it and choose one."
            )
        to = folder / "table.csv"
        _unpack(archive, tables[0], to, path.name)
        if _start(to).startswith(b"PK\x03\x04"):
            raise ImportRefused(f"{path.name} holds a zip inside a zip. Unpack it first.")
        if to.stat().st_size == 0:
            raise ImportRefused(f"The table in {path.name} is empty.")
        return to, PurePosixPath(tables[0].filename).name


@contextmanager
def folder_of(path: str | Path, suffix: str) -> Iterator[Path]:
    """A folder, or the files of one kind in a zip unpacked to a folder for the while."""
    given = place(path)
    if given.is_dir():
        yield given.resolve()
        return
    found = regular(given)
    if not _start(found).startswith(b"PK\x03\x04"):
        raise ImportRefused(f"{found.name} is neither a folder nor a zip of one.")
    with tempfile.TemporaryDirectory(prefix="pluriscope-import-") as folder:
        with _archive(found, found.name) as archive:
            for entry in _entries(archive, found.name):
                if entry.filename.lower().endswith(suffix):
                    to = Path(folder).joinpath(*PurePosixPath(entry.filename).parts)
                    _unpack(archive, entry, to, found.name)
        yield Path(folder)


def inside(folder: Path, *suffixes: str) -> list[Path]:
    """Files of some kinds in a folder and those in it, sorted.

    Links are not followed, but for those of Hugging Face's cache: its snapshots hold links to the
    files themselves, which lie in a folder "blobs" beside. Raises ImportRefused where the folder
    holds more than anybody would give: a whole disk.
    """
    found, seen, blobs = [], 0, _blobs(folder)
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        seen += len(folders) + len(names)
        if seen > MAX_SEEN:
            raise ImportRefused(
                f"{folder} holds more than {MAX_SEEN:,} files. Choose the folder of the data."
            )
        paths = (Path(here, name) for name in names if name.lower().endswith(suffixes))
        found += [
            path
            for path in paths
            if path.is_file() and (not path.is_symlink() or path.resolve().parent == blobs)
        ]
    return sorted(found)


def _blobs(folder: Path) -> Path | None:
    """Where Hugging Face's cache keeps the files of the data set that a folder is, or lies in."""
    folder = folder.resolve()
    kept = next((p for p in (folder, *folder.parents) if p.name.startswith("datasets--")), None)
    return kept / "blobs" if kept else None


# -- encodings -------------------------------------------------------------------------------------

_CHUNK = 1 << 20


def _as_utf8(path: Path, name: str, folder: Path) -> tuple[Path, str, list[str]]:
    """The file as UTF-8, copied only where it is written otherwise."""
    start = _start(path)
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise ImportRefused(f"{name} is written in UTF-32. Save it as UTF-8.")
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _transcoded(path, name, folder, "utf-16"), "UTF-16", []
    problem = _scan(path)
    if problem == "nul":
        raise ImportRefused(
            f"{name} holds NUL bytes, so it is not plain text. Save it as CSV (UTF-8)."
        )
    if problem == "line":
        raise ImportRefused(
            f"{name} has a line or a cell of more than {MAX_LINE:,} bytes. That is no survey table."
        )
    if problem == "":
        marked = start.startswith(codecs.BOM_UTF8)
        return path, "UTF-8 with a byte order mark" if marked else "UTF-8", []
    ready = _transcoded(path, name, folder, "cp1252")
    note = "The file is not UTF-8; it was read as Windows-1252 (Western European)."
    return ready, "Windows-1252", [note]


def _scan(path: Path) -> str:
    """ "" for clean UTF-8 text, or what is wrong with it: "nul", "line", "encoding"."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    wrong, since_newline = "", 0
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            if b"\0" in chunk:
                return "nul"
            last = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
            if last < 0:
                since_newline += len(chunk)
            else:
                first = re.search(rb"[\r\n]", chunk).start()
                if since_newline + first > MAX_LINE:
                    return "line"
                since_newline = len(chunk) - last - 1
            if since_newline > MAX_LINE:
                return "line"
            if not wrong:
                try:
                    decoder.decode(chunk)
                except UnicodeDecodeError:
                    wrong = "encoding"
    if not wrong:
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            wrong = "encoding"
    return wrong


def _transcoded(path: Path, name: str, folder: Path, encoding: str) -> Path:
    to = folder / "utf8.csv"
    errors = "replace" if encoding == "cp1252" else "strict"
    try:
        with (
            open(path, encoding=encoding, errors=errors, newline="") as old,
            open(to, "w", encoding="utf-8", newline="") as new,
        ):
            shutil.copyfileobj(old, new, _CHUNK)
    except UnicodeError:
        raise ImportRefused(f"{name} is damaged: its text cannot be decoded.") from None
    problem = _scan(to)
    if problem:
        raise ImportRefused(f"{name} is not a text table. Save it as CSV (UTF-8).")
    return to
