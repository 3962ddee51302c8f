"""What an adapter's adapter_config.json says: each setting is used, changes nothing, or is refused.

Nothing here loads torch: tensors are known by their names and shapes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from core.errors import ModelError
from core.models.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, is_adapter
from core.models.files import Tensor, read_header
from core.ordinary_files import read_ordinary
from core.sanitize import parse_object

MOST_NAMES = 2_000
NAME = re.compile(r"[\w.-]{1,200}")
PATTERN = re.compile(r"[\w.^$\\-]{1,200}")  # nothing that could take for ever to match

Layers = dict[str, dict[str, tuple[int, ...]]]


class Adapter(NamedTuple):
    """An adapter's settings and what its file holds.

    config: for peft's LoraConfig. layers: of each layer with LoRA weights the shapes of lora_A,
    lora_B and whatever else it has there. whole: all other tensors, which take the place of the
    base's own. leaves_base: taking it off gives back the very base, bit for bit.
    """

    config: dict[str, Any]
    layers: Layers
    whole: dict[str, Tensor]

    @property
    def leaves_base(self) -> bool:
        more = ("modules_to_save", "trainable_token_indices", "target_parameters")
        config = self.config
        plain = config.get("bias", "none") == "none" and not any(config.get(key) for key in more)
        return plain and not self.whole


def read(folder: Path) -> Adapter:
    """Raises ModelError that says what is wrong with it."""
    if not is_adapter(folder):
        raise ModelError(
            f"{folder} is not an adapter: it needs {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}."
        )
    try:
        said = parse_object(read_ordinary(folder / ADAPTER_CONFIG))
    except (OSError, ValueError) as error:
        raise ModelError(f"The adapter {folder.name} cannot be read: {error}") from error
    header = read_header(folder / ADAPTER_WEIGHTS)
    wrong = problem(said) or tensors_problem(said, header)
    if wrong:
        raise ModelError(f"The adapter {folder.name} cannot be put on: {wrong}")
    layers, whole = split(header)
    return Adapter(_used(said, layers), layers, whole)


# -- settings --------------------------------------------------------------------------------------

TEXT = ("base_model_name_or_path", "revision", "task_type", "peft_version", "peft_type")


def _number(low: float, high: float) -> Callable[[object], bool]:
    return lambda v: _is_number(v) and math.isfinite(v) and low <= v <= high


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rank(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 4096


def _names(value: object) -> bool:
    listed = [value] if isinstance(value, str) else value
    return (
        isinstance(listed, list)
        and len(listed) <= MOST_NAMES
        and all(isinstance(name, str) and NAME.fullmatch(name) for name in listed)
    )


def _places(value: object) -> bool:
    listed = value if isinstance(value, list) else [value]
    return len(listed) <= 1_000_000 and all(
        isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in listed
    )


def _tokens(value: object) -> bool:
    if isinstance(value, dict):
        return _names(list(value)) and all(_places(one) for one in value.values())
    return _places(value)


def _by_pattern(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, dict)
        and len(value) <= MOST_NAMES
        and all(_pattern(pattern) and fits(one) for pattern, one in value.items())
    )


def _pattern(text: str) -> bool:
    try:
        return bool(PATTERN.fullmatch(text) and re.compile(text))
    except re.error:
        return False


def _yes_or_no(value: object) -> bool:
    return isinstance(value, bool)


def _a_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 2_000


_alpha = _number(0.0, 65_536.0)

# Settings that are used, and what they may be.
USED: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(TEXT, _a_text),
    "r": _rank,
    "lora_alpha": _alpha,
    "lora_dropout": lambda value: _number(0.0, 1.0)(value) and value < 1,
    "bias": lambda value: value in ("none", "all", "lora_only"),
    "rank_pattern": _by_pattern(_rank),
    "alpha_pattern": _by_pattern(_alpha),
    **dict.fromkeys(
        ("fan_in_fan_out", "use_rslora", "use_dora", "lora_bias", "ensure_weight_tying"), _yes_or_no
    ),
    **dict.fromkeys(("modules_to_save", "target_parameters"), _names),
    "trainable_token_indices": _tokens,
}
# Which layers it belongs to, by rules. Where one of these is more than names, the names of the
# tensors tell instead, and no rule of a stranger is matched against anything.
RULES = ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern")
# How it was trained, or how its weights began: they are there now.
HARMLESS = {
    *("inference_mode", "auto_mapping", "runtime_config", "qalora_group_size", "velora_config"),
    *("megatron_config", "megatron_core", "loftq_config", "eva_config", "corda_config"),
    "lora_ga_config",
}
BEGINNINGS = (True, False, "gaussian", "eva", "orthogonal")


# Why: docs/decisions.md, "A setting of an adapter is used, harmless or refused."
def problem(said: Mapping[str, Any]) -> str:
    """Why an adapter with these settings cannot be put on, in a sentence; "" where it can."""
    if said.get("peft_type") != "LORA":
        kind = said.get("peft_type") or "its settings cannot be read"
        return f"it is not a LoRA adapter ({str(kind)[:100]}). Other kinds cannot be put on here."
    beginning = said.get("init_lora_weights", True)
    if beginning is not None and beginning not in BEGINNINGS:
        return (
            f"putting it on changes its model's own weights (init_lora_weights "
            f"{str(beginning)[:50]!r}). Convert it to plain LoRA with PEFT "
            "(path_initial_model_for_weight_conversion)."
        )
    if not isinstance(said.get("r"), int):
        return "its settings are not those of a LoRA adapter: they have no rank (r)."
    for key, value in said.items():
        if value is None or key in HARMLESS or key == "init_lora_weights":
            continue
        if key in USED:
            if not USED[key](value):
                return f"its settings are not those of a LoRA adapter: {key} is {_shown(value)}."
        elif key in RULES:
            if not isinstance(value, str | list | int) or _endless(str(value)):
                return f"its settings are not those of a LoRA adapter: {key} is {_shown(value)}."
        elif value not in (False, [], {}, ""):
            return f"its setting {key[:80]} ({_shown(value)}) is not known here."
    return ""


def _endless(rule: str) -> bool:
    """Could matching it take for ever? No rule is matched here; but the file may be handed on."""
    return len(rule) > 200_000 or bool(re.search(r"[*+}]\)[*+{]", rule))


def _shown(value: object) -> str:
    return json.dumps(value, default=str)[:60]


def _used(said: Mapping[str, Any], layers: Layers) -> dict[str, Any]:
    used = {key: said[key] for key in USED if said.get(key) is not None}
    modules = said.get("target_modules")
    if layers and not said.get("target_parameters") and _by_rule(said):
        modules = sorted(layers)
    return {**used, "target_modules": modules}


def _by_rule(said: Mapping[str, Any]) -> bool:
    """Are its layers told by more than the ends of their names?"""
    more = any(said.get(key) not in (None, [], "") for key in RULES[1:])
    listed = said.get("target_modules")
    return more or not isinstance(listed, list) or not _names(listed)


# -- tensors ---------------------------------------------------------------------------------------

_LORA = re.compile(
    r"base_model\.model\.(.+?)\."
    r"(lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector)(\.weight|\.bias)?"
)


def split(header: Mapping[str, Tensor]) -> tuple[Layers, dict[str, Tensor]]:
    """The LoRA tensors by layer, and the others by name."""
    layers: Layers = {}
    whole = {}
    for name, tensor in header.items():
        if match := _LORA.fullmatch(name):
            part = match[2] + (".bias" if match[3] == ".bias" else "")
            layers.setdefault(match[1], {})[part] = tensor.shape
        else:
            whole[name] = tensor
    return layers, whole


def tensors_problem(said: Mapping[str, Any], header: Mapping[str, Tensor]) -> str:
    """Why the tensors are not those of the settings, in a sentence; "" where they are."""
    layers, _ = split(header)
    if not header:
        return "it holds no weights."
    for name, tensor in header.items():
        if tensor.dtype not in ("F32", "F16", "BF16"):
            return f"its weights {name[:120]} are stored as {tensor.dtype}."
    if said.get("target_parameters"):
        return ""  # of several experts at once; peft looks at their shapes
    for layer, shapes in layers.items():
        a, b = pair(shapes)
        if len(a) < 2 or len(b) < 2 or a[0] != b[1]:
            return f"its weights of {layer[:120]} do not fit each other."
        rank = _rank_of(layer, said)
        if a[0] != rank:
            return f"its weights of {layer[:120]} have rank {a[0]}, and its settings say {rank}."
        if bool(said.get("use_dora")) != ("lora_magnitude_vector" in shapes):
            return f"its settings (use_dora) are not those of its weights of {layer[:120]}."
    return ""


def pair(shapes: Mapping[str, tuple[int, ...]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shapes of A and B of a layer, which may be one of embeddings."""
    kind = "lora_embedding" if "lora_embedding_A" in shapes else "lora"
    return shapes.get(f"{kind}_A", ()), shapes.get(f"{kind}_B", ())


def _rank_of(layer: str, said: Mapping[str, Any]) -> int:
    """As peft finds it: the first pattern that a layer's name ends in."""
    for pattern, rank in (said.get("rank_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", layer):
            return rank
    return said["r"]
