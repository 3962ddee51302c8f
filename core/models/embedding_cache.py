"""Questions as vectors of what they mean: which model makes them, and those made before.

The vectors are made where models are loaded (core/models/embedding.py) and kept as files; whoever
only reads them needs no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.errors import ModelError, PluriscopeError
from core.models import catalogue
from core.models.spec import ModelSpec
from core.whole_files import whole_file

HOW = (
    "Give the folder of an embedding model, or the Hugging Face id of one in the cache on this "
    "machine, such as intfloat/multilingual-e5-small. Or have the examples chosen in another way."
)


def spec_of(embedder: str) -> ModelSpec:
    """An embedding model by what a user writes: a folder, owner/name, or owner/name@revision."""
    source, _, revision = embedder.partition("@")
    return ModelSpec(source.strip(), revision.strip() or None)


def folder_of(embedder: str | None) -> Path:
    """Where an embedding model lies. Raises PluriscopeError where it is not on this machine or
    cannot be loaded; nothing is downloaded."""
    if not (embedder or "").strip():
        raise PluriscopeError(f"Choosing examples by meaning takes an embedding model. {HOW}")
    try:
        folder = catalogue.find(spec_of(embedder))
    except ModelError as error:
        raise PluriscopeError(f"{error} {HOW}") from None
    if folder is None:
        raise PluriscopeError(f"{embedder} is not on this machine, and is not downloaded. {HOW}")
    return folder


# Why: docs/decisions.md, "Meaning is kept as a file."
def kept(home: Path, revision: str | None, texts: Sequence[str]) -> np.ndarray | None:
    """float32[N, D] made before by this very model for these very texts, or None."""
    path = _path(home, revision or "", texts)
    try:
        vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError):
        return None
    return vectors if vectors.ndim == 2 and len(vectors) == len(texts) else None


def keep(home: Path, revision: str, texts: Sequence[str], vectors: np.ndarray) -> None:
    path = _path(home, revision, texts)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as stream:
        np.save(stream, vectors.astype(np.float32), allow_pickle=False)


def _path(home: Path, revision: str, texts: Sequence[str]) -> Path:
    key = json.dumps([revision, *texts], ensure_ascii=False).encode()
    return home / "embeddings" / f"{hashlib.sha256(key).hexdigest()[:32]}.npy"
