"""Put an adapter's layers into a model, and take them out again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def put_on(model: Any, folder: Path) -> Any:
    """The model with an adapter on; its modules hold the adapter from here on. Raises as PEFT."""
    from peft import PeftModel

    try:
        with _packed_as_is(model):
            return PeftModel.from_pretrained(model, folder, is_trainable=False).eval()
    except BaseException:
        _strip(model)
        raise


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
