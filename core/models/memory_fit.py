"""Does a model fit into memory, to be asked or to be tuned, and in which precision?"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pynvml

from core import wording
from core.errors import ModelError
from core.models import hub
from core.models.catalogue import describe, download_list, find
from core.models.files import weights
from core.models.spec import MODELS, PRECISIONS, ModelSpec, precision_words, resolve_precision


class Fit(NamedTuple):
    """Does a model fit? needed_bytes by precision, working memory included (empty if its size is
    unknown). precision is the one the spec comes to. sentence is for people."""

    needed_bytes: dict[str, int]
    free_bytes: int
    device: str
    precision: str
    fits: bool
    sentence: str


# Why: docs/decisions.md, "What is estimated is what is loaded."
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
            f"{wording.memory(free)} are free {where}.",
        )
    linear, other, config = sizes
    working = _working_bytes(config, tokens, batch) + (0 if device == "cuda" else _PROCESS_BYTES)
    needed = _needed(linear, other, lambda held: working)
    fits = needed[precision] <= free
    need = f"{name} needs about {wording.memory(needed[precision])} in {_asked_words(precision)}"
    if fits:
        return Fit(
            needed,
            free,
            device,
            precision,
            True,
            f"{need}; {wording.memory(free)} are free {where}.",
        )
    smaller = [p for p in PRECISIONS if needed[p] <= free]
    advice = (
        f"{PRECISIONS[smaller[-1]]} would fit ({wording.memory(needed[smaller[-1]])})."
        if smaller
        else "Choose a smaller model, or close other programs."
    )
    sentence = f"{need}, but only {wording.memory(free)} are free {where}. {advice}"
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
            f"{wording.memory(free)} are free {where}.",
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
    amount = wording.memory(needed[precision])
    need = f"Tuning {name} needs at least {amount} in {_asked_words(precision)}"
    fits = needed[precision] <= free
    if fits:
        sentence = f"{need}; {wording.memory(free)} are free {where}."
    else:
        smaller = [p for p in needed if needed[p] <= free]
        advice = (
            f"{PRECISIONS[smaller[-1]]} would fit ({wording.memory(needed[smaller[-1]])})."
            if smaller
            else "Tune a smaller model, or close other programs."
        )
        sentence = f"{need}, but only {wording.memory(free)} are free {where}. {advice}"
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
    size = next((e.size_bytes for e in download_list() if e.source == spec.source), None)
    if size is None and (told := hub.told(spec.source, spec.revision)):
        size = told.size_bytes
    return wording.memory(size) if size else "its files"


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
    if visible in ("", "-1") or not _torch_has_cuda():
        return None
    try:
        pynvml.nvmlInit()
        if visible.isdigit():
            card = pynvml.nvmlDeviceGetHandleByIndex(int(visible))
        else:
            card = pynvml.nvmlDeviceGetHandleByUUID(visible)
        free = pynvml.nvmlDeviceGetMemoryInfo(card).free
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(card)
    except pynvml.NVMLError:
        return None
    return _Card(int(free), major + minor / 10)


@lru_cache(maxsize=1)
def _torch_has_cuda() -> bool:
    """Is the torch installed here built for graphics cards? Read from its files, not imported."""
    found = find_spec("torch")
    if found is None or found.origin is None:
        return False
    facts = Path(found.origin).with_name("version.py").read_text(encoding="utf-8")
    return bool(re.search(r"^cuda\b[^=\n]*= *['\"]", facts, re.MULTILINE))
