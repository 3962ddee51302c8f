"""Exact probabilities of a question's options, many prompts at once, shared beginnings once.

The label scored is the one the model would write after its own chat template. Prompts form a tree
of tokens: each distinct beginning is computed once, whatever its length, and the only keys and
values kept between steps are those of one path through the tree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import DynamicCache

from core.inference.label_rules import LABEL
from core.inference.labels import TOKEN, Reading, Request, Steps, Term, prompts, reading
from core.inference.token_tree import NotShared, Pack, attending, common, last_mlp_only
from core.models.load import Loaded, memory_in_words

# Distinct tokens worked on at once. On a CPU work is proportional to tokens from a few hundred
# on; a graphics card wants more at a time.
CPU_TOKENS = 512
CUDA_TOKENS = 4096


class Scored(NamedTuple):
    """How probable each label is, in the request's order.

    probs: float64[K], sums to 1. mass: what the labels had together before that. rule: what it was
    read by (core/inference/label_rules.py). logprobs: float64[K], natural logarithms, before
    normalising.
    """

    probs: np.ndarray
    mass: float
    rule: str
    logprobs: np.ndarray


def score(
    loaded: Loaded,
    requests: Sequence[Request],
    *,
    label_rule: str = LABEL,
    token_budget: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Iterator[tuple[int, Scored]]:
    """Yield (index into requests, result) as computed; the order is the engine's.

    label_rule: LABEL or TURN (core/inference/label_rules.py). token_budget: distinct tokens
    computed in one step. on_progress(done, of) after each step. stop: asked before each step; True
    ends the iteration early.
    """
    budget = token_budget or (CUDA_TOKENS if loaded.device.type == "cuda" else CPU_TOKENS)
    asked, queries = _plan(loaded, requests, label_rule)
    engine = _tree if shares_beginnings(loaded) else _padded
    waiting = [len(a.found) for a in asked]
    done = 0
    for answers in engine(loaded, queries, budget, stop or (lambda: False)):
        for query, logprobs in answers:
            index = query.request
            asked[index].found[query.slot] = logprobs
            waiting[index] -= 1
            if waiting[index] == 0:
                done += 1
                yield index, asked[index].result()
        if on_progress:
            on_progress(done, len(requests))


# -- what is asked of the model --------------------------------------------------------------------


class Query(NamedTuple):
    """A beginning after which the probabilities of some tokens are wanted.

    key: its tokens, as the bytes of TOKEN.
    """

    key: bytes
    targets: tuple[int, ...]
    request: int
    slot: int


class _Asked:
    """One request while its queries are out. found: their log-probabilities, by slot."""

    __slots__ = ("found", "reading")

    def __init__(self, reading: Reading):
        self.reading = reading
        self.found: list[np.ndarray | None] = [None] * len(reading.queries)

    def result(self) -> Scored:
        logprobs = np.array([self._log(term) for term in self.reading.terms])
        self.found = []
        top = logprobs.max()
        weights = np.exp(logprobs - top)
        return Scored(
            probs=weights / weights.sum(),
            mass=float(weights.sum() * math.exp(top)),
            rule=self.reading.rule,
            logprobs=logprobs,
        )

    def _log(self, term: Term) -> float:
        further = sum(math.exp(self._sum(path)) for path in term.further)
        return self._sum(term.path) + math.log1p(-min(further, MOST_FURTHER))

    def _sum(self, path: Steps) -> float:
        return sum(float(self.found[slot][target]) for slot, target in path)


# A label that is always continued keeps a probability above 0, as every other has.
MOST_FURTHER = 1 - 1e-12


def _plan(
    loaded: Loaded, requests: Sequence[Request], label_rule: str
) -> tuple[list[_Asked], list[Query]]:
    """Every query of every request. About 4 bytes are held for each token of a prompt."""
    asked: list[_Asked] = []
    queries: list[Query] = []
    for index, (ids, reply) in enumerate(prompts(loaded, requests)):
        prompt = ids.tobytes()
        found = reading(reply, label_rule)
        asked.append(_Asked(found))
        for slot, (after, targets) in enumerate(found.queries):
            key = prompt + np.asarray(after, dtype=TOKEN).tobytes()
            queries.append(Query(key, targets, index, slot))
    return asked, queries


# -- the tree: each distinct beginning once --------------------------------------------------------

Answers = list[tuple[Query, np.ndarray]]


def _tree(
    loaded: Loaded, queries: Sequence[Query], budget: int, stop: Callable[[], bool]
) -> Iterator[Answers]:
    """Walk the tree of all prompts depth first, `budget` new tokens at a time.

    Sorted, prompts are the leaves of the tree in order, and what a prompt adds to the one before
    is what lies beyond their common beginning. When a step ends, every ancestor of what comes next
    lies on the path to the last token, so keys and values of that one path are all that is kept.
    """
    walk = _Walk(loaded, budget)
    last = np.empty(0, dtype=TOKEN)
    for query in sorted(queries, key=lambda q: q.key):
        ids = np.frombuffer(query.key, dtype=TOKEN)
        walk.back_to(common(last, ids))
        rest = ids[walk.depth :]
        while rest.size:
            if walk.full:
                if stop():
                    return
                yield walk.step()
            rest = rest[walk.fill(rest) :]
        walk.want(query)
        last = ids
    if walk.wants and not stop():
        yield walk.step()


class _Walk(Pack):
    """A pack on top of a cached path, filled up to `budget` tokens and computed again and again."""

    def __init__(self, loaded: Loaded, budget: int):
        self.wants: list[tuple[int, Query]] = []
        super().__init__()
        self.loaded = loaded
        self.budget = budget
        self.cache = DynamicCache()  # no config: sliding layers too keep all, masks see to windows

    @property
    def full(self) -> bool:
        return self.size >= self.budget

    def fill(self, ids: np.ndarray) -> int:
        """Append tokens as a chain under the current path; returns how many found room."""
        n = min(len(ids), self.budget - self.size)
        self.add(ids[:n])
        return n

    def want(self, query: Query) -> None:
        self.wants.append((self.last, query))

    def step(self) -> Answers:
        """Compute the pack, keep the current path, and return what was wanted."""
        device = self.loaded.device
        places = sorted({place for place, _ in self.wants})
        keep = torch.tensor(places or [self.size - 1], device=device)
        with (
            torch.inference_mode(),
            memory_in_words(self.loaded.name),
            attending(self.loaded.model, self.blocks, self.cached),
            last_mlp_only(self.loaded.model, keep, self.size),
        ):
            out = self.loaded.model(
                **self.inputs(device),
                past_key_values=self.cache,
                use_cache=True,
                # Why: docs/decisions.md, "The whole output head is computed, at one position."
                logits_to_keep=keep,
            )
            path = torch.from_numpy(self.at).to(device)
            for layer in self.cache.layers:
                layer.keys = layer.keys.index_select(2, path)
                layer.values = layer.values.index_select(2, path)
            rows = {place: row for row, place in enumerate(places)}
            answers = _read(out.logits[0], [(rows[place], q) for place, q in self.wants])
        self.cached = self.at.size
        self.at = np.arange(self.cached)
        self.clear()
        self.wants = []
        return answers


def _read(logits: torch.Tensor, wanted: list[tuple[int, Query]]) -> Answers:
    """Log-probabilities of each query's targets. logits: [rows, vocabulary]."""
    if not wanted:
        return []
    rows = [row for row, query in wanted for _ in query.targets]
    tokens = [token for _, query in wanted for token in query.targets]
    found = log_probabilities(logits, rows, tokens).double().cpu().numpy()
    answers, start = [], 0
    for _, query in wanted:
        answers.append((query, found[start : start + len(query.targets)]))
        start += len(query.targets)
    return answers


