"""Train a LoRA adapter: the loss on answers alone, shared beginnings computed once, resumable.

An example is a prompt and what is to be answered: one option (its tokens and the end of the turn
are learned, as transformers' Trainer would) or a share for each option (the model's probabilities
are drawn towards them). The prompts of a step form a tree of tokens, as in asking; only positions
whose next token matters go through the output head. Neither changes a gradient: they are those of
the plain padded batch.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.helpers import disable_input_dtype_casting

from core.errors import ModelError
from core.inference.label_rules import LABEL, TURN
from core.inference.labels import TOKEN, Steps
from core.inference.option_scoring import (
    Query,
    Row,
    log_probabilities,
    padded_forward,
    padded_rows,
    shares_beginnings,
)
from core.inference.token_tree import BLOCK, Pack, attending, common, last_mlp_only
from core.models import adapters, catalogue, memory_fit
from core.models.load import Loaded, Phase, give_back, load, memory_in_words
from core.models.memory_fit import TrainingRoom
from core.models.spec import ModelSpec
from core.tuning.lessons import Lesson, lessons, read_examples
from core.tuning.messages import Step
from core.tuning.settings import Lora
from core.tuning.training_files import (
    disk_in_words,
    json_bytes,
    newest_checkpoint,
    remove_checkpoints,
    tensor_bytes,
    write_checkpoint,
)
from core.whole_files import write_whole

CPU_TOKENS = 768  # distinct tokens at once: more gain nothing on a CPU and need memory
CUDA_BLOCK = 1024  # queries of one attention call on a graphics card, which minds many small ones


class Trained(NamedTuple):
    """sha256: of the adapter's weights. facts: how it was made, for the store and the card."""

    sha256: str
    facts: dict
    complete: bool


# -- the loss of a batch ---------------------------------------------------------------------------


# Why: docs/decisions.md, "Training walks the tree of asking."
class Engine(NamedTuple):
    """How a batch is computed. room: most tokens at once, and whether layers are computed again.
    shared: along a tree, each distinct beginning once; else whole prompts, padded."""

    loaded: Loaded
    room: TrainingRoom
    shared: bool


class Learned(NamedTuple):
    """loss: of the batch. computed: tokens that went through the model for it."""

    loss: float
    computed: int


def backward(engine: Engine, batch: Sequence[Lesson]) -> Learned:
    """Add the gradients of a batch's loss to the weights that are trained.

    The loss is sum(weight * loss) / sum(weight * count) over the whole batch, however it is cut
    into pieces that fit.
    """
    whole = sum(lesson.weight * lesson.count for lesson in batch)
    loss, computed = 0.0, 0
    for tokens, forward in (_packs if engine.shared else _rows)(engine, batch):
        with forward as (logits, wanted):
            part = _loss(logits, wanted, batch, whole)
            part.backward()
        loss += float(part.detach())
        computed += tokens
        del part, logits
    return Learned(loss, computed)


Wanted = list[tuple[int, Query]]  # a row of logits, and what is to be read off it


def _loss(
    logits: torch.Tensor, wanted: Wanted, batch: Sequence[Lesson], whole: float
) -> torch.Tensor:
    """What some examples of a batch add to its loss. logits: [rows, vocabulary].

    For each example the cross-entropy between target and labels, less the target's entropy.
    """
    found = log_probabilities(
        logits,
        [row for row, query in wanted for _ in query.targets],
        [token for _, query in wanted for token in query.targets],
    )
    starts, size = {}, 0
    for _, query in wanted:
        starts[query.request, query.slot] = size
        size += len(query.targets)
    factors, constant = np.zeros(size, dtype=np.float32), 0.0
    further = found.new_zeros(())
    for index in dict.fromkeys(query.request for _, query in wanted):
        lesson = batch[index]
        weight = lesson.weight / whole
        places = _places(lesson, index, starts)
        for share, term in zip(lesson.target, places, strict=True):
            factors[list(term.path)] += weight * share
            if share > 0 and term.further:
                further = further - weight * share * _not_continued(found, term)
        positive = lesson.target[lesson.target > 0]
        constant += weight * float((positive * np.log(positive)).sum())
        if lesson.shift:
            labels = torch.stack(
                [found[list(term.path)].sum() + _not_continued(found, term) for term in places]
            )
            further = further + weight * lesson.shift[1] * _shift(labels, lesson)
    return constant - (torch.from_numpy(factors).to(found.device) * found).sum() + further


class _Places(NamedTuple):
    """A label's Term (core/inference/labels.py) as places in what was found."""

    path: tuple[int, ...]
    further: tuple[tuple[int, ...], ...]


