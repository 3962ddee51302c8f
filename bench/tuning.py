"""How fast adapters are trained: beside transformers' own Trainer with PEFT, on the same batches.

    python -m bench.tuning [--steps 8] [--batch 32] [--countries 6] [--threads 2] [--cpu-time]

A random model of Qwen2-0.5B's shape in bf16 is written to a temporary folder and tuned by each in a
process of its own: survey questions asked as people of some countries, the commonest answer taught,
the loss on the answer alone. The Trainer takes them as the CultureSPA study does (padded batches of
4, gradient accumulation). Both start from the same adapter and see the same batches in the same
order. Where a graphics card is at hand, a model of Llama-3-8B's shape is tuned as well, in 4-bit.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import engine
from core.models.load import Loaded, chat, load, wrap
from core.models.spec import ModelSpec
from core.prompts.prompt_sets import load_prompt_set
from core.prompts.render import render
from core.survey.survey import load_bundled
from core.tuning.settings import Lora

ROOT = Path(__file__).resolve().parent.parent
SEED = 42
PER_DEVICE = 4  # the study's batch on its card; the rest is gradient accumulation
CONTESTANTS = ("ours", "trainer")


# -- what is learned -------------------------------------------------------------------------------


def write_examples(path: Path, count: int, countries: int) -> None:
    """People's commonest answers to survey questions, drawn from the study's first countries."""
    survey, texts = load_bundled(), load_prompt_set()
    chosen = [c for c in survey.cultures if c.in_culturespa][:countries]
    cells = [
        (culture, item)
        for culture in chosen
        for item in survey.items
        if (culture.iso3, item.id) in survey.shares
    ]
    drawn = np.random.default_rng(SEED).choice(len(cells), count, replace=count > len(cells))
    with open(path, "w", encoding="utf-8") as file:
        for place in drawn:
            culture, item = cells[place]
            prompt = render(item, texts, "country", culture)
            shares = survey.shares[culture.iso3, item.id].values
            best = prompt.codes.index(item.codes[int(np.argmax(shares))])
            target = np.eye(len(prompt.labels))[best].tolist()
            line = {
                "messages": list(prompt.messages),
                "labels": list(prompt.labels),
                "target": target,
            }
            file.write(json.dumps(line) + "\n")


def write_model(folder: Path, examples: Path) -> None:
    lines = [json.loads(line) for line in examples.read_text(encoding="utf-8").splitlines()]
    words = engine.tokenizer([m["content"] for line in lines for m in line["messages"]])
    loaded = engine.qwen_half_billion(words)
    loaded.model.save_pretrained(folder)
    words.save_pretrained(folder)


# -- the contestants, each in a process of its own -------------------------------------------------


def ours(folder: Path, lora: Lora) -> dict[str, Any]:
    from core.tuning.train import load_base, train

    spec = ModelSpec(str(folder / "model"), precision="bf16")
    base = load_base(spec, lora)
    clock, seen = engine.clock, []
    began = clock()
    trained = train(
        spec,
        folder / "examples.jsonl",
        lora,
        folder / "ours",
        seed=SEED,
        base=base,
        on_step=lambda step: seen.append((clock(), step)),
    )
    times = np.diff([began, *(when for when, _ in seen)])
    return {
        "losses": [step.loss for _, step in seen],
        "seconds": times.tolist(),
        "facts": {k: trained.facts[k] for k in ("tokens_at_once", "tokens", "distinct_tokens")},
    }


def trainer(folder: Path, lora: Lora) -> dict[str, Any]:
    from peft import get_peft_model
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from core.tuning.train import chosen, lora_config

    loaded = load(ModelSpec(str(folder / "model"), precision="bf16"))
    rows = [
        row(loaded, json.loads(line))
        for line in (folder / "examples.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    order = [i for s in range(lora.steps(len(rows))) for i in chosen(len(rows), lora, SEED, s)]
    torch.manual_seed(SEED)
    model = get_peft_model(loaded.model, lora_config(lora))
    clock, ends, losses = engine.clock, [], []

    class Watch(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(clock())

        def on_log(self, args: Any, state: Any, control: Any, logs: dict, **_: Any) -> None:
            if "loss" in logs:
                losses.append(float(logs["loss"]))

    arguments = TrainingArguments(
        str(folder / "trainer"),
        per_device_train_batch_size=PER_DEVICE,
        gradient_accumulation_steps=lora.batch // PER_DEVICE,
        learning_rate=lora.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=lora.warmup,
        max_grad_norm=lora.max_grad_norm,
        weight_decay=lora.weight_decay,
        optim="adamw_torch",
        max_steps=lora.steps(len(rows)),
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        train_sampling_strategy="sequential",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    pad = loaded.tokenizer.pad_token_id
    began = clock()
    Trainer(
        model,
        arguments,
        train_dataset=[rows[i] for i in order],
        data_collator=lambda batch: collate(batch, pad),
        callbacks=[Watch()],
    ).train()
    return {"losses": losses, "seconds": np.diff([began, *ends]).tolist()}


def row(loaded: Loaded, example: dict) -> dict[str, list[int]]:
    """One example as instruction tuning has it: prompt masked, then answer and end of turn."""
    label = example["labels"][int(np.argmax(example["target"]))]
    prompt = chat(loaded, example["messages"])
    words = loaded.tokenizer
    answer = [*words(label, add_special_tokens=False)["input_ids"], words.eos_token_id]
    return {"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer}


def collate(batch: Sequence[dict], pad: int) -> dict[str, torch.Tensor]:
    """Padded on the right, as DataCollatorForSeq2Seq does."""
    longest = max(len(one["input_ids"]) for one in batch)

    def padded(name: str, filler: int) -> torch.Tensor:
        return torch.tensor([one[name] + [filler] * (longest - len(one[name])) for one in batch])

    lengths = torch.tensor([[len(one["input_ids"])] for one in batch])
    return {
        "input_ids": padded("input_ids", pad),
        "labels": padded("labels", -100),
        "attention_mask": (torch.arange(longest)[None] < lengths).long(),
    }


def peak() -> int:
    """Most memory this process has held, in bytes: of the card's where there is one.

    Linux's own count for this process; getrusage's would begin with what the parent held.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


