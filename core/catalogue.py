"""Which models there are, where they lie, and whether one fits this machine. Never loads torch.

Three kinds are kept apart: the built-in model, models on this machine, models to download.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from core import hub
from core.errors import ModelError
from core.texts import parse_object

MODELS = Path(__file__).resolve().parent.parent / "data" / "models"
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

    source: str
    revision: str | None = None
    precision: str = "auto"
    adapter: str | None = None
    trust_remote_code: bool = False

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


@dataclass(frozen=True)
class Entry:
    """A model that can be picked.

    kind: "builtin", "here" or "download". source goes into ModelSpec.source. parameters and
    size_bytes are None where unknown; size_bytes is what lies on disk or would be downloaded.
    problem: why it cannot be used, in a sentence; "" where it can. path: its folder, if here.
    """

    kind: str
    source: str
    name: str
    family: str = ""
    parameters: int | None = None
    size_bytes: int | None = None
    licence: str = ""
    gated: bool = False
    languages: str = ""
    note: str = ""
    path: Path | None = None
    problem: str = ""
    revision: str | None = None


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
        name = Path(self.base).name if local else self.base
        return BUILTIN_NAME if name == BUILTIN.name else name


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


class Fit(NamedTuple):
    """Does a model fit? needed_bytes by precision, working memory included (empty if its size is
    unknown). precision is the one the spec comes to. sentence is for people."""

    needed_bytes: dict[str, int]
    free_bytes: int
    device: str
    precision: str
    fits: bool
    sentence: str


# -- what there is ---------------------------------------------------------------------------------


def builtin_held_out(kind: str = "") -> tuple[str, ...]:
    """Items that the built-in model never saw with answers of a country under a country prompt.

    kind: of these, only "never_country_prompt" or "never_any" (its card says what they mean).
    """
    lines = (BUILTIN / "held_out_items.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return tuple(item for item, why in rows if kind in ("", why))


def builtin() -> Entry:
    """The model that comes with Pluriscope."""
    entry = _entry_of_folder(BUILTIN, "builtin", "builtin", BUILTIN_NAME)
    return replace(
        entry,
        family="Llama",
        languages="English",
    )


def on_this_machine(home: Path) -> list[Entry]:
    """Models in `home`/models and in the Hugging Face caches, by name.

    A folder with a config.json is listed even where it cannot be used: `problem` says why.
    """
    entries = []
    folder = home / "models"
    if folder.is_dir():
        for config in sorted(folder.glob("*/config.json")):
            path = config.parent
            entries.append(_entry_of_folder(path, "here", str(path), path.name))
    for cache in hub_caches(home):
        entries += _cached(cache)
    unique = {(entry.source, entry.revision): entry for entry in reversed(entries)}
    return sorted(unique.values(), key=lambda entry: entry.name.casefold())


def offered(source: str, revision: str | None = None) -> Entry:
    """A model on the hub that nobody listed, asked for over the network. Errors: see hub.look."""
    told = hub.look(source, revision)
    return Entry(
        "download",
        source,
        source.split("/")[-1],
        parameters=told.parameters,
        size_bytes=told.size_bytes,
        licence=told.licence,
        gated=told.gated,
        revision=revision,
    )


def no_room(entry: Entry) -> str:
    """Why a model cannot be downloaded onto this disk; "" where it can, or is here."""
    if entry.kind != "download" or not entry.size_bytes:
        return ""
    return hub.no_room(entry.source, entry.size_bytes, hub_caches(data_home())[0])


def at(folder: Path) -> Entry:
    """The model in a folder anywhere on this machine."""
    return _entry_of_folder(folder, "here", str(folder), folder.name)


def to_download() -> list[Entry]:
    """The curated list of open chat models, smallest first. Any other hub id works as well."""
    return list(_download_list())


@lru_cache(maxsize=1)
def _download_list() -> tuple[Entry, ...]:
    records = json.loads((MODELS / "catalogue.json").read_text(encoding="utf-8"))["models"]
    fields = ("source", "name", "family", "parameters", "size_bytes", "licence", "gated")
    entries = [
        Entry("download", **{k: r[k] for k in fields}, languages=r["languages"], note=r["note"])
        for r in records
    ]
    return tuple(sorted(entries, key=lambda entry: entry.parameters))


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


def merged_sha256(spec: ModelSpec) -> str | None:
    """The hash of the adapter that was merged into a model's weights here; None where none was."""
    folder = find(spec)
    return read_json(folder / ADAPTER_RECORD).get("merged_sha256") if folder else None


