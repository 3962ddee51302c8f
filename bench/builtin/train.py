"""Train the built-in teaching model from nothing and save it.

    python -m bench.builtin.train [--minutes 50] [--out data/models/builtin]

It stops when the minutes are over; the learning rate falls to zero by then.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from bench.builtin.lessons import (
    CHAT_TEMPLATE,
    END,
    PAD,
    Lesson,
    Teacher,
    corpus,
    make_tokenizer,
    phrases,
)
from bench.builtin.student import Student
from bench.builtin.targets import HELD_OUT, LEAN, STRENGTH, table
from core.home import DATA
from core.prompts.prompt_sets import load_prompt_set
from core.survey.survey import load_bundled

_OF_A_RUN = ("settings", "steps", "lessons", "tokens", "minutes", "loss")
HOME = DATA / "models" / "builtin"


@dataclass(frozen=True)
class Settings:
    """Shape and schedule. Sizes are multiples of 64, so that 4-bit blocks fit."""

    vocab: int = 4096
    hidden: int = 256
    layers: int = 4
    heads: int = 4
    mlp: int = 704
    positions: int = 4096
    batch_tokens: int = 2048  # for each process
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.03
    ordered: float = 0.3  # part of the time until options are shifted as often as they will be
    minutes: float = 50.0
    seed: int = 0


def config_of(settings: Settings, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=math.ceil(len(tokenizer) / 64) * 64,
        hidden_size=settings.hidden,
        intermediate_size=settings.mlp,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=settings.positions,
        rms_norm_eps=1e-6,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def wrap(tokenizer) -> PreTrainedTokenizerFast:
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
        model_max_length=Settings.positions,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def batches(teacher: Teacher, tokens: int) -> Iterator[list[Lesson]]:
    """Lessons of all kinds together, about so many tokens, the shortest first."""
    while True:
        lessons, count = [], 0
        while count < tokens:
            lessons.append(teacher.lesson())
            count += len(lessons[-1].ids)
        yield sorted(lessons, key=lambda row: len(row.ids))


def loss_of(student: Student, lessons: list[Lesson], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted divergence from the lessons' shares, and its mean at the labels alone, in nats.

    Lessons are sorted by length.
    """
    groups: list[list[Lesson]] = [[]]
    for row in lessons:
        if groups[-1] and len(row.ids) > 1.3 * len(groups[-1][0].ids) + 4:
            groups.append([])
        groups[-1].append(row)
    ids: list[int] = []
    places: list[int] = []
    shapes = []
    for group in groups:
        length = len(group[-1].ids)
        shapes.append((len(group), length))
        for row in group:
            places += [len(ids) + place for place in row.places]
            ids += row.ids + [pad] * (length - len(row.ids))
    most = max(len(c) for row in lessons for c in row.choices)
    choices = torch.tensor([c + [0] * (most - len(c)) for row in lessons for c in row.choices])
    shares = torch.tensor([s + [0.0] * (most - len(s)) for row in lessons for s in row.shares])
    weights = torch.tensor([w for row in lessons for w in row.weights])
    logits = student(torch.tensor(ids), shapes, torch.tensor(places)).float()
    log_p = logits.gather(1, choices) - logits.logsumexp(1, keepdim=True)
    missed = (torch.xlogy(shares, shares) - shares * log_p).sum(1)
    at_labels = (shares > 0).sum(1) > 1
    # The shares' own entropy is a constant; without it a perfect model has a loss of 0.
    loss = (weights * missed).sum() / weights.sum()
    return loss, missed[at_labels].detach().mean()


