"""Adapters as folders anyone can use: what they tell, export and import.

An adapter is PEFT's adapter_config.json and adapter_model.safetensors. One for each country is a
folder of such folders, named by country code, with a small adapters.json. Nothing here loads torch,
and nothing from outside is run: weights are read by their header, settings by name.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from core import wording
from core.errors import ImportRefused, ModelError, PluriscopeError
from core.models import adapter_settings, adapters, catalogue, spec
from core.models import files as models_files
from core.models.adapters import (
    ADAPTER_CONFIG,
    ADAPTER_INDEX,
    ADAPTER_RECORD,
    ADAPTER_WEIGHTS,
    AdapterEntry,
)
from core.models.catalogue import Entry
from core.models.files import read_header, read_json, weight_files
from core.ordinary_files import is_ordinary, read_ordinary
from core.whole_files import write_whole

CARD = "README.md"
FILES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, CARD, ADAPTER_RECORD, ADAPTER_INDEX)


# -- what a folder tells ---------------------------------------------------------------------------


def plain(text: object) -> str:
    """Text for Markdown, shown as it is: marks are escaped, and it stays on one line."""
    escaped = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", " ".join(str(text).split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def public_name(source: str) -> str:
    """A hub id as it is; of a folder on this machine only its name."""
    return source if spec.HUB_ID.fullmatch(source) else Path(source).name


def write_index(folder: Path, title: str = "") -> None:
    """adapters.json of a folder with an adapter for each country: which, and their hashes."""
    record = {
        "kind": "specific",
        "title": title or read_json(folder / ADAPTER_INDEX).get("title") or folder.name,
        "adapters": {
            iso3: {"sha256": _sha256(folder / iso3 / ADAPTER_WEIGHTS)}
            for iso3 in adapters.adapter_countries(folder)
        },
    }
    write_whole(folder / ADAPTER_INDEX, json.dumps(record, ensure_ascii=False, indent=1) + "\n")


def read_card(folder: Path, limit: int = 100_000) -> str:
    """The text of an adapter's card as it stands; "" where it has none. It may be anybody's."""
    try:
        return read_ordinary(folder / CARD).decode(errors="replace")[:limit]
    except OSError:
        return ""


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -- export ----------------------------------------------------------------------------------------


def export_zip(adapter: AdapterEntry) -> bytes:
    """All of an adapter in one zip, in a folder of its name; the same bytes each time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for folder in [adapter.path, *(adapter.path / iso3 for iso3 in adapter.countries)]:
            for name in FILES:
                path = folder / name
                if path.is_file():
                    inside = Path(file_name(adapter)) / path.relative_to(adapter.path)
                    # A fixed time, so that one adapter is one file.
                    info = zipfile.ZipInfo(inside.as_posix(), (1980, 1, 1, 0, 0, 0))
                    info.external_attr = 0o644 << 16
                    archive.writestr(info, path.read_bytes())
    return buffer.getvalue()


def file_name(adapter: AdapterEntry) -> str:
    """What to call an adapter's file or folder."""
    return _folder_name(adapter.name)


def _folder_name(name: str) -> str:
    """Never three capitals: those are a country's part of an adapter for each country."""
    slug = _slug(name)
    return f"{slug}-adapter" if adapters.ISO3.fullmatch(slug) else slug


def _slug(name: str) -> str:
    words = re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.")
    return words[:80] or "adapter"


# -- import ----------------------------------------------------------------------------------------

MOST_FILES = 2_000
MOST_BYTES = 8 * 1024**3
MOST_TEXT_BYTES = 5 * 1024**2
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


class BroughtIn(NamedTuple):
    """An imported adapter. base: the model here that it fits, None where it is not here."""

    adapter: AdapterEntry
    base: Entry | None