def is_teaching(spec: ModelSpec, facts: Mapping = {}) -> bool:
    """Is this the built-in model, at whatever path, or was it merged from it?

    facts: those kept with a run, which still tell when the model's folder is gone or another.
    """
    if spec.source == "builtin":
        return True
    if "teaching" in facts:
        return facts["teaching"] is True
    return _is_teaching(typed_path(spec.source))


def _is_teaching(folder: Path) -> bool:
    if read_json(folder / ADAPTER_RECORD).get("teaching") is True:
        return True
    try:
        return folder.samefile(BUILTIN)
    except (OSError, ValueError):  # ValueError: a zero byte
        return False


def fits_base(adapter: AdapterEntry, source: str) -> bool:
    """May this adapter be put on that model, as far as names tell? Loading looks closer."""
    here = {Path(source).name.casefold(), source.casefold()}
    named = adapter.base.casefold()
    return not named or named in here or Path(named).name in here


def _written(folder: Path) -> list[float]:
    return [p.stat().st_mtime for p in folder.glob(f"**/{ADAPTER_WEIGHTS}") if p.is_file()]


def read_json(path: Path) -> dict:
    """A file's JSON object; empty where there is none or it cannot be read."""
    try:
        return parse_object(path.read_bytes())
    except (OSError, ValueError):
        return {}


def can_delete(entry: Entry, home: Path) -> bool:
    """True for a model that lies in Pluriscope's own models folder."""
    return entry.path is not None and _kept_in(entry.path, home / "models") is not None


def delete(entry: Entry, home: Path) -> None:
    """Remove a model's files from `home`/models. Models that lie elsewhere are left alone."""
    folder = _kept_in(entry.path, home / "models") if entry.path else None
    if folder is None:
        raise ModelError(f"{entry.name} lies outside Pluriscope's models folder; it stays.")
    shutil.rmtree(folder)


def delete_adapter(adapter: AdapterEntry, home: Path) -> None:
    """Remove an adapter's folder from `home`/adapters."""
    folder, shelf = adapter.path.resolve(), (home / "adapters").resolve()
    if shelf not in folder.parents:
        raise ModelError(f"{adapter.name} lies outside Pluriscope's adapters folder; it stays.")
    shutil.rmtree(folder)


def _kept_in(path: Path, shelf: Path) -> Path | None:
    """What to remove for a model at `path`: of a hub cache, the whole repository."""
    if path.is_symlink():
        return None  # a link to somebody else's files
    path, shelf = path.resolve(), shelf.resolve()
    if shelf not in path.parents:
        return None
    parts = path.relative_to(shelf).parts
    return shelf / parts[0] / parts[1] if parts[0] == "hub" and len(parts) > 1 else path


def describe(spec: ModelSpec) -> str:
    """A model's name for people: "Built-in model", "Qwen2.5 0.5B Instruct + my-adapter", "Built-in
    model, tuned for Kenya: …"."""
    if spec.source == "builtin":
        name = BUILTIN_NAME
    else:
        known = {entry.source: entry.name for entry in _download_list()}
        name = known.get(spec.source) or Path(spec.source).name
    if not spec.adapter:
        return name
    title = adapter_title(typed_path(spec.adapter))
    return title if title.startswith((f"{name}, ", f"{name}: ")) else f"{name} + {title}"


def adapter_title(folder: Path) -> str:
    """What an adapter was called when it was made, else its folder's name."""
    told = read_json(folder / ADAPTER_RECORD) or read_json(folder / ADAPTER_INDEX)
    title = " ".join(str(told.get("title") or folder.name).split())[:200]
    one_of_many = (folder.parent / ADAPTER_INDEX).is_file()
    return f"{title} ({folder.name})" if one_of_many and title != folder.name else title


# -- where a model lies ----------------------------------------------------------------------------


def data_home() -> Path:
    """PLURISCOPE_HOME, or data/local: downloads go to its models/hub."""
    return Path(os.environ.get("PLURISCOPE_HOME") or MODELS.parent / "local").expanduser().resolve()


