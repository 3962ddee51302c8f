"""What a tuning has the model's process do, and what that reports: see core/jobs/messages.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from core.inference.label_rules import LABEL
from core.models.spec import ModelSpec
from core.tuning.culturespa.writing import WriteRequest
from core.tuning.settings import Lora

# -- commands --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Write:
    """Write a reply to each request. Reports Written of each as it is finished."""

    model: ModelSpec
    requests: tuple[WriteRequest, ...]
    temperature: float
    top_p: float
    max_new_tokens: int


@dataclass(frozen=True)
class Judge:
    """Tell which written questions are kept; from a file to a file, for they may be many."""

    file_in: Path
    file_out: Path


@dataclass(frozen=True)
class Train:
    """Train one adapter. Reports Stepped at each step and AdapterTrained at the end.

    iso3: of an adapter for one country alone, whose `folder` lies in the whole's; "" otherwise.
    """

    model: ModelSpec
    examples: Path
    lora: Lora
    seed: int
    folder: Path
    title: str = ""
    iso3: str = ""
    label_rule: str = LABEL


@dataclass(frozen=True)
class MeasureAbilities:
    """Test what an adapter, or one for each country, cost elsewhere. Reports AbilitiesMeasured."""

    model: ModelSpec
    adapter: Path
    tasks: tuple[str, ...] = ()


# -- events ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Written:
    """The text of one request, by its place."""

    index: int
    text: str


class Step(NamedTuple):
    """One optimizer step. loss: mean over the batch, before the step. rate: of learning.

    tokens_per_second: of the batch as written, shared beginnings counted each time. memory_bytes:
    most the card has held, or what the process holds. grad_norm: before clipping.
    """

    step: int
    steps: int
    loss: float
    rate: float
    tokens_per_second: float
    memory_bytes: int
    grad_norm: float


@dataclass(frozen=True)
class Stepped:
    """A step of training was made."""

    step: Step


@dataclass(frozen=True)
class AdapterTrained:
    """An adapter was written; facts["complete"] tells whether to the last step."""

    sha256: str
    facts: dict


@dataclass(frozen=True)
class AbilitiesMeasured:
    """record: as abilities/guard.py makes it."""

    record: dict