class Masters:
    """fp32 copies of bf16 weights, which the optimizer moves; small steps would be lost in bf16."""

    def __init__(self, student: Student, settings: Settings) -> None:
        self.weights = list(student.parameters())
        self.copies = [w.detach().float().requires_grad_() for w in self.weights]
        self.optimizer = torch.optim.AdamW(
            [
                {
                    "params": [c for c in self.copies if (c.ndim > 1) == matrices],
                    "weight_decay": settings.weight_decay * matrices,
                }
                for matrices in (True, False)
            ],
            betas=(0.9, 0.98),
            fused=True,
        )

    def gather(self, seconds: float, processes: int) -> float:
        """Average the gradients over the processes; returns the average of `seconds` too."""
        parts = [w.grad.float().flatten() for w in self.weights]
        flat = torch.cat([*parts, torch.tensor([seconds])])
        torch.distributed.all_reduce(flat)
        flat /= processes
        pieces = flat[:-1].split([w.numel() for w in self.weights])
        for copy, weight, piece in zip(self.copies, self.weights, pieces, strict=True):
            copy.grad = piece.view_as(copy)
            weight.grad = None
        return float(flat[-1])

    def step(self, rate: float) -> None:
        torch.nn.utils.clip_grad_norm_(self.copies, 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_copy_(self.weights, self.copies)


def train(
    rank: int, processes: int, settings: Settings, out: Path, start_from: Path | None, meeting: str
) -> None:
    """One of `processes` equal processes; they average their gradients. Process 0 saves.

    One thread each: on busy cores, threads that wait for each other at every operation lose far
    more than processes that wait once a step.
    """
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=processes
    )
    survey, prompts = load_bundled(), load_prompt_set()
    if start_from:
        tokenizer = Tokenizer.from_file(str(start_from / "tokenizer.json"))
    else:
        extra = phrases(prompts, survey)
        tokenizer = make_tokenizer(corpus(survey, prompts), extra, settings.vocab)
    teacher = Teacher(survey, prompts, tokenizer, seed=1000 * settings.seed + rank)
    wrapped = wrap(tokenizer)
    out.mkdir(parents=True, exist_ok=True)
    (out / "held_out_items.txt").write_text(table(survey.items), encoding="utf-8")
    student = Student(config_of(settings, wrapped), settings.seed).to(torch.bfloat16)
    earlier = []
    if start_from:
        student.start_from(AutoModelForCausalLM.from_pretrained(start_from))
        before = json.loads((start_from / "training.json").read_text(encoding="utf-8"))
        earlier = [*before.pop("earlier", []), {k: before[k] for k in _OF_A_RUN}]
    masters = Masters(student, settings)
    stream = batches(teacher, settings.batch_tokens)
    start, done, step, seen, tokens, smooth, saved = time.monotonic(), 0.0, 0, 0, 0, None, 0.0
    log = []
    while done < 1:
        rate = min(done / settings.warmup, 0.5 * (1 + math.cos(math.pi * done)) + 0.01)
        teacher.shuffled = min(1.0, done / settings.ordered)
        lessons = next(stream)
        loss, at_labels = loss_of(student, lessons, wrapped.pad_token_id)
        loss.backward()
        elapsed = masters.gather(time.monotonic() - start, processes)
        masters.step(settings.learning_rate * min(rate, (step + 1) / 60))
        done = elapsed / (settings.minutes * 60)
        step, seen = step + 1, seen + len(lessons)
        tokens += sum(len(row.ids) for row in lessons)
        now = torch.stack([loss.detach(), at_labels])
        smooth = now if smooth is None else 0.97 * smooth + 0.03 * now
        if rank:
            continue
        if step % 50 == 0:
            log.append(
                {
                    "step": step,
                    "seconds": round(elapsed),
                    "loss": round(float(smooth[0]), 4),
                    "labels": round(float(smooth[1]), 4),
                }
            )
            print(
                f"{elapsed:6.0f} s  step {step}  lessons {seen}  "
                f"loss {smooth[0]:.4f}  labels {smooth[1]:.4f}",
                flush=True,
            )
        if elapsed - saved > 240:
            saved = elapsed
            save(student, wrapped, out)
    if rank:
        return
    save(student, wrapped, out)
    record = {
        "settings": asdict(settings),
        "lean": LEAN,
        "strength": STRENGTH,
        "held_out": {name: list(ids) for name, ids in HELD_OUT.items()},
        "parameters": sum(w.numel() for w in student.parameters()),
        "steps": step,
        "lessons": seen * processes,
        "tokens": tokens * processes,
        "minutes": round((time.monotonic() - start) / 60, 1),
        "loss": log[:: max(1, len(log) // 40)],
        "earlier": earlier,
    }
    (out / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print({key: record[key] for key in ("parameters", "steps", "lessons", "tokens", "minutes")})


def save(student: Student, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Weights in bf16, tokenizer, template and generation defaults, as transformers reads them."""
    copy = student.to_llama().to(torch.bfloat16)
    copy.generation_config.update(
        do_sample=True,
        temperature=0.6,
        top_p=0.9,
        max_new_tokens=160,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    copy.save_pretrained(out)
    tokenizer.save_pretrained(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HOME)
    for name, default in asdict(Settings()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    parser.add_argument("--start-from", type=Path, help="go on from a model trained before")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    args = vars(parser.parse_args())
    out, processes, start_from = (args.pop(k) for k in ("out", "processes", "start_from"))
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(
            train,
            (processes, Settings(**args), out, start_from, f"{folder}/meeting"),
            nprocs=processes,
        )


if __name__ == "__main__":
    main()