def hub_caches(home: Path) -> list[Path]:
    """Hugging Face caches to look in: our own, then the user's."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return [home / "models" / "hub", Path(HF_HUB_CACHE)]


def typed_path(path: str) -> Path:
    """A path as somebody gave it, ~ being the home folder.

    The ~ of a user who is not there is left as it is; Path.expanduser would raise.
    """
    return Path(os.path.expanduser(path))


def find(spec: ModelSpec) -> Path | None:
    """The folder of a spec's model if all of it is on this machine, None if it is to be downloaded.

    Raises ModelError where the source is neither a folder nor a hub id, or its files are unusable.
    """
    if spec.source == "builtin":
        check(BUILTIN)
        return BUILTIN
    path = typed_path(spec.source)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise ModelError(
            f"{spec.source} cannot be opened ({error.strerror or error}). Give the full path of a "
            "model's folder."
        ) from error
    if is_folder:
        check(path)
        return path
    if is_file:
        raise ModelError(
            f"{spec.source} is a file. Give the folder that holds config.json and the weights."
        )
    if spec.source.startswith(("/", "./", "../", "~", "\\")) or not HUB_ID.fullmatch(spec.source):
        raise ModelError(
            f"There is no folder {spec.source}. Give the full path of a model's folder, or a "
            "Hugging Face id such as Qwen/Qwen2.5-0.5B-Instruct."
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    for cache in hub_caches(data_home()):
        try:
            # With the patterns of our own downloads: of a whole repository, files would be missing.
            folder = snapshot_download(
                spec.source,
                revision=spec.revision,
                cache_dir=cache,
                local_files_only=True,
                allow_patterns=hub.wanted(spec.trust_remote_code),
                ignore_patterns=list(hub.UNWANTED),
            )
        except OSError:  # not there, or a revision that no file can be named after
            continue
        except HFValidationError as error:
            raise ModelError(f"{spec.source} is no Hugging Face id: {error}") from error
        if not problem(Path(folder)):
            return Path(folder)
    return None


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
        return parse_object((folder / "config.json").read_bytes())
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


def read_header(file: Path) -> dict[str, dict]:
    """The tensors of a safetensors file: name -> {"dtype", "shape"}. Checks the file's length.

    Layout: 8 bytes little-endian header length, a JSON header, then the data. Raises ModelError
    where the file is damaged, whatever its header says.
    """
    broken = ModelError(
        f"The weight file {file.name} in {file.parent.name} is damaged or was not downloaded to "
        "the end. Delete it and download the model again."
    )
    size = file.stat().st_size
    with open(file, "rb") as stream:
        start = stream.read(8)
        if len(start) < 8:
            raise broken
        (length,) = struct.unpack("<Q", start)
        if length > min(size - 8, 100_000_000):
            raise broken
        try:
            header = parse_object(stream.read(length))
        except ValueError:
            raise broken from None
    header.pop("__metadata__", None)
    if not all(map(_is_tensor, header.values())):
        raise broken
    end = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    if 8 + length + end != size:
        raise broken
    return header


def _is_tensor(said: object) -> bool:
    """Is this how a safetensors header describes a tensor?"""
    if not isinstance(said, dict) or not isinstance(said.get("dtype"), str):
        return False
    shape, offsets = said.get("shape"), said.get("data_offsets")
    if not isinstance(shape, list) or not isinstance(offsets, list) or len(offsets) != 2:
        return False
    return all(type(number) is int and number >= 0 for number in (*shape, *offsets))


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
            for side in tensor["shape"]:
                count *= side
            held[_STORED_AS.get(tensor["dtype"], "fp32")] += count
            if len(tensor["shape"]) == 2 and not re.search(r"embed|lm_head|wte|wpe|norm", name):
                linear += count
            else:
                other += count
    precision = max(held, key=held.__getitem__, default="fp32")
    return Weights(linear, other, stored, quantised(config), precision, config)


_STORED_AS = {"BF16": "bf16", "F16": "fp16"}  # names in safetensors files


def _entry_of_folder(path: Path, kind: str, source: str, name: str) -> Entry:
    trouble = problem(path)
    if trouble:
        return Entry(kind, source, name, path=path, problem=trouble)
    facts = weights(path)
    return Entry(
        kind=kind,
        source=source,
        name=name,
        family=_family(facts.config),
        parameters=facts.parameters,
        size_bytes=facts.stored_bytes,
        path=path,
        licence=_licence(path),
        note=_note(path, facts),
    )


def _licence(folder: Path) -> str:
    """The licence that a model's card names in its front matter; "" where there is none."""
    try:
        card = (folder / "README.md").read_text(encoding="utf-8", errors="replace")[:20_000]
    except OSError:
        return ""
    front = re.match(r"---\s*\n(.*?)\n---", card, re.DOTALL)
    named = dict(
        re.findall(r"^(license(?:_name)?): *[\"']?([^\"'\n]+)", front[1] if front else "", re.M)
    )
    return hub.licence_words(**{key: said.strip() for key, said in named.items()})