def _places(lesson: Lesson, index: int, starts: dict[tuple[int, int], int]) -> list[_Places]:
    def at(path: Steps) -> tuple[int, ...]:
        return tuple(starts[index, slot] + target for slot, target in path)

    return [_Places(at(term.path), tuple(map(at, term.further))) for term in lesson.terms]


def _not_continued(found: torch.Tensor, term: _Places) -> torch.Tensor:
    """The logarithm of how probable a label, once written, is not the beginning of another."""
    if not term.further:
        return found.new_zeros(())
    others = torch.stack([found[list(path)].sum() for path in term.further])
    return torch.log1p(-others.exp().sum().clamp(max=MOST_FURTHER))


MOST_FURTHER = 1 - 1e-6  # beyond it float32 tells no difference, and a gradient would have no end


def _shift(labels: torch.Tensor, lesson: Lesson) -> torch.Tensor:
    """KL divergence between people's and the model's shift away from the world.

    A shift is the shares divided by the world's, normalised: what sets a country apart weighs more
    than what it has in common. labels: log-probabilities [K]. After DSA, arXiv 2510.21977.
    """
    world = np.maximum(lesson.shift[0], RAREST)
    human = lesson.target / world
    human = human / human.sum()
    model = torch.log_softmax(labels - labels.new_tensor(np.log(world)), dim=0)
    positive = human > 0
    entropy = float((human[positive] * np.log(human[positive])).sum())
    return entropy - (labels.new_tensor(human) * model).sum()


RAREST = 0.01  # a share of the world's below this would let one rare option decide the shift


def _queries(lesson: Lesson, index: int) -> list[Query]:
    """What is read of an example, in the order of the tree."""
    prompt = lesson.prompt.tobytes()
    return sorted(
        (
            Query(prompt + np.asarray(after, dtype=TOKEN).tobytes(), wanted, index, slot)
            for slot, (after, wanted) in enumerate(lesson.queries)
        ),
        key=lambda query: query.key,
    )


def _packs(engine: Engine, batch: Sequence[Lesson]) -> Iterator[tuple[int, Any]]:
    """A batch in packs of at most `room.tokens` distinct tokens; what begins alike lies together.

    Yields tokens and a context within which they are computed.
    """
    block = CUDA_BLOCK if engine.loaded.device.type == "cuda" else BLOCK
    empty = np.empty(0, dtype=TOKEN)
    pack, wants, last = Pack(block), [], empty
    for index in sorted(range(len(batch)), key=lambda i: batch[i].prompt.tobytes()):
        queries = _queries(batch[index], index)
        if pack.size and pack.size + _growth(last, queries) > engine.room.tokens:
            yield pack.size, _computed_pack(engine.loaded, pack, wants)
            pack, wants, last = Pack(block), [], empty
        for query in queries:
            ids = np.frombuffer(query.key, dtype=TOKEN)
            pack.back_to(common(last, ids))
            pack.add(ids[pack.depth :])
            wants.append((pack.last, query))
            last = ids
    yield pack.size, _computed_pack(engine.loaded, pack, wants)


def _growth(last: np.ndarray, queries: Sequence[Query]) -> int:
    """How many tokens a pack grows by."""
    grown = 0
    for query in queries:
        ids = np.frombuffer(query.key, dtype=TOKEN)
        grown += len(ids) - common(last, ids)
        last = ids
    return grown


@contextmanager
def _computed_pack(
    loaded: Loaded, pack: Pack, wants: list[tuple[int, Query]]
) -> Iterator[tuple[torch.Tensor, Wanted]]:
    """Logits where they matter. Gradients are taken within, since layers may be computed again."""
    places = sorted({place for place, _ in wants})
    row = {place: i for i, place in enumerate(places)}
    keep = torch.tensor(places, device=loaded.device)
    with (
        attending(loaded.model, pack.blocks, 0),
        last_mlp_only(loaded.model, keep, pack.size),
    ):
        with _mixed(loaded):
            out = loaded.model(**pack.inputs(loaded.device), use_cache=False, logits_to_keep=keep)
        yield out.logits[0], [(row[place], query) for place, query in wants]


def _rows(engine: Engine, batch: Sequence[Lesson]) -> Iterator[tuple[int, Any]]:
    """A batch in groups of like length, right-padded to at most `room.tokens`."""
    order = sorted(range(len(batch)), key=lambda i: batch[i].tokens)
    start = 0
    while start < len(order):
        end = start + 1
        while (
            end < len(order) and (end - start + 1) * batch[order[end]].tokens <= engine.room.tokens
        ):
            end += 1
        rows = padded_rows([q for i in order[start:end] for q in _queries(batch[i], i)])
        yield len(rows) * len(rows[-1].ids), _computed_rows(engine.loaded, rows)
        start = end


