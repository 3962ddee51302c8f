"""Make vectors of what texts mean, with an encoder on this machine. Only safetensors are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from core.models import embedding_cache
from core.models.files import revision_of
from core.models.load import loading_in_words, quiet
from core.models.whole_weights import check_fit, check_numbers

LONGEST = 512  # tokens; questions have a few dozen
AT_ONCE = 32


def revision(embedder: str) -> str:
    """The very version of an embedding model: a hub commit, or "sha256:…" over its folder."""
    return revision_of(embedding_cache.folder_of(embedder))


def vectors(embedder: str, texts: Sequence[str], home: Path) -> np.ndarray:
    """float32[N, D] of length 1, those made before where there are any.

    The mean of the last layer over a text's tokens, as most sentence encoders are trained for. On
    the CPU: the graphics card belongs to the model that is asked.
    """
    version = revision(embedder)
    made = embedding_cache.kept(home, version, texts)
    if made is None:
        made = embed(embedding_cache.folder_of(embedder), texts)
        embedding_cache.keep(home, version, texts, made)
    return made


def embed(folder: Path, texts: Sequence[str]) -> np.ndarray:
    """float32[N, D]: see vectors()."""
    with loading_in_words(folder.name), quiet():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        check_numbers(folder, folder.name)
        model, found = AutoModel.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
        # The mean of the last layer needs no pooler, and many encoders are stored without one.
        missing = {name for name in found["missing_keys"] if not name.startswith("pooler.")}
        check_fit(model, {**found, "missing_keys": missing}, folder.name)
        model.eval()
    most = min(LONGEST, getattr(model.config, "max_position_embeddings", LONGEST))
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    made = []
    with torch.inference_mode():
        for start in range(0, len(texts), AT_ONCE):
            batch = tokenizer(
                list(texts[start : start + AT_ONCE]),
                padding=True,
                truncation=True,
                max_length=most,
                return_tensors="pt",
            )
            states = model(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
            ).last_hidden_state
            mask = batch["attention_mask"][..., None].float()
            mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
            made.append(torch.nn.functional.normalize(mean, dim=-1).numpy())
    return np.concatenate(made)