def contest(name: str, folder: Path, lora: Lora, threads: int, cpu_time: bool) -> dict[str, Any]:
    """What one contestant says, run in a process of its own."""
    command = [sys.executable, "-m", "bench.tuning", "--contestant", name, "--folder", str(folder)]
    command += ["--lora", json.dumps(lora.__dict__), "--threads", str(threads)]
    command += ["--cpu-time"] if cpu_time else []
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


# -- on a graphics card ----------------------------------------------------------------------------


def on_a_card(folder: Path, lora: Lora) -> dict[str, Any]:
    """QLoRA of an 8B-shaped model: examples a second, peak memory, share of the card's peak."""
    from core.tuning.train import train

    lines = (folder / "examples.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [m["content"] for line in lines for m in json.loads(line)["messages"]]
    loaded = engine.llama_eight_billion(engine.tokenizer(texts), four_bit=True)
    base = wrap(
        loaded.model, loaded.tokenizer, name=loaded.name, spec=ModelSpec("random/Llama-3-8B"),
        precision="nf4",
    )  # fmt: skip
    torch.cuda.reset_peak_memory_stats()
    times: list[float] = []
    spec = ModelSpec("random/Llama-3-8B", precision="nf4")
    trained = train(
        spec,
        folder / "examples.jsonl",
        lora,
        folder / "card",
        seed=SEED,
        base=base,
        on_step=lambda step: times.append(time.perf_counter()),
    )
    seconds = float(np.median(np.diff(times)))
    square = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    best = 2 * 8192**3 / min(engine.matmul_seconds([square], 8192) for _ in range(4))
    # Forward, and backward to the inputs: 4 operations a weight and token of the base.
    work = 4 * 6.98e9 * trained.facts["distinct_tokens"] / trained.facts["steps"]
    return {
        "card": torch.cuda.get_device_name(0),
        "examples_per_second": lora.batch / seconds,
        "peak_memory_gb": torch.cuda.max_memory_allocated() / 1024**3,
        "share_of_peak": work / seconds / best,
    }


# -- the measurement -------------------------------------------------------------------------------


def compare(folder: Path, lora: Lora, threads: int, cpu_time: bool) -> dict[str, Any]:
    found = {name: contest(name, folder, lora, threads, cpu_time) for name in CONTESTANTS}
    speed = {
        # The first step also loads libraries and warms up.
        name: lora.batch / float(np.mean(one["seconds"][1:] or one["seconds"]))
        for name, one in found.items()
    }
    losses = [np.asarray(found[name]["losses"]) for name in CONTESTANTS]
    gaps = np.abs(losses[0] - losses[1]) / losses[1]
    return {
        "examples_per_second": speed,
        "times_faster": speed["ours"] / speed["trainer"],
        "losses": {name: one["losses"] for name, one in found.items()},
        "largest_loss_gap": float(gaps.max()),
        "peak_mb": {name: one["peak"] / 1024**2 for name, one in found.items()},
        "model_mb": {name: one["loaded"] / 1024**2 for name, one in found.items()},
        "facts": found["ours"]["facts"],
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--steps", type=int, default=8, help="optimizer steps")
    parser.add_argument("--batch", type=int, default=32, help="examples to a step")
    parser.add_argument("--countries", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count processor time of one thread, for a machine that is busy with other things",
    )
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--lora", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.cpu_time:
        engine.clock, options.threads = time.process_time, 1
    torch.set_num_threads(options.threads)

    if options.contestant:
        import transformers  # noqa: F401  what both need is not counted as either's memory

        before = peak()
        result = globals()[options.contestant](options.folder, Lora(**options.lora))
        print(json.dumps({**result, "peak": peak(), "loaded": before}))
        return result

    lora = Lora(batch=options.batch, precision="bf16", warmup=0.0)  # as both have it for few steps
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_examples(folder / "examples.jsonl", options.steps * options.batch, options.countries)
        write_model(folder / "model", folder / "examples.jsonl")
        result = {
            "machine": engine.machine(),
            **compare(folder, lora, options.threads, options.cpu_time),
        }
        if torch.cuda.is_available():
            result["card"] = on_a_card(folder, Lora(batch=options.batch, warmup=0.0))
    speed, held = result["examples_per_second"], result["peak_mb"]
    losses = result["losses"]["ours"]
    print(
        f"""{result["machine"]}
{options.steps} steps of {options.batch} examples, {options.countries} countries

                     examples/s     peak memory
  ours               {speed["ours"]:10.3f}     {held["ours"]:8.0f} MB
  Trainer with PEFT  {speed["trainer"]:10.3f}     {held["trainer"]:8.0f} MB
  {result["times_faster"]:.2f} times as fast   (wanted: 1.5)
  loss from {losses[0]:.4f} to {losses[-1]:.4f}, never apart by more than \
{result["largest_loss_gap"]:.1e} of it   (wanted: 1e-3)"""
    )
    if "card" in result:
        print(json.dumps(result["card"], indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return result


if __name__ == "__main__":
    main()
