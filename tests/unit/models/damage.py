"""Folders of models as they arrive broken: each row changes a sound one, and loading says why."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests import tiny

Damage = Callable[[Path], None]
WEIGHTS = "model.safetensors"


def settings(folder: Path, file: str = "config.json", **changes) -> None:
    """Change settings in a JSON file of a folder; ... takes one out."""
    path = folder / file
    record = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in record.items() if v is not ...}))


def written(folder: Path, file: str, text: str | bytes) -> None:
    (folder / file).write_bytes(text.encode() if isinstance(text, str) else text)


def template(folder: Path, text: str) -> None:
    written(folder, "chat_template.jinja", text)


def named_templates(folder: Path, *names: str) -> None:
    (folder / "chat_template.jinja").unlink()
    listed = [{"name": name, "template": tiny.LLAMA3} for name in names]
    settings(folder, "tokenizer_config.json", chat_template=listed)


def cut(folder: Path, left: float) -> None:
    data = (folder / WEIGHTS).read_bytes()
    written(folder, WEIGHTS, data[: int(len(data) * left)])


def header(folder: Path, change: Callable[[dict], None]) -> None:
    """Rewrite the header of the weight file; what it points at stays."""
    data = (folder / WEIGHTS).read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    record = json.loads(data[8 : 8 + size])
    change(record)
    text = json.dumps(record).encode()
    text += b" " * (-len(text) % 8)
    written(folder, WEIGHTS, struct.pack("<Q", len(text)) + text + data[8 + size :])


def renamed(folder: Path, name: str, to: str) -> None:
    def change(record: dict) -> None:
        record[to] = record.pop(name)

    header(folder, change)


def value(folder: Path, name: str, number: float) -> None:
    """One value of a tensor, in the middle of it."""
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / WEIGHTS)
    flat = weights[name].view(-1)
    flat[len(flat) // 2] = number
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def without(folder: Path, part: str) -> None:
    """Leave out the tensors with a part in their names."""
    from safetensors.torch import load_file, save_file

    weights = {n: w for n, w in load_file(folder / WEIGHTS).items() if part not in n}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def vocabulary(folder: Path, change: Callable[[dict], None]) -> None:
    record = json.loads((folder / "tokenizer.json").read_text())
    change(record)
    written(folder, "tokenizer.json", json.dumps(record))


def larger_tokenizer(folder: Path) -> None:
    tiny.tokenizer("llama", vocab_size=900).save_pretrained(folder)


def fifo(folder: Path, file: str) -> None:
    (folder / file).unlink(missing_ok=True)
    os.mkfifo(folder / file)


def endless(folder: Path, file: str) -> None:
    (folder / file).unlink(missing_ok=True)
    (folder / file).symlink_to("/dev/zero")


LAYER = "model.layers.1."
DOWN = f"{LAYER}mlp.down_proj.weight"
DEEP = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"

# What to do to the folder, and what the sentence must hold.
DAMAGES: dict[str, tuple[Damage, str]] = {
    # weights
    "a tensor renamed": (partial(renamed, name="lm_head.weight", to="head"), "lm_head.weight"),
    "a matrix missing": (partial(without, part=DOWN), DOWN),
    "a layer missing": (partial(without, part=LAYER), LAYER),
    "the embeddings missing": (partial(without, part="embed_tokens"), "embed_tokens"),
    "a norm missing": (partial(without, part="model.norm"), "model.norm.weight"),
    "too few layers": (partial(settings, num_hidden_layers=5), "model.layers.3."),
    "too many layers": (partial(settings, num_hidden_layers=2), "model.layers.2."),
    "NaN": (partial(value, name=DOWN, number=float("nan")), DOWN),
    "infinity": (partial(value, name="model.norm.weight", number=float("inf")), "model.norm"),
    "cut in half": (partial(cut, left=0.5), "damaged"),
    "cut in the header": (partial(cut, left=0.001), "damaged"),
    "empty weights": (partial(cut, left=0), "damaged"),
    "weights of zeros": (partial(written, file=WEIGHTS, text=b"\0" * 4096), "damaged"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "no .safetensors"),
    "a fifo for weights": (partial(fifo, file=WEIGHTS), "ordinary file"),
    # config.json
    "an empty config": (partial(written, file="config.json", text=""), "config.json"),
    "a list for a config": (partial(written, file="config.json", text="[1]"), "config.json"),
    "half a config": (partial(written, file="config.json", text='{"model_type": "lla'), "config"),
    "an endless config": (partial(endless, file="config.json"), "ordinary file"),
    "no model type": (partial(settings, model_type=...), "model type"),
    "another model type": (partial(settings, model_type="no_such"), ""),
    "a number for a model type": (partial(settings, model_type=3), ""),
    "no heads": (partial(settings, num_attention_heads=0), ""),
    "three heads": (partial(settings, num_attention_heads=3), ""),
    "three heads for keys": (partial(settings, num_key_value_heads=3), ""),
    "no heads for keys": (partial(settings, num_key_value_heads=0), ""),
    "heads in words": (partial(settings, num_attention_heads="four"), ""),
    "no layers": (partial(settings, num_hidden_layers=0), "model.layers.0."),
    "layers below zero": (partial(settings, num_hidden_layers=-1), ""),
    "layers in a list": (partial(settings, num_hidden_layers=[3]), ""),
    "another width": (partial(settings, hidden_size=128), ""),
    "no width": (partial(settings, hidden_size=0), ""),
    "another inner width": (partial(settings, intermediate_size=64), ""),
    "a smaller vocabulary": (partial(settings, vocab_size=600), "lm_head"),
    "a larger vocabulary": (partial(settings, vocab_size=900), "lm_head"),
    "no vocabulary": (partial(settings, vocab_size=0), ""),
    "another activation": (partial(settings, hidden_act="no_such"), ""),
    "no activation": (partial(settings, hidden_act=None), ""),
    "another rope": (partial(settings, rope_parameters={"rope_type": "no_such"}), ""),
    "a rope that is a list": (partial(settings, rope_parameters=["default"]), ""),
    "half a yarn": (partial(settings, rope_parameters={"rope_type": "longrope"}), ""),
    "no base of the rope": (
        partial(settings, rope_parameters={"rope_type": "default", "rope_theta": 0}), ""
    ),
    "quantised by a list": (partial(settings, quantization_config=[1]), ""),
    "an epsilon in words": (partial(settings, rms_norm_eps="small"), ""),
    "a padding token out of range": (partial(settings, pad_token_id=5000), ""),
    # tokenizer
    "an empty tokenizer": (partial(written, file="tokenizer.json", text=""), ""),
    "a tokenizer of nothing": (partial(written, file="tokenizer.json", text="{}"), ""),
    "a list for a tokenizer": (partial(written, file="tokenizer.json", text="[]"), ""),
    "half a tokenizer": (partial(written, file="tokenizer.json", text='{"version": "1'), ""),
    "a tokenizer without a model": (
        partial(vocabulary, change=lambda record: record.pop("model")), ""
    ),
    "no words": (
        partial(vocabulary, change=lambda r: r["model"].update(vocab={}, merges=[])), ""
    ),
    "a larger tokenizer": (larger_tokenizer, "tokenizer knows"),
    "an endless tokenizer": (partial(endless, file="tokenizer.json"), "ordinary file"),
    "no tokenizer": (
        lambda f: [(f / n).unlink() for n in ("tokenizer.json", "tokenizer_config.json")],
        "no tokenizer",
    ),
    "a list for its settings": (partial(written, file="tokenizer_config.json", text="[]"), ""),
    "another tokenizer class": (
        partial(settings, file="tokenizer_config.json", tokenizer_class=5), ""
    ),
    # chat template
    "named templates": (lambda folder: named_templates(folder, "tool_use", "rag"), "rag, tool_use"),
    "division by zero": (partial(template, text="{{ 1 / 0 }}"), "ZeroDivisionError"),
    "an import": (partial(template, text="{% import 'os' as os %}"), "chat template"),
    "an include": (partial(template, text="{% include '/etc/passwd' %}"), "chat template"),
    "no end of itself": (partial(template, text=DEEP), "RecursionError"),
    "half a template": (partial(template, text="{% for m in messages %}"), "chat template"),
    "another filter": (partial(template, text="{{ messages | no_such }}"), "chat template"),
    "a way out": (partial(template, text="{{ messages.__class__.__mro__[1] }}"), "chat template"),
    "a call of nothing": (partial(template, text="{{ nothing() }}"), "chat template"),
    "text and number": (partial(template, text="{{ 'a' + 1 }}"), "chat template"),
    "nothing written": (partial(template, text="{# nothing #}"), "reads no words"),
    "a template for others": (
        partial(template, text="{{ raise_exception('Only for tools') }}"), "Only for tools"
    ),
    "loops without end": (
        partial(template, text="{% for a in range(99999) %}{% for b in range(99999) %}"
                               "{% endfor %}{% endfor %}"), "come to an end"
    ),
    "text without end": (
        partial(template, text="{% set n = namespace(s='ab') %}{% for a in range(99) %}"
                               "{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}"), "memory"
    ),
    "a power": (partial(template, text="{{ 9 ** (9 ** 9) }}"), "come to an end"),
    "a long text": (partial(template, text="{{ 'long ' * 1000000 }}"), "characters"),
    # whole files
    "a fifo for a card": (partial(fifo, file="README.md"), "ordinary file"),
    "an endless template": (partial(endless, file="chat_template.jinja"), "ordinary file"),
}  # fmt: skip
