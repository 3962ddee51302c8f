"""Which models there are, where they lie, and whether one fits this machine. Never loads torch.

Three kinds are kept apart: the built-in model, models on this machine, models to download.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from core.errors import ModelError
from core.home import home
from core.models import hub
from core.models.adapters import ADAPTER_RECORD, adapter_title
from core.models.files import (
    Weights,
    check,
    family_of,
    has_chat_template,
    problem,
    read_config,
    read_json,
    weights,
)
from core.models.spec import (
    BUILTIN,
    BUILTIN_NAME,
    HUB_ID,
    MODELS,
    TEACHING,
    ModelSpec,
    typed_path,
)
from core.ordinary_files import read_ordinary


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
    return hub.no_room(entry.source, entry.size_bytes, hub_caches(home())[0])


def at(folder: Path) -> Entry:
    """The model in a folder anywhere on this machine."""
    return _entry_of_folder(folder, "here", str(folder), folder.name)


def to_download() -> list[Entry]:
    """The curated list of open chat models, smallest first. Any other hub id works as well."""
    return list(download_list())


@lru_cache(maxsize=1)
def download_list() -> tuple[Entry, ...]:
    records = json.loads((MODELS / "catalogue.json").read_text(encoding="utf-8"))["models"]
    fields = ("source", "name", "family", "parameters", "size_bytes", "licence", "gated")
    entries = [
        Entry("download", **{k: r[k] for k in fields}, languages=r["languages"], note=r["note"])
        for r in records
    ]
    return tuple(sorted(entries, key=lambda entry: entry.parameters))


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


def can_delete(entry: Entry, home: Path) -> bool:
    """True for a model that lies in Pluriscope's own models folder."""
    return entry.path is not None and _kept_in(entry.path, home / "models") is not None


def delete(entry: Entry, home: Path) -> None:
    """Remove a model's files from `home`/models. Models that lie elsewhere are left alone."""
    folder = _kept_in(entry.path, home / "models") if entry.path else None
    if folder is None:
        raise ModelError(f"{entry.name} lies outside Pluriscope's models folder; it stays.")
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
        known = {entry.source: entry.name for entry in download_list()}
        name = known.get(spec.source) or Path(spec.source).name
    if not spec.adapter:
        return name
    title = adapter_title(typed_path(spec.adapter))
    return title if title.startswith((f"{name}, ", f"{name}: ")) else f"{name} + {title}"


# -- where a model lies ----------------------------------------------------------------------------


def hub_caches(home: Path) -> list[Path]:
    """Hugging Face caches to look in: our own, then the user's."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return [home / "models" / "hub", Path(HF_HUB_CACHE)]


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

    for cache in hub_caches(home()):
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


def _entry_of_folder(path: Path, kind: str, source: str, name: str) -> Entry:
    trouble = problem(path)
    if trouble:
        return Entry(kind, source, name, path=path, problem=trouble)
    facts = weights(path)
    return Entry(
        kind=kind,
        source=source,
        name=name,
        family=family_of(facts.config),
        parameters=facts.parameters,
        size_bytes=facts.stored_bytes,
        path=path,
        licence=_licence(path),
        note=_note(path, facts),
    )


def _licence(folder: Path) -> str:
    """The licence that a model's card names in its front matter; "" where there is none."""
    try:
        card = read_ordinary(folder / "README.md")[:20_000].decode(errors="replace")
    except OSError:
        return ""
    front = re.match(r"---\s*\n(.*?)\n---", card, re.DOTALL)
    named = dict(
        re.findall(r"^(license(?:_name)?): *[\"']?([^\"'\n]+)", front[1] if front else "", re.M)
    )
    return hub.licence_words(**{key: said.strip() for key, said in named.items()})


def _note(path: Path, facts: Weights) -> str:
    if facts.quantised:
        return f"Already quantised ({facts.quantised}); it is loaded as it is."
    if not has_chat_template(path):
        return "No chat template: it cannot be asked. Look for its instruct or chat version."
    return TEACHING if _is_teaching(path) else ""


def _cached(cache: Path) -> list[Entry]:
    """Complete language models with safetensors in a Hugging Face cache, one per repository."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir(cache).repos
    except (CacheNotFound, OSError, ValueError):
        return []
    known = {entry.source: entry for entry in download_list()}
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
