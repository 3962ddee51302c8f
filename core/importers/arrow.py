"""Arrow files, as the library `datasets` keeps its data sets, made into Parquet.

What arrives may be made to do harm, so only plain columns are taken: texts, numbers, and lists and
groups of them, uncompressed (as `datasets` writes them), so that nothing grows when it is read.
"""

from __future__ import annotations

import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from core import wording
from core.errors import ImportRefused

MAX_BYTES = 1 << 30
MAX_ROWS = 1_000_000
MAX_DEPTH = 3  # lists of groups of texts
STREAM, FILE = b"\xff\xff\xff\xff", b"ARROW1"  # how the two kinds of file begin


def to_parquet(path: Path, name: str, to: Path) -> None:
    """Write the plain columns of an Arrow file as Parquet; raises ImportRefused."""
    if path.stat().st_size > MAX_BYTES:
        raise ImportRefused(
            f"{name} has {wording.size(path.stat().st_size)}; Arrow files up to "
            f"{wording.size(MAX_BYTES)} can be imported."
        )
    try:
        _check_messages(path, name)
        with _stream(path) as file, pa.ipc.open_stream(file) as batches:
            plain = [i for i, field in enumerate(batches.schema) if _is_plain(field.type)]
            if not plain:
                raise ImportRefused(f"{name} has no column of texts or numbers.")
            schema = pa.schema([batches.schema.field(i).remove_metadata() for i in plain])
            rows = 0
            with pq.ParquetWriter(to, schema) as writer:
                for batch in batches:
                    rows += batch.num_rows
                    if rows > MAX_ROWS:
                        raise ImportRefused(f"{name} has more than {MAX_ROWS:,} rows.")
                    chosen = pa.record_batch([batch.column(i) for i in plain], schema=schema)
                    chosen.validate(full=True)
                    writer.write_batch(chosen)
    except (pa.ArrowException, ValueError, struct.error, OSError, OverflowError) as error:
        what = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ImportRefused(f"{name} is damaged ({what}). Download it again.") from None


def _stream(path: Path) -> pa.MemoryMappedFile:
    """The file at the place where its stream of messages begins."""
    file = pa.memory_map(str(path))
    if file.read(len(FILE)) == FILE:
        file.seek(8)  # a name of eight bytes, then the same stream
    else:
        file.seek(0)
    return file


def _check_messages(path: Path, name: str) -> None:
    with _stream(path) as file:
        for message in pa.ipc.MessageReader.open_stream(file):
            if message.type == "record batch" and _is_compressed(message.metadata.to_pybytes()):
                raise ImportRefused(
                    f"{name} is compressed Arrow, which is not read. Keep it with to_parquet."
                )
            if message.type not in ("schema", "record batch"):
                raise ImportRefused(
                    f"{name} keeps its texts in a dictionary, which is not read. Keep it with "
                    "to_parquet."
                )


def _is_compressed(metadata: bytes) -> bool:
    """Does a message say how its batch is compressed?

    A message is a flatbuffer table whose third field is the batch, whose fourth is the compression
    (format/Message.fbs of Apache Arrow). Only whether that field is there is looked up.
    """
    message = struct.unpack_from("<I", metadata, 0)[0]
    header = message + _field(metadata, message, 2)
    batch = header + struct.unpack_from("<I", metadata, header)[0]
    return _field(metadata, batch, 3) != 0


def _field(metadata: bytes, table: int, number: int) -> int:
    """How far behind the table's beginning a field of it lies; 0 where it is not there."""
    fields = table - struct.unpack_from("<i", metadata, table)[0]
    place = 4 + 2 * number
    if place >= struct.unpack_from("<H", metadata, fields)[0]:
        return 0
    return struct.unpack_from("<H", metadata, fields + place)[0]


def _is_plain(kind: pa.DataType, depth: int = 0) -> bool:
    if depth > MAX_DEPTH:
        return False
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_plain(kind.value_type, depth + 1)
    if pa.types.is_struct(kind):
        return kind.num_fields > 0 and all(_is_plain(field.type, depth + 1) for field in kind)
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
    )
