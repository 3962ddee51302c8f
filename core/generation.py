"""Write answers, several conversations side by side in one batch, streamed as they grow."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from transformers import DynamicCache

from core.models import Loaded, chat, memory_in_words, stop_tokens

SIDE_BY_SIDE = 16  # conversations in one batch; more are written in several
SECONDS_BETWEEN_TEXTS = 0.1


class Written(NamedTuple):
    """What a model wrote. tokens: how many. finished: it ended its turn by itself."""

    text: str
    tokens: int
    finished: bool


def generate(
    loaded: Loaded,
    conversations: Sequence[Sequence[dict]],
    *,
    temperature: float = 0.6,
    top_p: float = 0.9,
    max_new_tokens: int = 256,
    seed: int = 0,
    seeds: Sequence[int] | None = None,
    at_once: int = SIDE_BY_SIDE,
    on_text: Callable[[list[str]], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> list[Written]:
    """Write a reply to each conversation. temperature 0 takes the likeliest token each time.

    seeds: one for each conversation (all `seed` by default). The draw for a token depends only on
    the seed, how far the text is, and the token: two sides with one seed meet the same luck, so
    what differs between their texts comes from their prompts; and a text does not depend on
    which others are written beside it. at_once: conversations in one batch. on_text gets all
    texts so far, at most ten times a second. stop: asked before each token; True returns what was
    written until then.
    """
    seeds = [seed] * len(conversations) if seeds is None else list(seeds)
    if len(seeds) != len(conversations):
        raise ValueError(f"{len(seeds)} seeds for {len(conversations)} conversations")
    stop = stop or (lambda: False)
    prompts = [chat(loaded, messages) for messages in conversations]
    ends = stop_tokens(loaded)
    written: list[list[int]] = [[] for _ in prompts]
    shown = time.monotonic()

    def show(now: bool = False) -> None:
        nonlocal shown
        if on_text and (now or time.monotonic() - shown >= SECONDS_BETWEEN_TEXTS):
            on_text([_text(loaded, ids, ends, streaming=not now) for ids in written])
            shown = time.monotonic()

    for first in range(0, len(prompts), at_once):
        rows = range(first, min(first + at_once, len(prompts)))
        batch = _Batch(loaded, [prompts[row] for row in rows])
        alive = list(rows)
        for step in range(max_new_tokens):
            if not alive or stop():
                break
            with torch.inference_mode(), memory_in_words(loaded.name):
                chosen = choose(batch.logits, [seeds[r] for r in alive], step, temperature, top_p)
            for row, token in zip(alive, chosen, strict=True):
                written[row].append(token)
            keep = [i for i, token in enumerate(chosen) if token not in ends]
            alive = [alive[i] for i in keep]
            show()
            if alive and step + 1 < max_new_tokens:
                batch.forward([chosen[i] for i in keep], keep)
        if stop():
            break
    show(now=True)
    return [
        Written(_text(loaded, ids, ends), len(ids), bool(ids) and ids[-1] in ends)
        for ids in written
    ]


class _Batch:
    """Conversations padded on the left, with their cached keys and values.

    logits: [rows, vocabulary], of the next token of each row still being written.
    """

    def __init__(self, loaded: Loaded, prompts: Sequence[Sequence[int]]):
        self.loaded = loaded
        longest = max(map(len, prompts))
        device = loaded.device
        ids = torch.zeros((len(prompts), longest), dtype=torch.long)
        self.mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
            self.mask[row, longest - len(prompt) :] = 1
        self.mask = self.mask.to(device)
        self.cache = DynamicCache(config=loaded.model.config)
        self._run(ids.to(device), (self.mask.cumsum(-1) - 1).clamp(min=0))

    def forward(self, tokens: Sequence[int], keep: Sequence[int]) -> None:
        """Append a token to each row kept; the others leave the batch."""
        device = self.loaded.device
        if len(keep) < self.mask.shape[0]:
            rows = torch.tensor(keep, device=device)
            self.mask = self.mask[rows]
            self.cache.batch_select_indices(rows)
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], dim=1)
        ids = torch.tensor(tokens, device=device)[:, None]
        self._run(ids, self.mask.sum(-1, keepdim=True) - 1)

    def _run(self, ids: torch.Tensor, positions: torch.Tensor) -> None:
        with torch.inference_mode(), memory_in_words(self.loaded.name):
            out = self.loaded.model(
                input_ids=ids,
                attention_mask=self.mask,
                position_ids=positions,
                past_key_values=self.cache,
                use_cache=True,
                logits_to_keep=1,
            )
        self.logits = out.logits[:, -1].float()


def choose(
    logits: torch.Tensor, seeds: Sequence[int], step: int, temperature: float, top_p: float
) -> list[int]:
    """Draw a token for each row. logits: float [rows, vocabulary].

    Nucleus sampling (Holtzman et al. 2020): of the likeliest tokens, the fewest that hold top_p.
    The draw is a race: token i finishes at E_i / p_i with E_i exponential, and the first wins,
    which picks i with probability p_i. E_i is a hash of seed, step and token, not a stream, so it
    is the same whatever else is being drawn.
    """
    if temperature == 0:
        return logits.argmax(-1).tolist()
    probs = torch.softmax(logits / temperature, dim=-1)
    chosen = []
    for row, seed in zip(probs, seeds, strict=True):
        tokens, weights = _nucleus(row, top_p)
        race = exponentials(seed, step, tokens) / weights.double()
        chosen.append(int(tokens[race.argmin()]))
    return chosen


def _nucleus(probs: torch.Tensor, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The fewest likeliest tokens that together hold top_p, and their probabilities."""
    size = 256  # nearly always enough; sorting a vocabulary costs more than a small model's step
    while True:
        weights, tokens = probs.topk(min(size, len(probs)))
        before = weights.cumsum(0) - weights
        if before[-1] + weights[-1] >= top_p or len(weights) == len(probs):
            inside = before < top_p
            return tokens[inside], weights[inside]
        size *= 16


def exponentials(seed: int, step: int, tokens: torch.Tensor) -> torch.Tensor:
    """Exponential random numbers, one for each token id: a pure function of its arguments.

    SplitMix64's finaliser (Steele, Lea and Flood 2014) over (seed, step, token); float64[n] > 0.
    """
    state = _mix(torch.tensor([seed], dtype=torch.long, device=tokens.device))
    state = _mix(state + step)
    bits = _mix(_mix(state + tokens.long()))
    uniform = ((bits >> 11) & ((1 << 53) - 1)).double() / (1 << 53)
    return -torch.log1p(-uniform).clamp(max=-1e-300)


def _mix(x: torch.Tensor) -> torch.Tensor:
    """One step of SplitMix64; int64 arithmetic wraps, and shifts are made logical by a mask."""
    x = x + _signed(0x9E3779B97F4A7C15)
    x = (x ^ ((x >> 30) & ((1 << 34) - 1))) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ ((x >> 27) & ((1 << 37) - 1))) * _signed(0x94D049BB133111EB)
    return x ^ ((x >> 31) & ((1 << 33) - 1))


def _signed(constant: int) -> int:
    return constant - (1 << 64)


def _text(loaded: Loaded, ids: Sequence[int], ends: set[int], streaming: bool = False) -> str:
    """The words of some tokens. While streaming, a character still missing bytes is held back."""
    while ids and ids[-1] in ends:
        ids = ids[:-1]
    text = loaded.tokenizer.decode(ids, skip_special_tokens=True)
    return text.rstrip("\ufffd") if streaming else text