def log_probabilities(
    logits: torch.Tensor, rows: Sequence[int], tokens: Sequence[int]
) -> torch.Tensor:
    """Natural logarithms of the probabilities of tokens after rows, float32. Gradients pass.

    logits: [rows, vocabulary].
    """
    logits = logits.float()
    at = torch.tensor(rows, device=logits.device), torch.tensor(tokens, device=logits.device)
    return logits[at] - torch.logsumexp(logits, dim=-1)[at[0]]


# -- the plain way: whole prompts, padded on the right ---------------------------------------------


def _padded(
    loaded: Loaded, queries: Sequence[Query], budget: int, stop: Callable[[], bool]
) -> Iterator[Answers]:
    """Whole prompts in batches of like length, for models whose beginnings cannot be shared."""
    rows = padded_rows(queries)
    start = 0
    while start < len(rows):
        end = start + 1
        while end < len(rows) and (end - start + 1) * len(rows[end].ids) <= budget:
            end += 1
        if stop():
            return
        with torch.inference_mode(), memory_in_words(loaded.name):
            logits, found = padded_forward(loaded.model, rows[start:end])
            answers = _read(logits, list(enumerate(found)))
        yield answers
        start = end


class Row(NamedTuple):
    """A whole prompt, and the queries that are read off it: itself and beginnings of it."""

    ids: np.ndarray
    queries: list[Query]