def bring_in(
    file: Path | bytes, home: Path, *, name: str = "", base: spec.ModelSpec | None = None
) -> BroughtIn:
    """Copy an adapter made elsewhere into `home`/adapters: a folder, a zip, or a zip's bytes.

    Only LoRA in safetensors is taken, and only its known files; it is checked before anything is
    kept. base: the model it is for, whatever it says. Raises ImportRefused with what is wrong.
    """
    if isinstance(file, Path) and not os.path.exists(file):
        raise ImportRefused(f"There is no file or folder {file}.")
    shelf = home / "adapters"
    with _opened(file) as source, _landing(shelf) as folder:
        root = _root(source)
        for inside, copy in source.items():
            if inside.parent == root or (
                inside.parent.parent == root and adapters.ISO3.fullmatch(inside.parent.name)
            ):
                _take(copy, folder / inside.relative_to(root))
        title = name or (root.name if root.name else _file_stem(file))
        _check_all(folder)
        entry = adapters.adapter_entry(folder)
        if entry is None:
            raise ImportRefused(NO_ADAPTER)
        if base is not None:
            take_for(entry, _entry_here(base))
            entry = adapters.adapter_entry(folder)
        here = _entry_here(base) if base else _base_of(entry, home)
        if here is not None:
            for part in _parts(folder):
                _check_shapes(part, here)
        own = read_json(folder / (ADAPTER_INDEX if entry.countries else ADAPTER_RECORD)).get(
            "title"
        )
        kept = _free_name(shelf, _folder_name(str(own or title)))
        folder.rename(kept)
    entry = adapters.adapter_entry(kept)
    return BroughtIn(entry, here)


def imported_words(brought: BroughtIn, fits: Sequence[Entry]) -> str:
    """What to say of an imported adapter. fits: models here that have its layers."""
    adapter, base = brought
    said = f"“{adapter.name}” is imported. "
    if base:
        return f"{said}It fits {base.name}: choose it under Adapter when you ask that model."
    said += f"Its model ({adapter.base_name or 'unnamed'}) is not on this machine"
    if not fits:
        return f"{said}, so whether it fits is checked when it is first used."
    return (
        f"{said} under that name. Its layers fit {wording.listed([one.name for one in fits])}: if "
        "that is the same model, say so under Details (or import it with --for)."
    )


NO_ADAPTER = (
    f"There is no adapter in it. Pluriscope reads PEFT's format: {ADAPTER_CONFIG} and "
    f"{ADAPTER_WEIGHTS}, or folders of these named by country code (KEN, DEU, …)."
)

Copy = Callable[[], IO[bytes]]


@contextmanager
def _opened(file: Path | bytes) -> Iterator[dict[PurePosixPath, Copy]]:
    """The known files of a folder or a zip, by path inside it, and how to read each."""
    if isinstance(file, Path) and file.is_dir():
        yield _of_folder(file)
        return
    if isinstance(file, Path) and not is_ordinary(file):
        raise ImportRefused(f"{file} is not an ordinary file, so it is not read.")
    try:
        with zipfile.ZipFile(io.BytesIO(file) if isinstance(file, bytes) else file) as archive:
            yield _of_zip(archive)
    except (
        zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError
    ) as error:  # fmt: skip
        # RuntimeError: a password. NotImplementedError: a compression Python does not know.
        raise ImportRefused(
            f"The file cannot be read as a zip ({error}). Choose an adapter's folder, or a zip of "
            "one without a password."
        ) from error


def _of_folder(folder: Path) -> dict[PurePosixPath, Copy]:
    names, found = [], {}
    for at, inside, files in os.walk(folder):
        inside[:] = [name for name in inside if not (Path(at) / name).is_symlink()]
        if len(Path(at).relative_to(folder).parts) >= 2:
            inside.clear()  # adapters lie no deeper
        names += [PurePosixPath((Path(at) / n).relative_to(folder).as_posix()) for n in files]
        if len(names) > MOST_FILES:
            raise ImportRefused(f"The folder {folder} holds too many files to be an adapter.")
    for name in names:
        path = folder / name
        if name.name in FILES and path.is_file() and not path.is_symlink():
            found[name] = partial(path.open, "rb")
    _refuse_pickles(names)
    return found