@contextmanager
def _computed_rows(loaded: Loaded, rows: Sequence[Row]) -> Iterator[tuple[torch.Tensor, Wanted]]:
    with _mixed(loaded):
        logits, found = padded_forward(loaded.model, rows)
    yield logits, list(enumerate(found))


def _mixed(loaded: Loaded) -> Any:
    """A bf16 base computes in bf16 throughout; the adapter's weights are cast as they are used."""
    if loaded.model.dtype is torch.bfloat16:
        return torch.autocast(loaded.device.type, torch.bfloat16)
    return nullcontext()


# -- the schedule ----------------------------------------------------------------------------------


FEW_STEPS = 10  # from here down there is no warm-up


def learning_rate(lora: Lora, step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to zero, as transformers has it. step: from 0.

    The first step of a warm-up has rate 0; in a training of FEW_STEPS that would be much or all.
    """
    warm = math.ceil(lora.warmup * steps) if steps > FEW_STEPS else 0
    if step < warm:
        return lora.learning_rate * step / max(warm, 1)
    gone = (step - warm) / max(steps - warm, 1)
    return lora.learning_rate * max(0.0, 0.5 * (1 + math.cos(math.pi * gone)))


def chosen(examples: int, lora: Lora, seed: int, step: int) -> np.ndarray:
    """Which examples the batch of a step holds: each epoch is drawn anew, a function of seed."""
    each = lora.steps_per_epoch(examples)
    epoch, place = divmod(step, each)
    drawn = np.random.default_rng([seed, epoch]).permutation(examples)
    return drawn[place * lora.batch : (place + 1) * lora.batch]


# -- training --------------------------------------------------------------------------------------


def train(
    spec: ModelSpec,
    examples_path: Path,
    lora: Lora,
    folder: Path,
    *,
    seed: int,
    title: str = "",
    label_rule: str = LABEL,
    base: Loaded | None = None,
    on_phase: Phase | None = None,
    on_step: Callable[[Step], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Trained:
    """Train an adapter of `spec`'s model on a file of examples, and write it into `folder`.

    Goes on from the last checkpoint in the folder where it is one of this very training, to the
    same bits (on a CPU) as if it had never been interrupted; on_step hears of the steps before it
    again, since whoever listened may not have lived to note them. label_rule: what the probability
    of a label is, where shares are taught (core/inference/label_rules.py). stop: asked between
    steps; True keeps what was trained until then (complete is False). base: a base for training
    loaded before (load_base), left as it was; by default it is loaded here and let go of. Raises
    ModelError, with what to change, where memory or disk give out; checkpoints stay.
    """
    say = on_phase or (lambda phase: None)
    held = base or load_base(spec, lora, on_phase=say)
    try:
        with memory_in_words(held.name, OUT_OF_MEMORY):
            run = _Training(
                held, Path(examples_path), lora, Path(folder), seed, title, label_rule, say
            )
            return run.go(on_step or (lambda step: None), stop or (lambda: False))
    finally:
        if base is None:
            held.release()
        give_back()


# Why: docs/decisions.md, "The base is tuned as it is asked."
def load_base(spec: ModelSpec, lora: Lora, *, on_phase: Phase | None = None) -> Loaded:
    """The bare model an adapter is trained on, frozen; 4-bit, bf16 or fp32."""
    bare = lora.base(spec)
    room = memory_fit.fit_training(bare, rank=lora.rank, tokens=lora.micro_tokens)
    if not room.fits:
        raise ModelError(room.sentence)
    loaded = load(bare, on_phase=on_phase)
    if loaded.model.dtype is torch.float16:
        raise ModelError(
            "This graphics card cannot compute in bf16, which tuning needs. Tune in 32-bit."
        )
    return loaded


OUT_OF_MEMORY = (
    "There was not enough memory to train {name}. Lower “Tokens at once” (micro_tokens), tune in "
    "4-bit, or close other programs. Training goes on from the last checkpoint."
)


class _Training:
    """One training from its beginning or its last checkpoint to its end."""

    def __init__(
        self,
        base: Loaded,
        examples_path: Path,
        lora: Lora,
        folder: Path,
        seed: int,
        title: str,
        label_rule: str,
        say: Phase,
    ):
        self.base, self.lora, self.folder, self.seed = base, lora, folder, seed
        self.title, self.say = title, say
        say("reading the examples")
        examples = read_examples(examples_path)
        self.lessons = lessons(base, examples, label_rule)
        self.steps = lora.steps(len(examples))
        self.fingerprint = _fingerprint(base, examples_path, lora, seed, label_rule)
        self.step = 0
        self.curve: list[Step] = []
        self.seconds, self.tokens, self.computed = 0.0, 0, 0

    def go(self, on_step: Callable[[Step], None], stop: Callable[[], bool]) -> Trained:
        done = _finished(self.folder, self.fingerprint)
        if done:
            for step in done.curve:
                on_step(step)
            return done.trained
        with self._adapted():
            self._resume()
            for step in self.curve:
                on_step(step)
            if self.engine.room.again:
                self.base.model.gradient_checkpointing_enable({"use_reentrant": False})
            self.say("training")
            while self.step < self.steps and not stop():
                on_step(self._take())
                if self.step % self.lora.checkpoint_every == 0 and self.step < self.steps:
                    self._checkpoint()
            complete = self.step == self.steps
            if not complete:
                self._checkpoint()
            return self._finish(complete)

    @contextmanager
    def _adapted(self) -> Iterator[None]:
        """Within, the base carries the adapter that is trained; afterwards it is bare again."""
        model = self.base.model.train()
        shared = shares_beginnings(self.base)
        torch.manual_seed(self.seed)
        self.model = get_peft_model(model, lora_config(self.lora))
        config = self.model.peft_config["default"]
        config.base_model_name_or_path = _base_name(self.base)
        config.revision = self.base.revision
        self.trained = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(
            self.trained.values(), lr=0.0, weight_decay=self.lora.weight_decay
        )
        self.engine = Engine(self.base, self._room(), shared)
        try:
            with disable_input_dtype_casting(self.model, model.dtype is torch.bfloat16):
                yield
        finally:
            self.model.unload()
            model.gradient_checkpointing_disable()
            model.eval()
            self.model = self.optimizer = None
            self.trained = {}

    def _room(self) -> TrainingRoom:
        most = self.lora.micro_tokens
        if self.base.device.type == "cpu":
            most = min(most, CPU_TOKENS)
        config = self.base.model.config.to_dict()
        _, free = memory_fit.free_memory()
        return memory_fit.training_room(config, self.base.precision, most, free)

    def _take(self) -> Step:
        """One optimizer step."""
        began = time.monotonic()
        torch.manual_seed(self.seed * 1_000_003 + self.step)  # for dropout, wherever we resume
        rate = learning_rate(self.lora, self.step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch = [
            self.lessons[i] for i in chosen(len(self.lessons), self.lora, self.seed, self.step)
        ]
        loss, computed = backward(self.engine, batch)
        norm = float(torch.nn.utils.clip_grad_norm_(self.trained.values(), self.lora.max_grad_norm))
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise ModelError(
                f"The loss is no longer a number at step {self.step + 1} of {self.steps}. Lower "
                "the learning rate, or tune in 32-bit, and train again."
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        seconds = time.monotonic() - began
        tokens = sum(lesson.tokens for lesson in batch)
        self.step += 1
        self.seconds += seconds
        self.tokens += tokens
        self.computed += computed
        step = Step(self.step, self.steps, loss, rate, tokens / seconds, self._memory(), norm)
        self.curve.append(step)
        return step

    def _memory(self) -> int:
        if self.base.device.type == "cuda":
            return torch.cuda.max_memory_allocated()
        return psutil.Process().memory_info().rss

    # -- checkpoints -----------------------------------------------------------------------------

    # Why: docs/decisions.md, "A checkpoint holds no random state."
    def _checkpoint(self) -> None:
        """Keep weights, moments and place."""
        tensors = {}
        for name, weight in self.trained.items():
            state = self.optimizer.state[weight]
            tensors[f"weight.{name}"] = weight.detach()
            tensors[f"mean.{name}"] = state["exp_avg"]
            tensors[f"square.{name}"] = state["exp_avg_sq"]
        place = {
            "fingerprint": self.fingerprint,
            "step": self.step,
            "curve": self.curve,
            "seconds": self.seconds,
            "tokens": self.tokens,
            "computed": self.computed,
            "micro_tokens": self.lora.micro_tokens,
            "room": self.engine.room,
        }
        write_checkpoint(self.folder, place, tensors)

    def _resume(self) -> None:
        """Take up the newest whole checkpoint of this very training; other ones are removed."""
        found = newest_checkpoint(self.folder, self.fingerprint)
        if found:
            self._take_up(*found)
        else:
            remove_checkpoints(self.folder)

    # Why: docs/decisions.md, "A training that goes on tells its whole curve again."
    def _take_up(self, place: dict, tensors: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, weight in self.trained.items():
                weight.copy_(tensors[f"weight.{name}"])
                self.optimizer.state[weight] = {
                    "step": torch.tensor(float(place["step"])),
                    "exp_avg": tensors[f"mean.{name}"].to(weight.device),
                    "exp_avg_sq": tensors[f"square.{name}"].to(weight.device),
                }
        self.step, self.curve = place["step"], [Step(*step) for step in place.get("curve", ())]
        self.seconds = place["seconds"]
        self.tokens, self.computed = place["tokens"], place["computed"]
        if place["micro_tokens"] == self.lora.micro_tokens:
            self.engine = self.engine._replace(room=TrainingRoom(*place["room"]))

    # -- the adapter -----------------------------------------------------------------------------

    def _finish(self, complete: bool) -> Trained:
        weights = tensor_bytes(get_peft_model_state_dict(self.model, save_embedding_layers=False))
        sha256 = hashlib.sha256(weights).hexdigest()
        facts = self._facts(complete)
        record = {
            "title": self.title,
            "fingerprint": self.fingerprint,
            "sha256": sha256,
            "facts": facts,
            "curve": self.curve,
        }
        with disk_in_words(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / adapters.ADAPTER_WEIGHTS, weights)
            write_whole(self.folder / adapters.ADAPTER_CONFIG, json_bytes(_peft_config(self.model)))
            write_whole(self.folder / adapters.ADAPTER_RECORD, json_bytes(record))
        if complete:
            remove_checkpoints(self.folder)
        return Trained(sha256, facts, complete)

    def _facts(self, complete: bool) -> dict:
        return {
            "complete": complete,
            "steps": self.step,
            "steps_planned": self.steps,
            "examples": len(self.lessons),
            "first_loss": self.curve[0].loss if self.curve else None,
            "last_loss": self.curve[-1].loss if self.curve else None,
            "mean_loss": float(np.mean([s.loss for s in self.curve])) if self.curve else None,
            "trainable_parameters": sum(p.numel() for p in self.trained.values()),
            "seconds": round(self.seconds, 2),
            "tokens": self.tokens,
            "distinct_tokens": self.computed,
            "tokens_per_second": self.tokens / self.seconds if self.seconds else None,
            "shared_beginnings": self.engine.shared,
            "tokens_at_once": self.engine.room.tokens,
            "layers_computed_again": self.engine.room.again,
            "precision": self.base.precision,
            "device": str(self.base.device),
            "base": _base_name(self.base),
            "base_revision": self.base.revision,
            "seed": self.seed,
            "lora": asdict(self.lora),
        }


def lora_config(lora: Lora) -> LoraConfig:
    """LoRA on every linear layer but the output head."""
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def _fingerprint(base: Loaded, examples_path: Path, lora: Lora, seed: int, label_rule: str) -> str:
    """Of all that decides what is trained; what only decides how fast is left out."""
    said = {k: v for k, v in asdict(lora).items() if k not in ("micro_tokens", "checkpoint_every")}
    record = {
        "lora": {**said, "precision": base.precision},
        "seed": seed,
        "base": base.revision,
        "device": base.device.type,
        "examples": hashlib.sha256(examples_path.read_bytes()).hexdigest(),
    }
    if label_rule != TURN:  # a training that began before there was another one goes on
        record["label_rule"] = label_rule
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


class _Finished(NamedTuple):
    trained: Trained
    curve: list[Step]


def _finished(folder: Path, fingerprint: str) -> _Finished | None:
    """An adapter in the folder that is this very training's end result."""
    try:
        record = json.loads((folder / adapters.ADAPTER_RECORD).read_text(encoding="utf-8"))
        weights = (folder / adapters.ADAPTER_WEIGHTS).read_bytes()
    except (OSError, ValueError):
        return None
    same = record.get("fingerprint") == fingerprint and record["facts"]["complete"]
    if same and hashlib.sha256(weights).hexdigest() == record["sha256"]:
        curve = [Step(*step) for step in record.get("curve", ())]
        return _Finished(Trained(record["sha256"], record["facts"], True), curve)
    return None


def _base_name(base: Loaded) -> str:
    """What adapter_config.json calls the base: its hub id, or its folder."""
    folder = catalogue.find(base.spec)
    local = base.spec.source == "builtin" or Path(base.spec.source).expanduser().is_dir()
    return str(folder) if local else base.spec.source


def _peft_config(model: PeftModel) -> dict:
    """adapter_config.json as peft writes it, for loading and not for training on."""
    config = model.peft_config["default"].to_dict()
    config["inference_mode"] = True
    return {k: sorted(v) if isinstance(v, set) else v for k, v in config.items()}
