"""Adapters as folders on the shelf: which there are, for which base and countries."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.errors import ModelError
from core.models.files import read_json
from core.models.spec import BUILTIN, BUILTIN_NAME, ModelSpec, typed_path


@dataclass(frozen=True)
class AdapterEntry:
    """A LoRA adapter on this machine, or several: one for each country.

    base is what it says it was tuned on, a hub id or a folder. countries: those that have one of
    their own; empty for one adapter for all. complete: training went to its end, as far as is
    known.
    """

    path: Path
    name: str
    base: str
    base_revision: str | None
    size_bytes: int
    countries: tuple[str, ...] = ()
    complete: bool = True

    @property
    def base_name(self) -> str:
        """The base for people: its hub id, or the name of its folder."""
        local = self.base.startswith(("/", "~", ".")) or "\\" in self.base
        name = model_name(self.base) if local else self.base
        return BUILTIN_NAME if name == BUILTIN.name else name


ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


ADAPTER_INDEX, ADAPTER_RECORD = "adapters.json", "training.json"


ISO3 = re.compile(r"[A-Z]{3}")


def adapters(home: Path) -> list[AdapterEntry]:
    """Adapters in `home`/adapters (any depth), newest first; one for each country counts once."""
    found: dict[Path, AdapterEntry] = {}
    shelf = home / "adapters"
    for config in shelf.glob(f"**/{ADAPTER_CONFIG}"):
        folder = config.parent
        one_of_several = ISO3.fullmatch(folder.name) and not is_adapter(folder.parent)
        if one_of_several and folder.parent != shelf:
            folder = folder.parent
        if folder not in found and (entry := adapter_entry(folder)):
            found[folder] = entry
    times = {path: max(_written(path)) for path in found}
    return sorted(found.values(), key=lambda entry: -times[entry.path])


def adapter_entry(folder: Path) -> AdapterEntry | None:
    """What lies in an adapter's folder, or in one with a folder for each country."""
    countries = () if is_adapter(folder) else adapter_countries(folder)
    parts = [folder / iso3 for iso3 in countries] or [folder]
    config = read_json(parts[0] / ADAPTER_CONFIG)
    if not is_adapter(parts[0]) or not config:
        return None
    record = read_json(folder / (ADAPTER_INDEX if countries else ADAPTER_RECORD))
    told = [read_json(part / ADAPTER_RECORD).get("facts") for part in parts]
    revision = config.get("revision")
    return AdapterEntry(
        path=folder,
        name=str(record.get("title") or folder.name),
        base=str(config.get("base_model_name_or_path") or ""),
        base_revision=revision if isinstance(revision, str) else None,
        size_bytes=sum((part / ADAPTER_WEIGHTS).stat().st_size for part in parts),
        countries=countries,
        complete=all(facts.get("complete", True) for facts in told if isinstance(facts, dict)),
    )


def is_adapter(folder: Path) -> bool:
    # Path.is_file would raise on a name that is too long and in a folder that may not be entered.
    return os.path.isfile(folder / ADAPTER_CONFIG) and os.path.isfile(folder / ADAPTER_WEIGHTS)


def adapter_countries(folder: Path) -> tuple[str, ...]:
    """Countries that have an adapter of their own in this folder, as codes."""
    try:
        names = os.listdir(folder)
    except (OSError, ValueError):  # ValueError: a zero byte
        return ()
    return tuple(sorted(n for n in names if ISO3.fullmatch(n) and is_adapter(folder / n)))


def by_adapter(spec: ModelSpec, whom: Sequence[str]) -> dict[ModelSpec, tuple[str, ...]]:
    """Which model answers as whom: of adapters for each country its own, else the bare model.

    whom: country codes, "" for nobody in particular. A single adapter answers for all.
    """
    folder = typed_path(spec.adapter) if spec.adapter else None
    countries = adapter_countries(folder) if folder and not is_adapter(folder) else ()
    if not countries:
        return {spec: tuple(whom)}
    found: dict[ModelSpec, tuple[str, ...]] = {}
    for iso3 in whom:
        own = replace(spec, adapter=str(folder / iso3) if iso3 in countries else None)
        found[own] = (*found.get(own, ()), iso3)
    return found


def adapters_sha256(folder: Path) -> str:
    """One hash for an adapter of each country: over theirs, by country."""
    digest = hashlib.sha256()
    for iso3 in adapter_countries(folder):
        with open(folder / iso3 / ADAPTER_WEIGHTS, "rb") as weights:
            digest.update(f"{iso3}:{hashlib.file_digest(weights, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def fits_base(adapter: AdapterEntry, source: str) -> bool:
    """May this adapter be put on that model, as far as names tell? Loading looks closer."""
    return same_model(adapter.base, source)


# Why: docs/decisions.md, "One model has many names."
def same_model(named: str, source: str) -> bool:
    """Is what an adapter calls its base this model, as far as names tell? True where it names none.

    Whose copy it is does not matter, nor how its weights are packed.
    """
    return not named or _plain_name(named) == _plain_name(source)


def model_name(source: str) -> str:
    """The last part of a hub id or of a path, on whatever system."""
    return re.split(r"[\\/]", source.rstrip("\\/"))[-1]


# How copies with packed weights are called: "unsloth/Llama-3.2-1B-Instruct-unsloth-bnb-4bit".
_PACKED = re.compile(r"(-unsloth)?(-bnb)?[-_](4bit|8bit|int4|int8|nf4|gptq|awq|bf16|fp16)$")


def _plain_name(source: str) -> str:
    name = model_name(source).casefold()
    while (shorter := _PACKED.sub("", name)) != name:
        name = shorter
    return name


def _written(folder: Path) -> list[float]:
    return [p.stat().st_mtime for p in folder.glob(f"**/{ADAPTER_WEIGHTS}") if p.is_file()]


def delete_adapter(adapter: AdapterEntry, home: Path) -> None:
    """Remove an adapter's folder from `home`/adapters."""
    folder, shelf = adapter.path.resolve(), (home / "adapters").resolve()
    if shelf not in folder.parents:
        raise ModelError(f"{adapter.name} lies outside Pluriscope's adapters folder; it stays.")
    shutil.rmtree(folder)


def adapter_title(folder: Path) -> str:
    """What an adapter was called when it was made, else its folder's name."""
    told = read_json(folder / ADAPTER_RECORD) or read_json(folder / ADAPTER_INDEX)
    title = " ".join(str(told.get("title") or folder.name).split())[:200]
    one_of_many = (folder.parent / ADAPTER_INDEX).is_file()
    return f"{title} ({folder.name})" if one_of_many and title != folder.name else title
