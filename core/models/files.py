"""What a model's folder holds, read without loading it: config, weights, template, and what is "
"wrong with it."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open

from core.errors import ModelError
from core.ordinary_files import is_ordinary, read_ordinary
from core.sanitize import parse_object

Files = tuple[tuple[str, int, int], ...]  # name, bytes and time of writing in ns of each


class Weights(NamedTuple):
    """What config.json and the headers of the safetensors files tell.

    linear: parameters in matrices that 4-bit and 8-bit shrink; other: all others (embeddings,
    norms, output head). stored_bytes: size of the weight files. quantised: how the files are
    quantised already ("bitsandbytes", "gptq", …), "" if they are not. precision: "bf16", "fp16" or
    "fp32", the one that most of what is not quantised is stored in.
    """

    linear: int
    other: int
    stored_bytes: int
    quantised: str
    precision: str
    config: Mapping

    @property
    def parameters(self) -> int:
        return self.linear + self.other


def read_json(path: Path) -> dict:
    """A file's JSON object; empty where there is none or it cannot be read."""
    try:
        return parse_object(read_ordinary(path))
    except (OSError, ValueError):
        return {}


def check(folder: Path) -> None:
    """Raise ModelError if transformers could not load this folder's safetensors."""
    sentence = problem(folder)
    if sentence:
        raise ModelError(sentence)


def problem(folder: Path) -> str:
    """Why a folder cannot be loaded as a model, in a sentence; "" if nothing speaks against it.

    Reads config.json and the headers of the weight files only.
    """
    try:
        return _problem(folder)
    except ModelError as error:
        return str(error)
    except OSError as error:
        return f"{folder} cannot be opened ({error.strerror or error})."


def _problem(folder: Path) -> str:
    if not folder.is_dir():
        return f"There is no folder {folder}."
    for path in folder.iterdir():
        if path.exists() and not path.is_dir() and not is_ordinary(path):
            return f"{path.name} in {folder.name} is not an ordinary file, so it is not read."
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            return (
                f"{folder.name} is an adapter, not a model. Choose its base model and put the "
                "adapter on top."
            )
        return f"{folder} is not a model: it has no config.json."
    if "model_type" not in read_config(folder):
        return f"The config.json in {folder} names no model type, so it cannot be loaded."
    files = weight_files(folder)
    for file in files:
        read_header(file)
    if not files:
        if any(folder.glob("*.bin")) or any(folder.glob("*.pt")) or any(folder.glob("*.pth")):
            return (
                f"{folder.name} has its weights only as pickle files (.bin), which can run code "
                "when opened. Pluriscope loads safetensors only: look for a version of the model "
                "with .safetensors files."
            )
        if any(folder.glob("*.gguf")):
            return f"{folder.name} holds GGUF files. Pluriscope needs the safetensors version."
        return f"{folder.name} has a config.json but no .safetensors weights."
    if not any((folder / n).is_file() for n in ("tokenizer.json", "tokenizer_config.json")):
        return f"{folder.name} has no tokenizer files, so it cannot read text."
    return ""


def read_config(folder: Path) -> dict:
    """A model's config.json. Raises ModelError where it cannot be read."""
    try:
        return parse_object(read_ordinary(folder / "config.json"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The file config.json in {folder} cannot be read. Download the model again."
        ) from error


def quantised(config: Mapping) -> str:
    """How a model's files are quantised already; "" if they are not."""
    said = config.get("quantization_config")
    return str(said.get("quant_method") or "") if isinstance(said, dict) else ""


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model. Raises ModelError if its index is damaged or names absent
    ones."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        single = folder / "model.safetensors"
        return [single] if single.is_file() else sorted(folder.glob("model*.safetensors"))
    listed = read_json(index).get("weight_map")
    if not isinstance(listed, dict) or not all(isinstance(n, str) for n in listed.values()):
        raise ModelError(
            f"The list of weight files in {folder.name} cannot be read. Download the model again."
        )
    names = sorted(set(listed.values()))
    missing = [name for name in names if not os.path.isfile(folder / name)]
    if missing:
        raise ModelError(
            f"{folder.name} is not complete: {len(missing)} of {len(names)} weight files are "
            f"missing ({missing[0][:200]}). Download the model again."
        )
    return [folder / name for name in names]


class Tensor(NamedTuple):
    """A tensor as a weight file's header describes it. dtype: as safetensors names it ("BF16")."""

    dtype: str
    shape: tuple[int, ...]


def read_header(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name. Raises ModelError where the file is damaged."""
    try:
        with safe_open(file, framework="np") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
            return {
                name: Tensor(one.get_dtype(), tuple(one.get_shape()))
                for name, one in slices.items()
            }
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"The weight file {file.name} in {file.parent.name} is damaged or was not downloaded "
            "to the end. Delete it and download the model again."
        ) from error


def weights(folder: Path) -> Weights:
    """Count a model's parameters from its files, without reading the weights.

    Raises ModelError where they are damaged.
    """
    config = read_config(folder)
    linear = other = stored = 0
    held: Counter[str] = Counter()
    for file in weight_files(folder):
        stored += file.stat().st_size
        for name, tensor in read_header(file).items():
            count = 1
            for side in tensor.shape:
                count *= side
            held[_STORED_AS.get(tensor.dtype, "fp32")] += count
            if len(tensor.shape) == 2 and not re.search(r"embed|lm_head|wte|wpe|norm", name):
                linear += count
            else:
                other += count
    precision = max(held, key=held.__getitem__, default="fp32")
    return Weights(linear, other, stored, quantised(config), precision, config)


_STORED_AS = {"BF16": "bf16", "F16": "fp16"}  # names in safetensors files


def family_of(config: Mapping) -> str:
    kind = str(config.get("model_type", ""))
    return re.sub(r"(?<=[a-z])(?=\d)", " ", kind.replace("_text", "").replace("_", " ")).title()


def has_chat_template(folder: Path) -> bool:
    if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    return bool(read_json(folder / "tokenizer_config.json").get("chat_template"))


# -- which files they are --------------------------------------------------------------------------


def revision_of(folder: Path) -> str:
    """The commit of a hub snapshot, or a hash over a local folder's configuration and weights."""
    if folder.parent.name == "snapshots" and re.fullmatch(r"[0-9a-f]{40}", folder.name):
        return folder.name
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.json")) + sorted(folder.glob("*.jinja")):
        digest.update(path.name.encode() + path.read_bytes())
    for path in weight_files(folder):
        _hash_sampled(digest, path)
    return f"sha256:{digest.hexdigest()}"


def files_in(folder: Path) -> Files:
    """How a folder's files lie there: quick to tell, and another once one was replaced."""
    try:
        files = [(path.name, path.stat()) for path in sorted(folder.iterdir()) if path.is_file()]
    except OSError:  # there is no such folder
        return ()
    return tuple((name, facts.st_size, facts.st_mtime_ns) for name, facts in files)


def _hash_sampled(digest: Any, path: Path, block: int = 1 << 20, blocks: int = 64) -> None:
    """Hash a file: all of one up to 64 MiB, or else its head, size and 64 blocks spread evenly.

    Training changes every matrix, so a sample tells versions apart in well under a second.
    """
    size = path.stat().st_size
    digest.update(f"{path.name}:{size}".encode())
    starts = [round(i * (size - block) / (blocks - 1)) for i in range(blocks)]
    if size <= block * blocks:
        starts = list(range(0, size, block))
    with open(path, "rb") as stream:
        for start in starts:
            stream.seek(start)
            digest.update(stream.read(block))
