"""Are a model's weights all there, and numbers? What transformers would make up is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from core import wording
from core.errors import ModelError
from core.models.files import Files, files_in, weight_files

_finite_in: set[Files] = set()  # folders read in this process, as their files lay there


def check_numbers(folder: Path, name: str) -> None:
    """Refuse weights that hold NaN or an infinity. One pass over the files, once a process.

    On the files, since 4-bit and 8-bit weights would no longer show it.
    """
    files = files_in(folder)
    if files in _finite_in:
        return
    for file in weight_files(folder):
        check_numbers_of(file, name)
    _finite_in.add(files)


def check_numbers_of(file: Path, name: str) -> None:
    with safe_open(file, framework="pt") as opened:
        for tensor in opened.keys():  # noqa: SIM118
            if not _finite(opened.get_tensor(tensor)):
                raise ModelError(
                    f"{name} could not be loaded: its weights {tensor} ({file.name}) hold values "
                    "that are no numbers. Download it again."
                )


def _finite(tensor: torch.Tensor) -> bool:
    """Least and greatest show it: NaN is both. 0.07 s a GB, where isfinite takes 4 s in bf16."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    if tensor.element_size() == 1:  # 8-bit floats cannot be compared
        tensor = tensor.to(torch.float16)
    return bool(torch.isfinite(torch.stack(torch.aminmax(tensor))).all())


# Why: docs/decisions.md, "Weights that are not in the files are never made up."
def check_fit(model: Any, found: Mapping[str, Any], name: str) -> None:
    """Refuse a model that is not all in its files, or whose files hold more layers than it.

    found: what transformers tells of reading them (output_loading_info).
    """
    wrong = [*sorted(found["missing_keys"]), *sorted(str(k[0]) for k in found["mismatched_keys"])]
    if wrong:
        raise ModelError(
            f"{name} could not be loaded: its files lack the weights {_listed(wrong)}, or have "
            "them in another shape than config.json says. Get a whole copy of the model."
        )
    if more := _left_over(model, found["unexpected_keys"]):
        raise ModelError(
            f"{name} could not be loaded: its files hold the weights {_listed(more)}, which the "
            "model that config.json describes has no place for. Get a whole copy of the model."
        )
    if found["error_msgs"]:
        raise ModelError(f"{name} could not be loaded: {str(found['error_msgs'][0])[:300]}")


def _left_over(model: Any, unexpected: Iterable[str]) -> list[str]:
    """Of the weights without a place those of a layer that the model has, or has fewer of.

    Others belong to parts that are not asked (vision, drafting) or were stored needlessly.
    """
    owners = {_any_layer(name.rpartition(".")[0]) for name, _ in model.named_parameters()}
    modules = dict(model.named_modules())
    drafting = getattr(model.config, "num_nextn_predict_layers", None)

    def beyond(name: str) -> bool:
        match = re.match(r"(.+?)\.(\d+)\.", name)
        return bool(match) and match[1] in modules and f"{match[1]}.{match[2]}" not in modules

    def belongs(name: str) -> bool:
        if beyond(name):
            return not drafting
        return _any_layer(name.rpartition(".")[0]) in owners

    return sorted(filter(belongs, unexpected))


def _any_layer(name: str) -> str:
    return re.sub(r"\.\d+(?=\.|$)", ".#", name)


def _listed(names: list[str]) -> str:
    more = f" and {wording.count(len(names) - 1, 'other')}" if len(names) > 1 else ""
    return f"{names[0][:200]}{more}"
