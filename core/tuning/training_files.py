"""What a training writes: tensors and records as bytes, and checkpoints to go on from.

Files and folders are whole or not there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors

from core.errors import ModelError
from core.whole_files import write_whole

UNFINISHED = "unfinished"  # the folder of checkpoints within an adapter's
STATE, PLACE = "state.safetensors", "place.json"


def write_checkpoint(folder: Path, place: dict, tensors: dict[str, torch.Tensor]) -> None:
    """Keep a checkpoint in place of those before it, once all of it is there.

    place: its "step", and what goes on from there. Raises ModelError where the disk gives out.
    """
    checkpoints = folder / UNFINISHED
    name = f"step-{place['step']:06}"
    with disk_in_words(folder):
        files = {STATE: tensor_bytes(tensors), PLACE: json_bytes(place)}
        _write_folder(checkpoints / name, files)
        for old in checkpoints.iterdir():
            if old.name != name:
                shutil.rmtree(old)


def newest_checkpoint(
    folder: Path, fingerprint: str
) -> tuple[dict, dict[str, torch.Tensor]] | None:
    """Place and tensors of the newest whole checkpoint, None where it is of another training."""
    for found in sorted((folder / UNFINISHED).glob("step-*"), reverse=True):
        try:
            place = json.loads((found / PLACE).read_text(encoding="utf-8"))
            if place["fingerprint"] != fingerprint:
                return None
            return place, load_file(found / STATE)
        except (OSError, ValueError, KeyError, SafetensorError):
            continue
    return None


def remove_checkpoints(folder: Path) -> None:
    shutil.rmtree(folder / UNFINISHED, ignore_errors=True)


def tensor_bytes(tensors: dict[str, torch.Tensor]) -> bytes:
    return to_safetensors(
        {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, {"format": "pt"}
    )


def json_bytes(record: dict) -> bytes:
    return (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode()


def _write_folder(folder: Path, files: dict[str, bytes]) -> None:
    """A folder with these files, at once."""
    unfinished = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        for name, data in files.items():
            write_whole(unfinished / name, data)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    except OSError:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


GO_ON = "Make room on the disk, then Resume: training goes on from the last checkpoint."


@contextmanager
def disk_in_words(folder: Path, advice: str = GO_ON) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:  # save_pretrained raises the latter
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"{folder} could not be written ({reason}). {advice}") from error
