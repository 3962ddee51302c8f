"""Which model is meant: source, name, precision, adapter, as a run freezes it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass
from pathlib import Path

from core.errors import ModelError
from core.home import DATA
from core.options import option

MODELS = DATA / "models"
BUILTIN = MODELS / "builtin"
BUILTIN_NAME = "Built-in model"
TEACHING = "A small teaching model. Its answers are no evidence about language models."
PRECISIONS: dict[str, str] = {
    "nf4": "4-bit (NF4)",
    "int8": "8-bit",
    "bf16": "16-bit (bf16)",
    "fp32": "32-bit",
}


GIB = 1024**3
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class ModelSpec:
    """Which model to load and how.

    source: "builtin", a folder, or a Hugging Face id ("owner/name"). revision: branch, tag or
    commit of a hub model. precision: "auto", "nf4", "int8", "bf16" or "fp32". adapter: folder of a
    LoRA adapter to put on top. trust_remote_code: run Python that comes with the model; only with
    the user's consent for this very model.
    """

    source: str = option(MISSING, "builtin, a folder, or a hub id", flag="model")
    revision: str | None = option(None, "commit or tag of a hub model")
    precision: str = option("auto", "auto, nf4, int8, bf16 or fp32")
    adapter: str | None = option(None, "folder of a LoRA adapter")
    trust_remote_code: bool = option(False, "let this model run the code it brings; off by default")

    def __post_init__(self) -> None:
        if self.precision not in ("auto", *PRECISIONS):
            raise ModelError(
                f"Unknown precision {self.precision!r}: auto, {', '.join(PRECISIONS)}."
            )

    def to_json(self) -> dict:
        return asdict(self)

    @staticmethod
    def from_json(record: Mapping) -> ModelSpec:
        return ModelSpec(**{k: record[k] for k in ModelSpec.__dataclass_fields__ if k in record})


def typed_path(path: str) -> Path:
    """A path as somebody gave it, ~ being the home folder.

    The ~ of a user who is not there is left as it is; Path.expanduser would raise.
    """
    return Path(os.path.expanduser(path))


def resolve_precision(spec: ModelSpec) -> str:
    """What "auto" means: 4-bit NF4, and full precision for the built-in model, which is tiny."""
    if spec.precision != "auto":
        return spec.precision
    return "fp32" if spec.source == "builtin" else "nf4"


def precision_words(precision: str) -> str:
    """A precision that a model is held in, for people."""
    return {**PRECISIONS, "fp16": "16-bit (fp16)"}.get(precision, precision)
