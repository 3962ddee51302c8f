"""Put an adapter's layers into a model, and take them out again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.models.adapter_settings import Adapter, pair


def put_on(model: Any, folder: Path, adapter: Adapter) -> Any:
    """The model with an adapter on; its modules hold the adapter from here on. Raises as PEFT."""
    from peft import LoraConfig, PeftModel

    try:
        with _packed_as_is(model):
            tuned = PeftModel.from_pretrained(
                model, folder, config=LoraConfig(**adapter.config), is_trainable=False
            )
    except BaseException:
        _strip(model)
        raise
    return tuned.eval()


def misfit(model: Any, adapter: Adapter) -> str:
    """Where an adapter's layers are not those of a model, in words; "" where they fit."""
    modules = dict(model.named_modules())
    if adapter.config.get("target_parameters"):
        return ""
    for layer, shapes in adapter.layers.items():
        module = modules.get(layer)
        if module is None:
            return f"that model has no layer {layer[:120]}"
        wide = _sides(module)
        a, b = pair(shapes)
        if wide and wide != (b[0], a[1]):
            return (
                f"its layer {layer[:120]} is {b[0]} by {a[1]}, and the model's {wide[0]} by "
                f"{wide[1]}"
            )
    return ""


def _sides(module: Any) -> tuple[int, int] | None:
    """How many values leave a layer, and how many come in."""
    for out, into in (("out_features", "in_features"), ("embedding_dim", "num_embeddings")):
        if hasattr(module, out):
            return getattr(module, out), getattr(module, into)
    if hasattr(module, "nf"):  # GPT-2's layers
        return module.nf, module.weight.shape[0]
    return None


def in_place(tuned: Any, adapter: Adapter) -> bool:
    """Did every tensor of the file find its place, and every place a tensor? peft only warns."""
    places = {_stored_name(name) for name, _ in tuned.named_parameters()}
    lora = {name for name in places if ".lora_" in name}
    stored = {
        _stored_name(f"base_model.model.{layer}.{part}")
        for layer, shapes in adapter.layers.items()
        for part in shapes
    }
    return lora == stored and places >= {_stored_name(name) for name in adapter.whole}


def _stored_name(name: str) -> str:
    """A parameter's name as an adapter's file has it, without the ending of weights."""
    for part in (".modules_to_save.default", ".default"):
        name = name.replace(part, "")
    return name.removesuffix(".weight")


@contextmanager
def _packed_as_is(model: Any) -> Iterator[None]:
    """Within, reading a 4-bit model's state leaves its weights alone.

    On a CPU bitsandbytes repacks 4-bit weights at the first forward, and unpacks them, with a loss
    (its scales go through bf16), whenever state_dict() is called, as peft does to find its place:
    the base would answer a little differently ever after (measured: log-probabilities off by 0.2).
    """
    states = [getattr(weight, "quant_state", None) for weight in model.parameters()]
    packed = [s for s in states if getattr(s, "packing_format_for_cpu", False)]
    for state in packed:
        state.packing_format_for_cpu = False
    try:
        yield
    finally:
        for state in packed:
            state.packing_format_for_cpu = True


def _strip(model: Any) -> None:
    """Take a half-attached adapter out of a base."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, module.get_base_layer())
    for attribute in ("peft_config", "_hf_peft_config_loaded"):
        model.__dict__.pop(attribute, None)
