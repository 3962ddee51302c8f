"""An option is one field of a record, with the words it has on the command line beside it.

A command's flags are made from the fields, so that a new option is one field.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Sequence
from dataclasses import Field, field, fields, replace
from typing import Any, TypeVar

Record = TypeVar("Record")


def option(default: Any, help: str | None = None, *, flag: str = "", **more: Any) -> Any:
    """A field that a user can set.

    flag: where it is not called as the field is. more: type, choices and metavar as argparse takes
    them; read: what makes its value of the text given, where that may raise a PluriscopeError.
    """
    return field(default=default, metadata={"flag": flag, "help": help, **more})


def add(
    parser: argparse.ArgumentParser,
    record: type,
    names: Sequence[str] = (),
    but: Collection[str] = (),
) -> None:
    """Flags for the options of a record: those of some names, or all but some."""
    known = {one.name: one for one in fields(record) if "flag" in one.metadata}
    for name in names or known:
        if name not in but:
            _add(parser, known[name])


def _add(parser: argparse.ArgumentParser, one: Field) -> None:
    wanted = {key: one.metadata[key] for key in ("help", "type", "choices", "metavar")
              if one.metadata.get(key) is not None}  # fmt: skip
    if isinstance(one.default, bool):
        wanted |= {"action": "store_const", "const": not one.default}
    # Defaults stand in the record alone (docs/decisions.md: An option is one field).
    parser.add_argument(_flag(one), default=argparse.SUPPRESS, **wanted)


def _flag(one: Field) -> str:
    """--no-… for what is on unless it is switched off."""
    name = one.metadata["flag"] or one.name.replace("_", "-")
    return f"--no-{name}" if one.default is True else f"--{name}"


def chosen(record: Record, given: argparse.Namespace, but: Collection[str] = ()) -> Record:
    """A record with what was given on the command line."""
    values = {}
    for one in fields(record):
        key = _flag(one)[2:].replace("-", "_") if "flag" in one.metadata else ""
        if key and one.name not in but and hasattr(given, key):
            value = getattr(given, key)
            read: Callable[[Any], Any] | None = one.metadata.get("read")
            values[one.name] = read(value) if read else value
    return replace(record, **values)


def shared(record: Any, base: type) -> dict[str, Any]:
    """The values of a record that a base of it names."""
    return {one.name: getattr(record, one.name) for one in fields(base)}


def split(text: str, by: str = ",") -> list[str]:
    """Parts of a text joined by commas; none of them empty."""
    return [part.strip() for part in text.split(by) if part.strip()]


def by_bars(text: str) -> list[str]:
    """Parts joined by |, for names that have commas in them."""
    return split(text, "|")
