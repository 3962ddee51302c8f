"""What the Hugging Face hub says of a model before anything is downloaded. Never loads torch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from core import wording
from core.errors import ModelError

WANTED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
# The same weights once more, in layouts that transformers does not read.
UNWANTED = ("original/*", "onnx/*", "consolidated*", "*/*.safetensors")


class NotReached(ModelError):
    """The hub cannot be reached from here."""


class Offered(NamedTuple):
    """A model on the hub.

    size_bytes: of the files that would be downloaded. parameters: None where it does not say.
    licence: as the model's card names it, "" if it does not. gated: its makers want to be asked
    first. config: the little of its config.json that the hub passes on.
    """

    size_bytes: int
    parameters: int | None
    licence: str
    gated: bool
    config: Mapping


_told: dict[tuple[str, str | None], Offered] = {}


def wanted(code: bool = False) -> list[str]:
    """Patterns of the files to download. code: the Python that comes with a model as well."""
    return [*WANTED, *(["*.py"] if code else [])]


def licence_words(license: object = None, license_name: object = None, **_: object) -> str:
    """The licence that the head of a model's card names; "" where it names none."""
    if license != "other":
        return str(license or "")
    return str(license_name or "its own, see its card")


def told(source: str, revision: str | None = None) -> Offered | None:
    """What look() found in this process before; never asks."""
    return _told.get((source, revision))


# Why: docs/decisions.md, "A model is asked about before it is downloaded."
def look(source: str, revision: str | None = None, *, seconds: float = 5.0) -> Offered:
    """Ask the hub about a model. seconds: how long to wait for it.

    Raises NotReached without a connection, ModelError where it has no such model or revision, or
    one without safetensors weights.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import filter_repo_objects

    with in_words(source, revision):
        found = HfApi().model_info(source, revision=revision, files_metadata=True, timeout=seconds)
    files = list(
        filter_repo_objects(
            found.siblings or (),
            allow_patterns=wanted(),
            ignore_patterns=list(UNWANTED),
            key=lambda file: file.rfilename,
        )
    )
    if not any(file.rfilename.endswith(".safetensors") for file in files):
        raise ModelError(
            f"{source} has no safetensors weights on Hugging Face, and Pluriscope loads no others. "
            "Look for another version of the model."
        )
    offered = Offered(
        sum(file.size or 0 for file in files),
        found.safetensors.total if found.safetensors else None,
        licence_words(**found.card_data.to_dict()) if found.card_data else "",
        bool(found.gated),
        found.config or {},
    )
    _told[source, revision] = offered
    return offered


@contextmanager
def in_words(source: str, revision: str | None) -> Iterator[None]:
    """Turn what huggingface_hub raises into a ModelError that says what to do."""
    import httpx2
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except GatedRepoError as error:
        raise ModelError(
            f"{source} asks you to accept its licence first: open "
            f"https://huggingface.co/{source}, accept, then run “hf auth login” on this "
            "machine and try again."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"There is no model {source} on Hugging Face, or it is private. Check the "
            "spelling, or run “hf auth login” if it is yours."
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(f"{source} has no revision {revision!r}.") from error
    except HfHubHTTPError as error:
        raise ModelError(f"Hugging Face did not hand over {source}: {error}") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, httpx2.TransportError) as error:
        raise NotReached(
            f"{source} is not on this machine and could not be downloaded: there is no connection "
            "to huggingface.co. Connect to the internet, or choose a model on this machine."
        ) from error


def no_room(source: str, size_bytes: int, cache: Path) -> str:
    """Why a download would not fit on the disk of the cache it goes to; "" where it does."""
    place = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    missing = size_bytes - bytes_here(source, cache)
    if missing <= free:
        return ""
    return (
        f"{source} takes {wording.size(missing)} to download, but only {wording.size(free)} "
        f"are free on the disk of {place}. Make room there, or choose a smaller model."
    )


def bytes_here(source: str, cache: Path) -> int:
    """What of a model's files lies in a hub cache by now, unfinished ones included."""
    total = 0
    for file in (cache / f"models--{source.replace('/', '--')}" / "blobs").glob("*"):
        try:
            total += file.stat().st_size
        except FileNotFoundError:  # just finished, and renamed
            continue
    return total