def _family(config: Mapping) -> str:
    kind = str(config.get("model_type", ""))
    return re.sub(r"(?<=[a-z])(?=\d)", " ", kind.replace("_text", "").replace("_", " ")).title()


def _note(path: Path, facts: Weights) -> str:
    if facts.quantised:
        return f"Already quantised ({facts.quantised}); it is loaded as it is."
    if not has_chat_template(path):
        return "No chat template: it cannot be asked. Look for its instruct or chat version."
    return TEACHING if _is_teaching(path) else ""


def has_chat_template(folder: Path) -> bool:
    if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    return bool(read_json(folder / "tokenizer_config.json").get("chat_template"))


def _cached(cache: Path) -> list[Entry]:
    """Complete language models with safetensors in a Hugging Face cache, one per repository."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir(cache).repos
    except (CacheNotFound, OSError, ValueError):
        return []
    known = {entry.source: entry for entry in _download_list()}
    entries = []
    for repo in repos:
        if repo.repo_type != "model":
            continue
        # The one "main" points at, or else the newest: a bare id then loads the same commit.
        revisions = sorted(repo.revisions, key=lambda r: ("main" in r.refs, r.last_modified))
        for revision in reversed(revisions):
            path = Path(revision.snapshot_path)
            if problem(path) or not _is_language_model(path):
                continue
            facts = weights(path)
            listed = known.get(repo.repo_id)
            name = listed.name if listed else repo.repo_id.split("/")[-1]
            entry = _entry_of_folder(path, "here", repo.repo_id, name)
            entries.append(
                replace(
                    entry,
                    family=listed.family if listed else entry.family,
                    licence=listed.licence if listed else entry.licence,
                    languages=listed.languages if listed else "",
                    size_bytes=facts.stored_bytes,
                    revision=None if "main" in revision.refs else revision.commit_hash,
                )
            )
            break
    return entries


def _is_language_model(folder: Path) -> bool:
    names = str(read_config(folder).get("architectures"))
    return "CausalLM" in names or "ConditionalGeneration" in names


# -- does it fit? ----------------------------------------------------------------------------------


def resolve_precision(spec: ModelSpec) -> str:
    """What "auto" means: 4-bit NF4, and full precision for the built-in model, which is tiny."""
    if spec.precision != "auto":
        return spec.precision
    return "fp32" if spec.source == "builtin" else "nf4"


def computes_in() -> str:
    """The 16-bit precision that matrices are multiplied in here, or else "fp32": as models loads.

    bf16 on cards from compute capability 8 on (older ones: fp16), and on processors that have it.
    """
    return _card_computes_in() or ("bf16" if processor_has_bf16() else "fp32")


CPUINFO = Path("/proc/cpuinfo")


@lru_cache(maxsize=1)
def processor_has_bf16() -> bool:
    """Does the processor multiply bf16 matrices itself, by AVX512-BF16 or AMX? models asks, too."""
    try:
        flags = set(CPUINFO.read_text(encoding="utf-8").split())
    except OSError:
        return False
    return bool(flags & {"avx512_bf16", "amx_tile"})


@lru_cache(maxsize=1)
def _card_computes_in() -> str:
    """ "" without a card."""
    card = _card()
    if card is None:
        return ""
    return "bf16" if card.capability >= 8 else "fp16"


def loaded_as(precision: str) -> str:
    """The precision a model asked for in `precision` is really held in on this machine."""
    return computes_in() if precision == "bf16" else precision


def precision_words(precision: str) -> str:
    """A precision that a model is held in, for people."""
    return {**PRECISIONS, "fp16": "16-bit (fp16)"}.get(precision, precision)


def _asked_words(precision: str) -> str:
    held = loaded_as(precision)
    why = "" if held == precision else " (this machine does not compute in bf16)"
    return precision_words(held) + why


def _needed(linear: int, other: int, working: Callable[[str], float]) -> dict[str, int]:
    """Bytes by precision. working: memory beside the weights of a model held in a precision."""
    needed = {}
    for precision in PRECISIONS:
        held = loaded_as(precision)
        rest = 4.0 if "fp32" in (held, computes_in()) else 2.0  # what 4-bit and 8-bit leave alone
        needed[precision] = int(linear * _LINEAR_BYTES[held] + other * rest + working(held))
    return needed


# Bytes per parameter. NF4 with double quantisation: 4 bits, an 8-bit scale for each 64, and a
# 32-bit scale for each 256 of those = 0.5 + 1/64 + 4/(64*256) (arXiv 2305.14314, section 3).
_LINEAR_BYTES = {"nf4": 0.5159, "int8": 1.0, "bf16": 2.0, "fp16": 2.0, "fp32": 4.0}
_PROCESS_BYTES = 700 * 1024**2  # python, torch and transformers before any weight (measured)


def fit(spec: ModelSpec, *, tokens: int = 2048, batch: int = 1, held_bytes: int = 0) -> Fit:
    """Would this model fit into the free memory of this machine? Loads nothing.

    tokens, batch: longest prompt and how many are worked on at once (for the working memory).
    held_bytes: memory of a model held now, which is let go before the next is loaded.
    """
    device, free = free_memory()
    free += held_bytes
    precision = resolve_precision(spec)
    sizes = _sizes(spec)
    name = describe(spec)
    where = "on the graphics card" if device == "cuda" else "in memory"
    if sizes is None:
        return Fit(
            {},
            free,
            device,
            precision,
            True,
            f"The size of {name} is not known until Hugging Face is reached. "
            f"{words(free)} are free {where}.",
        )
    linear, other, config = sizes
    working = _working_bytes(config, tokens, batch) + (0 if device == "cuda" else _PROCESS_BYTES)
    needed = _needed(linear, other, lambda held: working)
    fits = needed[precision] <= free
    need = f"{name} needs about {words(needed[precision])} in {_asked_words(precision)}"
    if fits:
        return Fit(
            needed, free, device, precision, True, f"{need}; {words(free)} are free {where}."
        )
    smaller = [p for p in PRECISIONS if needed[p] <= free]
    advice = (
        f"{PRECISIONS[smaller[-1]]} would fit ({words(needed[smaller[-1]])})."
        if smaller
        else "Choose a smaller model, or close other programs."
    )
    sentence = f"{need}, but only {words(free)} are free {where}. {advice}"
    return Fit(needed, free, device, precision, False, sentence)


# Bytes a token leaves behind in a layer until gradients have passed, for 16-bit numbers, by width
# of the layer and of its inner part (measured: 88 kB a layer in Qwen2-0.5B; 32-bit is twice that).
_KEPT_HIDDEN, _KEPT_WIDE = 38, 11
_LEAST_TOKENS = 512  # fewer at once make training slow


class TrainingRoom(NamedTuple):
    """tokens: how many are computed at once. again: layers are computed a second time on the way
    back instead of being kept, which takes half as long again and little memory."""

    tokens: int
    again: bool


def training_room(config: Mapping, precision: str, tokens: int, free_bytes: int) -> TrainingRoom:
    """The most tokens at once, up to `tokens`, that fit beside a loaded model; keeps layers if it
    can."""
    kept = training_token_bytes(config, precision, again=False)
    fits = int(0.8 * free_bytes / kept)
    if fits >= min(tokens, _LEAST_TOKENS):
        return TrainingRoom(min(tokens, fits), False)
    fits = int(0.8 * free_bytes / training_token_bytes(config, precision, again=True))
    return TrainingRoom(max(1, min(tokens, fits)), True)


def training_token_bytes(config: Mapping, precision: str, *, again: bool) -> int:
    """Working memory of one token while an adapter is trained. again: see TrainingRoom."""
    layers, hidden, wide = _shape(_text(config))
    size = 2 if precision == "fp32" else 1
    layer = size * (_KEPT_HIDDEN * hidden + _KEPT_WIDE * wide)
    return layers * size * 2 * hidden + layer if again else layers * layer


def fit_training(spec: ModelSpec, *, rank: int = 8, tokens: int = 4096, held_bytes: int = 0) -> Fit:
    """Would an adapter of this model fit while it is trained? Loads nothing.

    spec: the base with the precision it is tuned in. tokens: most computed at once; fewer are
    taken where there is little room. held_bytes: of a model that is let go of first.
    """
    device, free = free_memory()
    free += held_bytes
    precision = resolve_precision(spec)
    name = describe(replace(spec, adapter=None))
    where = "on the graphics card" if device == "cuda" else "in memory"
    sizes = _sizes(spec)
    if sizes is None:
        return Fit(
            {}, free, device, precision, True,
            f"The size of {name} is not known until Hugging Face is reached. "
            f"{words(free)} are free {where}.",
        )  # fmt: skip
    linear, other, config = sizes
    fixed = _adapter_bytes(config, rank) + (0 if device == "cuda" else _PROCESS_BYTES)
    least = min(tokens, _LEAST_TOKENS)
    needed = _needed(
        linear,
        other,
        lambda held: fixed + 1.25 * least * training_token_bytes(config, held, again=True),
    )
    del needed["int8"]  # is not tuned
    amount = words(needed[precision])
    need = f"Tuning {name} needs at least {amount} in {_asked_words(precision)}"
    fits = needed[precision] <= free
    if fits:
        sentence = f"{need}; {words(free)} are free {where}."
    else:
        smaller = [p for p in needed if needed[p] <= free]
        advice = (
            f"{PRECISIONS[smaller[-1]]} would fit ({words(needed[smaller[-1]])})."
            if smaller
            else "Tune a smaller model, or close other programs."
        )
        sentence = f"{need}, but only {words(free)} are free {where}. {advice}"
    return Fit(needed, free, device, precision, fits, sentence)


def _adapter_bytes(config: Mapping, rank: int) -> int:
    """An adapter on all linear layers while it is trained: weights, gradients and two moments in
    32 bits, and as much again while a checkpoint is written."""
    text = _text(config)
    layers, hidden, wide = _shape(text)
    heads, keys, head = _heads(text, hidden)
    query, key = heads * head, keys * head
    sides = 2 * (hidden + query) + 2 * (hidden + key) + 3 * (hidden + wide)
    return 28 * layers * rank * sides


def _text(config: Mapping) -> Mapping:
    """The part of a config that describes the language model."""
    text = config.get("text_config")
    return text if isinstance(text, dict) and text else config


def _size(text: Mapping, name: str, otherwise: int) -> int:
    """A size in a config, of one given layer by layer the largest; `otherwise` where none is."""
    said = text.get(name)
    sizes = said if isinstance(said, list) else [said]
    return max((size for size in sizes if type(size) is int and size > 0), default=otherwise)


def _shape(text: Mapping) -> tuple[int, int, int]:
    """Layers, width, and width of the inner part."""
    hidden = _size(text, "hidden_size", 4096)
    return (
        _size(text, "num_hidden_layers", 32),
        hidden,
        _size(text, "intermediate_size", 4 * hidden),
    )


def _heads(text: Mapping, hidden: int) -> tuple[int, int, int]:
    """Heads of queries, heads of keys and values, and width of a head."""
    heads = _size(text, "num_attention_heads", 32)
    keys = _size(text, "num_key_value_heads", heads)
    return heads, keys, _size(text, "head_dim", hidden // heads)


def _usual_config(linear: int) -> dict[str, int]:
    """A config for a model of which only the parameters in matrices are known.

    Llama 2's shape (32 layers of 4096 by 11,008 hold 6.5 billion) with all sides changed alike.
    """
    side = (linear / 6.5e9) ** (1 / 3)
    heads = max(1, round(32 * side))
    return {
        "num_hidden_layers": heads,
        "num_attention_heads": heads,
        "hidden_size": 128 * heads,
        "intermediate_size": 344 * heads,
    }


def _sizes(spec: ModelSpec) -> tuple[int, int, Mapping] | None:
    """(parameters in matrices, other parameters, config) from files here, the curated list, or what
    the hub told before."""
    try:
        folder = find(spec)
    except ModelError:
        return None
    if folder is not None:
        facts = weights(folder)
        if facts.quantised:  # it is loaded as stored: count its bytes as 8-bit parameters
            return 0, facts.stored_bytes // 2, facts.config
        return facts.linear, facts.other, facts.config
    records = json.loads((MODELS / "catalogue.json").read_text(encoding="utf-8"))["models"]
    for record in records:
        if record["source"] == spec.source:
            other = record["embedding_parameters"]
            linear = record["parameters"] - other
            return linear, other, _usual_config(linear)
    offered = hub.told(spec.source, spec.revision)
    if offered is None:
        return None
    if offered.config.get("quantization_config"):
        return 0, offered.size_bytes // 2, _usual_config(offered.size_bytes)
    parameters = offered.parameters or offered.size_bytes // 2
    linear = parameters - min(parameters // 4, 10**9)  # embeddings: a quarter of a small model
    return linear, parameters - linear, _usual_config(linear)


def to_fetch(spec: ModelSpec) -> str:
    """How much is downloaded before a model can be asked, "15.0 GB"; "" for one that is here."""
    try:
        if find(spec) is not None:
            return ""
    except ModelError:
        return ""
    size = next((e.size_bytes for e in _download_list() if e.source == spec.source), None)
    if size is None and (told := hub.told(spec.source, spec.revision)):
        size = told.size_bytes
    return words(size) if size else "its files"


def products_of(spec: ModelSpec) -> int | None:
    """Parameters a token is multiplied with (embeddings are looked up); None where not known."""
    sizes = _sizes(spec)
    return (sizes[0] or sizes[1]) if sizes else None


def _working_bytes(config: Mapping, tokens: int, batch: int) -> int:
    """Keys, values and activations while answering, for 16-bit numbers; generous."""
    text = _text(config)
    layers, hidden, wide = _shape(text)
    _, keys, head = _heads(text, hidden)
    kv = 2 * layers * keys * head * 2
    activations = (8 * hidden + 3 * wide) * 4
    vocabulary = _size(text, "vocab_size", 128_000) * 64 * 4
    return tokens * batch * kv + min(tokens * batch, 4096) * activations + vocabulary


def free_memory() -> tuple[str, int]:
    """("cuda" or "cpu", bytes free there): where models are loaded, asked without torch."""
    card = _card()
    if card:
        return "cuda", card.free_bytes
    import psutil

    return "cpu", psutil.virtual_memory().available


class _Card(NamedTuple):
    """A graphics card: bytes free, and its compute capability (8.6, …)."""

    free_bytes: int
    capability: float


def _card() -> _Card | None:
    """The card that models are loaded on, the first that this process may see; None if none is."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if visible in ("", "-1") or not _torch_has_cuda() or not shutil.which("nvidia-smi"):
        return None
    query = ["--query-gpu=memory.free,compute_cap", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(
            ["nvidia-smi", "-i", visible, *query],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.match(r"\s*(\d+),\s*(\d+\.\d+)", answer)
    return _Card(int(found[1]) * 1024**2, float(found[2])) if found else None


@lru_cache(maxsize=1)
def _torch_has_cuda() -> bool:
    """Is the torch installed here built for graphics cards? Read from its files, not imported."""
    found = find_spec("torch")
    if found is None or found.origin is None:
        return False
    facts = Path(found.origin).with_name("version.py").read_text(encoding="utf-8")
    return bool(re.search(r"^cuda\b[^=\n]*= *['\"]", facts, re.MULTILINE))


def words(size: float) -> str:
    """Bytes for people: 640 MB, 5.3 GB (1 GB = 1024³ bytes)."""
    if size < GIB:
        return f"{max(1, round(size / 1024**2))} MB"
    return f"{size / GIB:.1f} GB" if size < 100 * GIB else f"{size / GIB:.0f} GB"