def padded_rows(queries: Sequence[Query]) -> list[Row]:
    """Shortest first. A query that is the beginning of another is read off the same row."""
    rows: list[Row] = []
    for query in sorted(queries, key=lambda q: q.key, reverse=True):
        if rows and rows[-1].queries[0].key.startswith(query.key):
            rows[-1].queries.append(query)
        else:
            rows.append(Row(np.frombuffer(query.key, dtype=TOKEN), [query]))
    return sorted(rows, key=lambda row: len(row.ids))


def padded_forward(model: Any, rows: Sequence[Row]) -> tuple[torch.Tensor, list[Query]]:
    """Logits [queries, vocabulary] after each query of some rows, padded on the right."""
    longest = max(len(row.ids) for row in rows)
    ids = np.zeros((len(rows), longest), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, (tokens, _) in enumerate(rows):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    wanted = [
        (row, len(query.key) // 4 - 1, query)
        for row, (_, asked) in enumerate(rows)
        for query in asked
    ]
    places = sorted({place for _, place, _ in wanted})
    device = model.device
    out = model(
        input_ids=torch.from_numpy(ids).to(device),
        attention_mask=torch.from_numpy(mask).to(device),
        use_cache=False,
        logits_to_keep=torch.tensor(places, device=device),
    )
    column = {place: i for i, place in enumerate(places)}
    picked = out.logits[
        torch.tensor([row for row, _, _ in wanted], device=device),
        torch.tensor([column[place] for _, place, _ in wanted], device=device),
    ]
    return picked, [query for _, _, query in wanted]


# -- which way a model goes ------------------------------------------------------------------------

SHARED_LAYERS = {"full_attention", "sliding_attention"}


def shares_beginnings(loaded: Loaded) -> bool:
    """May this model's shared beginnings be computed once? Tried on the model itself, once.

    A few made-up prompts go both ways. They must agree as closely as the precision allows; a model
    that attends, counts positions or caches in a way of its own takes the plain way.
    """
    if "shares" not in loaded.notes:
        loaded.notes["shares"] = _could_share(loaded.model) and _agrees(loaded)
    return loaded.notes["shares"]


def _could_share(model: Any) -> bool:
    config = model.config.get_text_config(decoder=True)
    types = set(getattr(config, "layer_types", None) or ["full_attention"])
    return types <= SHARED_LAYERS and not model.config.is_encoder_decoder


def _agrees(loaded: Loaded, tokens: int = 24) -> bool:
    config = loaded.model.config.get_text_config(decoder=True)
    random = np.random.default_rng(0)
    stem = random.integers(0, config.vocab_size, tokens)
    endings = random.integers(0, config.vocab_size, (3, tokens // 2))
    targets = tuple(random.choice(config.vocab_size, min(64, config.vocab_size), replace=False))
    queries = [
        Query(np.concatenate([stem, end]).astype(TOKEN).tobytes(), targets, 0, slot)
        for slot, end in enumerate(endings)
    ]

    def ask(engine: Callable) -> np.ndarray:
        found = {}
        for answers in engine(loaded, queries, tokens + 6, lambda: False):
            found.update((query.slot, logprobs) for query, logprobs in answers)
        return np.array([found[slot] for slot in range(len(queries))])

    try:
        shared = ask(_tree)
    except (NotShared, TypeError, ValueError, RuntimeError, AttributeError, IndexError, KeyError):
        return False  # whatever a foreign architecture makes of the tree: the plain way is exact
    plain = ask(_padded)
    noise = 1e-3 if loaded.precision == "fp32" else 0.05 * max(1.0, plain.std())
    return bool(np.abs(shared - plain).mean() < noise)