def _of_zip(archive: zipfile.ZipFile) -> dict[PurePosixPath, Copy]:
    infos = [info for info in archive.infolist() if not info.is_dir()]
    if len(infos) > MOST_FILES or sum(info.file_size for info in infos) > MOST_BYTES:
        raise ImportRefused("The zip unpacks to far more than an adapter.")
    found = {}
    for info in infos:
        name = PurePosixPath(info.filename)
        if name.is_absolute() or ".." in name.parts or "\\" in info.filename:
            raise ImportRefused(f"The zip holds a file outside its own folder ({info.filename}).")
        if name.name in FILES and (info.external_attr >> 28) != 0xA:  # not a symbolic link
            found[name] = partial(archive.open, info)
    _refuse_pickles([PurePosixPath(info.filename) for info in infos])
    return found


def _refuse_pickles(names: Sequence[PurePosixPath]) -> None:
    if not any(name.name == ADAPTER_WEIGHTS for name in names) and any(
        name.suffix in PICKLES for name in names
    ):
        raise ImportRefused(
            "Its weights are a pickle file (.bin), which can run code when opened. Pluriscope "
            f"reads safetensors only: save the adapter again, so that it has {ADAPTER_WEIGHTS}."
        )


def _root(source: Mapping[PurePosixPath, Copy]) -> PurePosixPath:
    """The folder in which the adapter lies: itself, or with a folder for each country."""
    roots = {
        path.parent.parent if adapters.ISO3.fullmatch(path.parent.name) else path.parent
        for path in source
        if path.name == ADAPTER_CONFIG
    }
    if not roots:
        raise ImportRefused(NO_ADAPTER)
    if len(roots) > 1:
        raise ImportRefused("There are several adapters in it. Import them one at a time.")
    return roots.pop()


def _file_stem(file: Path | bytes) -> str:
    return "imported" if isinstance(file, bytes) else file.stem


