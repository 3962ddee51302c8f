"""Merge an adapter into its model's weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

from core import wording
from core.errors import ModelError
from core.models import adapters, catalogue, memory_fit
from core.models import files as models_files
from core.models.adapter_exchange import plain, public_name
from core.models.load import Loaded, Phase, give_back, load, memory_in_words
from core.models.spec import ModelSpec
from core.tuning.training_files import disk_in_words, json_bytes
from core.whole_files import write_whole


# Why: docs/decisions.md, "Merging happens in the precision of the stored weights."
def merge(spec: ModelSpec, folder: Path, *, on_phase: Phase | None = None) -> None:
    """Save a model with its adapter merged into its weights, as a model folder of its own.

    In the precision its weights are stored in, whatever spec says and this machine computes in:
    merging into 4-bit loses what was learned. peft adds in 32 bits and rounds once. The folder
    appears only once it is complete. Raises ModelError where nothing can be merged.
    """
    say = on_phase or (lambda phase: None)
    _check_mergeable(spec)
    loaded = load(spec, as_stored=True, on_phase=on_phase)
    unfinished = folder.with_name(f".{folder.name}.part")
    try:
        with memory_in_words(loaded.name), disk_in_words(folder, MERGE_AGAIN):
            say("Merging")
            model = loaded.model.merge_and_unload()
            say("Saving")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            model.save_pretrained(unfinished)
            loaded.tokenizer.save_pretrained(unfinished)
            write_whole(unfinished / "README.md", _merged_card(spec, loaded))
            taught = catalogue.is_teaching(spec)
            record = {"merged_sha256": loaded.adapter_sha256, "teaching": taught}
            write_whole(unfinished / adapters.ADAPTER_RECORD, json_bytes(record))
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        loaded.release()
        give_back()


MERGE_AGAIN = "Make room on the disk, then merge again."


def _check_mergeable(spec: ModelSpec) -> None:
    folder, name = catalogue.find(spec), catalogue.describe(replace(spec, adapter=None))
    if folder is None:
        raise ModelError(f"{name} is not on this machine, so nothing can be merged into it.")
    facts = models_files.weights(folder)
    if facts.quantised:
        raise ModelError(
            f"{spec.source} is stored quantised ({facts.quantised}), so nothing can be merged into "
            "it. Keep the adapter beside it."
        )
    device, free = memory_fit.free_memory()
    needed = 1.1 * facts.stored_bytes  # all of it, and what is added to the largest matrix
    if needed > free:
        where = "on the graphics card" if device == "cuda" else "in memory"
        raise ModelError(
            f"Merging into {name} needs about {wording.memory(needed)}, but only "
            f"{wording.memory(free)} are free {where}. Close other programs."
        )


def _merged_card(spec: ModelSpec, loaded: Loaded) -> str:
    name = public_name(spec.source)
    return (
        f"---\nbase_model: {json.dumps(name)}\n---\n\n"
        f"# {plain(Path(spec.adapter).name)}\n\n"
        f"{plain(name)} with the adapter {plain(Path(spec.adapter).name)} merged into its "
        f"weights by Pluriscope.\n\nBase revision: {plain(loaded.revision)}\n"
        f"SHA-256 of the adapter: {loaded.adapter_sha256}\n"
    )