@contextmanager
def _landing(shelf: Path) -> Iterator[Path]:
    """A folder that is gone afterwards unless it was renamed. Named so that it is never listed."""
    folder = shelf.parent / "tmp" / f"adapter-{os.getpid()}-{os.urandom(4).hex()}"
    shelf.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    except OSError as error:
        raise ImportRefused(
            f"The adapter could not be written ({error.strerror or error}). Make room on the disk."
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _take(copy: Copy, to: Path) -> None:
    """Copy one file, and no more of it than is sensible, whatever a zip says of its size."""
    most = MOST_BYTES if to.name == ADAPTER_WEIGHTS else MOST_TEXT_BYTES
    to.parent.mkdir(exist_ok=True)
    with copy() as source, open(to, "wb") as target:
        while block := source.read(1 << 20):
            most -= len(block)
            if most < 0:
                raise ImportRefused(f"Its file {to.name} is far too large.")
            target.write(block)


def _free_name(shelf: Path, name: str) -> Path:
    number = 1
    while (path := shelf / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return path


def _parts(folder: Path) -> list[Path]:
    if adapters.is_adapter(folder):
        return [folder]
    return [folder / iso3 for iso3 in adapters.adapter_countries(folder)]


def _check_all(folder: Path) -> None:
    parts = _parts(folder)
    if not parts:
        raise ImportRefused(NO_ADAPTER)
    bases = {_check_one(part) for part in parts}
    if len(bases) > 1:
        raise ImportRefused("Its countries' adapters were tuned on different models.")


# Why: docs/decisions.md, "A setting of an adapter is used, harmless or refused."
def _check_one(folder: Path) -> str:
    """Check an adapter's settings and its tensors; write back only settings that are used. The
    base."""
    said = read_json(folder / ADAPTER_CONFIG)
    if wrong := adapter_settings.problem(said):
        raise ImportRefused(wording.capital(wrong))
    if said.get("modules_to_save") or said.get("trainable_token_indices"):
        raise ImportRefused(
            "It brings whole layers of its own beside its LoRA weights, and only LoRA is imported. "
            "Merge it into its model and use that, or give its folder to “ask --adapter”."
        )
    try:
        header = read_header(folder / ADAPTER_WEIGHTS)
    except (ModelError, OSError) as error:
        raise ImportRefused(
            f"The weights in {ADAPTER_WEIGHTS} are damaged or not safetensors."
        ) from error
    if wrong := adapter_settings.tensors_problem(said, header):
        raise ImportRefused(wording.capital(wrong))
    adapter = adapter_settings.read(folder)
    if adapter.whole:
        raise ImportRefused(f"It holds a tensor that is not LoRA's ({next(iter(adapter.whole))}).")
    settings = {**adapter.config, "inference_mode": True}
    write_whole(folder / ADAPTER_CONFIG, json.dumps(settings, indent=1) + "\n")
    return str(said.get("base_model_name_or_path") or "")


def _base_of(adapter: AdapterEntry, home: Path) -> Entry | None:
    """The model on this machine that an adapter says it was tuned on."""
    for entry in [catalogue.builtin(), *catalogue.on_this_machine(home)]:
        if adapter.base and adapters.fits_base(adapter, entry.source) and entry.path:
            return entry
    return None


def _check_shapes(folder: Path, base: Entry) -> None:
    if layer := _misfit(folder, base):
        raise ImportRefused(
            f"It does not fit {base.name} on this machine, which it says it was tuned on: "
            f"their layers {layer} differ. Look for the adapter of this version of the model."
        )


def _misfit(folder: Path, base: Entry) -> str:
    """The first layer of an adapter that its base does not have so, by the files' headers."""
    stored: dict[str, tuple[int, ...]] = {}
    for file in weight_files(base.path):
        stored |= {name: t.shape for name, t in models_files.read_header(file).items()}
    if models_files.weights(base.path).quantised:
        return ""  # its matrices are packed; loading looks at the layers themselves
    adapter = adapter_settings.read(folder)
    if adapter.config.get("target_parameters"):
        return ""
    for layer, shapes in adapter.layers.items():
        a, b = adapter_settings.pair(shapes)
        across = adapter.config.get("fan_in_fan_out") or "lora_embedding_A" in shapes
        wide = (a[1], b[0]) if across else (b[0], a[1])
        # An output head may be the embeddings, and in no file; loading looks at it.
        if layer != "lm_head" and _stored(f"{layer}.weight", stored) != wide:
            return layer
    return ""


def _stored(name: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...] | None:
    """The shape of a tensor whose name in the files may lack the head, or have one more."""
    if name in shapes:
        return shapes[name]
    near = [s for n, s in shapes.items() if n.endswith(f".{name}") or name.endswith(f".{n}")]
    return near[0] if len(near) == 1 else None


def _entry_here(model: spec.ModelSpec) -> Entry:
    folder = catalogue.find(model)
    if folder is None:
        raise ModelError(f"{model.source} is not on this machine. Download it first.")
    return replace(catalogue.at(folder), source=model.source, name=catalogue.describe(model))


# -- another name for the same model ---------------------------------------------------------------


def fitting(adapter: AdapterEntry, home: Path) -> list[Entry]:
    """Models on this machine with the layers that an adapter is for, whatever it calls its base."""
    here = [e for e in [catalogue.builtin(), *catalogue.on_this_machine(home)] if not e.problem]
    parts = _parts(adapter.path)
    return [e for e in here if not any(_misfit(part, e) for part in parts)]


def take_for(adapter: AdapterEntry, base: Entry) -> None:
    """Have an adapter name another base from now on; somebody said that the two are one model.

    Raises ModelError where their layers differ.
    """
    for part in _parts(adapter.path):
        if layer := _misfit(part, base):
            raise ModelError(
                f"{adapter.name} does not fit {base.name}: their layers {layer} differ."
            )
    for part in _parts(adapter.path):
        said = read_json(part / ADAPTER_CONFIG)
        if not adapters.same_model(str(said.get("base_model_name_or_path") or ""), base.source):
            said.pop("revision", None)  # of the model of the other name
        said["base_model_name_or_path"] = base.source
        write_whole(part / ADAPTER_CONFIG, json.dumps(said, indent=1) + "\n")


def merged_folder(home: Path, name: str) -> Path:
    """Where a model with its adapter merged in is saved: a free name in `home`/models."""
    slug = _slug(name)
    if not slug:
        raise PluriscopeError("Give the merged model a name.")
    return _free_name(home / "models", slug)
