"""Exact probabilities of a question's options, many prompts at once, shared beginnings once.

The label scored is the one the model would write after its own chat template. Prompts form a tree
of tokens: each distinct beginning is computed once, whatever its length, and the only keys and
values kept between steps are those of one path through the tree.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import DynamicCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from core.errors import ModelError
from core.models import Loaded, chat_text, encode, memory_in_words, special_tokens

SINGLE = "single token"
WHOLE = "whole label, end of turn"

# Distinct tokens worked on at once. On a CPU work is proportional to tokens from a few hundred
# on; a graphics card wants more at a time.
CPU_TOKENS = 512
CUDA_TOKENS = 4096
BLOCK = 96  # queries that share one attention call; see _Pack


class Request(NamedTuple):
    """A prompt and the labels it may be answered with, such as ("1", "2", "3")."""

    messages: Sequence[dict]
    labels: Sequence[str]


class Scored(NamedTuple):
    """How probable each label is, in the request's order.

    probs: float64[K], sums to 1. mass: what the labels had together before that. rule: SINGLE or
    WHOLE. logprobs: float64[K], natural logarithms, before normalising.
    """

    probs: np.ndarray
    mass: float
    rule: str
    logprobs: np.ndarray


def score(
    loaded: Loaded,
    requests: Sequence[Request],
    *,
    token_budget: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Iterator[tuple[int, Scored]]:
    """Yield (index into requests, result) as computed; the order is the engine's.

    token_budget: distinct tokens computed in one step. on_progress(done, of) after each step.
    stop: asked before each step; True ends the iteration early.
    """
    budget = token_budget or (CUDA_TOKENS if loaded.device.type == "cuda" else CPU_TOKENS)
    asked, queries = _plan(loaded, requests)
    engine = _tree if _shares_beginnings(loaded) else _padded
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


class _Query(NamedTuple):
    """A beginning after which the probabilities of some tokens are wanted.

    key: its tokens as big-endian 32-bit integers, so that bytes sort as token sequences do.
    """

    key: bytes
    targets: tuple[int, ...]
    request: int
    slot: int


class _Asked:
    """One request while its queries are out. terms: per label, the (slot, target) it sums."""

    __slots__ = ("found", "rule", "terms")

    def __init__(self, rule: str, terms: list[list[tuple[int, int]]], slots: int):
        self.rule = rule
        self.terms = terms
        self.found: list[np.ndarray | None] = [None] * slots

    def result(self) -> Scored:
        logprobs = np.array(
            [sum(float(self.found[slot][target]) for slot, target in term) for term in self.terms]
        )
        self.found = []
        top = logprobs.max()
        weights = np.exp(logprobs - top)
        return Scored(
            probs=weights / weights.sum(),
            mass=float(weights.sum() * math.exp(top)),
            rule=self.rule,
            logprobs=logprobs,
        )


class _Reply(NamedTuple):
    """How a model's template writes a reply, relative to the text of the generation prompt.

    cut: characters to drop from its end; extra: characters to add (an empty thought, say). back:
    tokens of that text which merge with the label and are dropped. labels: the tokens of each
    label after that; end: the tokens that end the turn.
    """

    cut: int
    extra: str
    back: int
    labels: tuple[tuple[int, ...], ...]
    end: tuple[int, ...]


def _plan(loaded: Loaded, requests: Sequence[Request]) -> tuple[list[_Asked], list[_Query]]:
    """Every query of every request. About 4 bytes are held for each token of a prompt."""
    asked: list[_Asked] = []
    queries: list[_Query] = []
    replies: dict[tuple[str, ...], _Reply] = loaded.notes.setdefault("replies", {})
    for first in range(0, len(requests), 512):
        chunk = requests[first : first + 512]
        texts = []
        for request in chunk:
            text = chat_text(loaded, request.messages)
            labels = tuple(request.labels)
            if labels not in replies:
                replies[labels] = _reply(loaded, request.messages, labels)
            reply = replies[labels]
            texts.append(text[: len(text) - reply.cut] + reply.extra)
        tokens = loaded.tokenizer(texts, add_special_tokens=False)["input_ids"]
        for offset, (request, ids) in enumerate(zip(chunk, tokens, strict=True)):
            reply = replies[tuple(request.labels)]
            prompt = np.asarray(ids[: len(ids) - reply.back], dtype=">u4").tobytes()
            rule, wanted = _wanted(reply)
            slots = {after: slot for slot, after in enumerate(wanted)}
            targets = {after: list(nexts) for after, nexts in wanted.items()}
            terms = []
            for label in reply.labels:
                tail = label if rule == SINGLE else label + reply.end
                terms.append(
                    [(slots[tail[:i]], targets[tail[:i]].index(t)) for i, t in enumerate(tail)]
                )
            asked.append(_Asked(rule, terms, len(slots)))
            for after, slot in slots.items():
                key = prompt + np.asarray(after, dtype=">u4").tobytes()
                queries.append(_Query(key, tuple(targets[after]), first + offset, slot))
    return asked, queries


def _wanted(reply: _Reply) -> tuple[str, dict[tuple[int, ...], dict[int, None]]]:
    """The rule, and for each beginning of a label the tokens whose probability is needed there."""
    single = all(len(label) == 1 for label in reply.labels)
    if single and len(set(reply.labels)) == len(reply.labels):
        return SINGLE, {(): dict.fromkeys(label[0] for label in reply.labels)}
    wanted: dict[tuple[int, ...], dict[int, None]] = {}
    for label in reply.labels:
        tail = label + reply.end
        for i, token in enumerate(tail):
            wanted.setdefault(tail[:i], {})[token] = None
    return WHOLE, wanted


def _reply(loaded: Loaded, messages: Sequence[dict], labels: tuple[str, ...]) -> _Reply:
    """Find the tokens a model would write for each label, from its template's own rendering.

    A reply is rendered by the template and compared with the generation prompt. Where a template
    cannot write a reply, labels are encoded as they stand and the turn ends with the end token.
    """
    if len(set(labels)) < len(labels) or not labels or not all(labels):
        raise ModelError(f"The labels of a question must be distinct and not empty: {labels}.")
    prompt = chat_text(loaded, messages)
    context, tail = prompt, ""
    probe = "Sunflower"
    try:
        replied = chat_text(
            loaded, [*messages, {"role": "assistant", "content": probe}], generation_prompt=False
        )
    except ModelError:
        replied = ""
    at = replied.rfind(probe)
    if at > 0:
        context, tail = replied[:at], replied[at + len(probe) :]
    same = _common(prompt, context)

    before = encode(loaded, context)
    with_label = [encode(loaded, context + label) for label in labels]
    common = min(_common(before, ids) for ids in with_label)
    tokens = tuple(tuple(ids[common:]) for ids in with_label)
    if len(set(tokens)) < len(labels) or not all(tokens):
        raise ModelError(
            f"The tokenizer of {loaded.name} cannot tell these labels apart: {', '.join(labels)}."
        )
    return _Reply(
        cut=len(prompt) - same,
        extra=context[same:],
        back=len(before) - common,
        labels=tokens,
        end=_end_of_turn(loaded, context + labels[0], with_label[0], tail),
    )


def _end_of_turn(loaded: Loaded, text: str, ids: list[int], tail: str) -> tuple[int, ...]:
    """The tokens after a label, up to the first special one: the model's end of turn."""
    whole = encode(loaded, text + tail)
    special = special_tokens(loaded)
    if whole[: len(ids)] == ids:
        for i, token in enumerate(whole[len(ids) :]):
            if token in special:
                return tuple(whole[len(ids) : len(ids) + i + 1])
    if loaded.tokenizer.eos_token_id is None:
        raise ModelError(f"The tokenizer of {loaded.name} has no token that ends a turn.")
    return (loaded.tokenizer.eos_token_id,)


def _common(a: Sequence, b: Sequence) -> int:
    """Length of the common beginning of two token sequences, or of two texts."""
    if isinstance(a, np.ndarray):
        n = min(len(a), len(b))
        differ = np.flatnonzero(a[:n] != b[:n])
        return int(differ[0]) if differ.size else n
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


# -- the tree: each distinct beginning once --------------------------------------------------------

Answers = list[tuple[_Query, np.ndarray]]


def _tree(
    loaded: Loaded, queries: Sequence[_Query], budget: int, stop: Callable[[], bool]
) -> Iterator[Answers]:
    """Walk the tree of all prompts depth first, `budget` new tokens at a time.

    Sorted, prompts are the leaves of the tree in order, and what a prompt adds to the one before
    is what lies beyond their common beginning. When a step ends, every ancestor of what comes next
    lies on the path to the last token, so keys and values of that one path are all that is kept.
    """
    walk = _Walk(loaded, budget)
    last = np.empty(0, dtype=">u4")
    for query in sorted(queries, key=lambda q: q.key):
        ids = np.frombuffer(query.key, dtype=">u4")
        walk.back_to(_common(last, ids))
        rest = ids[walk.depth :]
        while rest.size:
            if walk.full:
                if stop():
                    return
                yield walk.step()
            rest = rest[walk.add(rest) :]
        walk.want(query)
        last = ids
    if walk.wants and not stop():
        yield walk.step()


class _Walk:
    """A pack of new tokens in depth-first order on top of a cached path.

    A token's place is its index among cached keys followed by the pack's. at[d] is the place of
    the token at depth d of the current path.
    """

    def __init__(self, loaded: Loaded, budget: int):
        self.loaded = loaded
        self.budget = budget
        self.cache = DynamicCache()  # no config: sliding layers too keep all, masks see to windows
        self.cached = 0
        self.at = np.empty(0, dtype=np.int64)
        self._clear()

    def _clear(self) -> None:
        self.tokens: list[np.ndarray] = []
        self.depths: list[np.ndarray] = []
        self.size = 0
        self.blocks: list[_Block] = []
        self.wants: list[tuple[int, _Query]] = []

    @property
    def depth(self) -> int:
        return self.at.size

    @property
    def full(self) -> bool:
        return self.size >= self.budget

    def back_to(self, depth: int) -> None:
        """Climb to an ancestor: the path's first `depth` tokens stay."""
        self.at = self.at[:depth]

    def add(self, ids: np.ndarray) -> int:
        """Append tokens as a chain under the current path; returns how many found room."""
        n = min(len(ids), self.budget - self.size)
        if not self.blocks or self.blocks[-1].size + n > max(BLOCK, n):
            self.blocks.append(_Block(self.size, self.at))
        self.blocks[-1].runs.append((n, self.depth))
        self.tokens.append(ids[:n])
        self.depths.append(np.arange(self.depth, self.depth + n))
        places = np.arange(n) + self.cached + self.size
        self.at = np.concatenate([self.at, places])
        self.size += n
        return n

    def want(self, query: _Query) -> None:
        self.wants.append((int(self.at[-1]) - self.cached, query))

    def step(self) -> Answers:
        """Compute the pack, keep the current path, and return what was wanted."""
        device = self.loaded.device
        ids = torch.from_numpy(np.concatenate(self.tokens).astype(np.int64))[None].to(device)
        positions = torch.from_numpy(np.concatenate(self.depths))[None].to(device)
        places = sorted({place for place, _ in self.wants})
        keep = torch.tensor(places or [self.size - 1], device=device)
        total = self.cached + self.size
        with (
            torch.inference_mode(),
            memory_in_words(self.loaded.name),
            _attending(self.loaded.model, self.blocks, self.cached),
            _last_mlp_only(self.loaded.model, keep, self.size),
        ):
            out = self.loaded.model(
                input_ids=ids,
                position_ids=positions,
                # Never read, see _attending; being 4-D it stops transformers making its own.
                attention_mask=torch.zeros((), device=device).expand(1, 1, self.size, total),
                past_key_values=self.cache,
                use_cache=True,
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
        self._clear()
        return answers


class _Block:
    """Consecutive tokens of a pack whose attention is computed together.

    In depth-first order, all that a stretch of tokens attends to are the ancestors of its first
    token and the stretch itself. runs: (tokens, depth of the first) of the chains in it.
    """

    def __init__(self, start: int, ancestors: np.ndarray):
        self.start = start
        self.ancestors = ancestors
        self.runs: list[tuple[int, int]] = []

    @property
    def size(self) -> int:
        return sum(n for n, _ in self.runs)

    def keys(self, cached: int) -> np.ndarray:
        """Places of the keys this block attends to."""
        own = np.arange(self.start, self.start + self.size) + cached
        return np.concatenate([self.ancestors, own])

    def sees(self, window: int | None) -> np.ndarray:
        """bool[queries, keys]: which key is an ancestor of which query, or the query itself.

        window: only keys fewer than this many positions back, for sliding attention.
        """
        above = self.ancestors.size
        allowed = np.zeros((self.size, above + self.size), dtype=bool)
        path = np.arange(above)  # columns of the current path, by depth
        row = 0
        for n, depth in self.runs:
            path = np.concatenate([path[:depth], np.arange(n) + above + row])
            allowed[row : row + n, path[:depth]] = True
            allowed[row : row + n, path[depth:]] = np.tri(n, dtype=bool)
            row += n
        if window is not None:
            depths = np.concatenate([np.arange(d, d + n) for n, d in self.runs])
            key_depths = np.concatenate([np.arange(above), depths])
            allowed &= depths[:, None] - key_depths[None, :] < window
        return allowed


ATTENTION = "pluriscope_tree"


@contextmanager
def _attending(model: Any, blocks: Sequence[_Block], cached: int) -> Iterator[None]:
    """Within, the model attends along the tree: block by block, by its own attention function.

    Masks are built here for each block and window, so models with full and sliding layers, soft
    caps or grouped heads stay exactly themselves.
    """
    ready: dict[int | None, list[tuple[slice, torch.Tensor, torch.Tensor]]] = {}
    calls = 0

    def prepare(window: int | None, like: torch.Tensor) -> list:
        made = []
        for block in blocks:
            sees = torch.from_numpy(block.sees(window)).to(like.device)
            mask = torch.zeros(sees.shape, dtype=like.dtype, device=like.device)
            mask.masked_fill_(~sees, -torch.inf)
            keys = torch.from_numpy(block.keys(cached)).to(like.device)
            made.append((slice(block.start, block.start + block.size), keys, mask[None, None]))
        return made

    def attend(module, query, key, value, attention_mask, *args, sliding_window=None, **kwargs):
        nonlocal calls
        calls += 1
        if sliding_window not in ready:
            ready[sliding_window] = prepare(sliding_window, query)
        own = functions[id(module.config)]
        if own is None:
            own = sys.modules[type(module).__module__].eager_attention_forward
        if own is sdpa_attention_forward and not kwargs.get("softcap"):
            own = _grouped_sdpa
        parts = [
            own(
                module,
                query[:, :, rows],
                key.index_select(2, keys),
                value.index_select(2, keys),
                mask,
                *args,
                sliding_window=sliding_window,
                **kwargs,
            )[0]
            for rows, keys, mask in ready[sliding_window]
        ]
        return torch.cat(parts, dim=1), None

    configs = {id(c): c for m in model.modules() if (c := getattr(m, "config", None)) is not None}
    before = {key: c._attn_implementation for key, c in configs.items()}
    functions = {key: ALL_ATTENTION_FUNCTIONS.get(name) for key, name in before.items()}
    ALL_ATTENTION_FUNCTIONS[ATTENTION] = attend
    try:
        for config in configs.values():
            config._attn_implementation_internal = ATTENTION
        yield
    finally:
        for key, config in configs.items():
            config._attn_implementation_internal = before[key]
        del ALL_ATTENTION_FUNCTIONS[ATTENTION]
    if calls == 0:
        raise _NotShared("the model's attention is its own")


def _grouped_sdpa(module, query, key, value, mask, *args, scaling=None, **kwargs):
    """transformers' sdpa, with the query heads of a group stacked as rows instead of their keys
    and values copied for each: the same numbers, a seventh faster on a CPU."""
    _, heads, rows, width = query.shape
    groups = key.shape[1]
    stacked = query.reshape(1, groups, heads // groups * rows, width)
    out = torch.nn.functional.scaled_dot_product_attention(
        stacked, key, value, attn_mask=mask.repeat(1, 1, heads // groups, 1), scale=scaling
    )
    return out.view(1, heads, rows, value.shape[3]).transpose(1, 2), None


@contextmanager
def _last_mlp_only(model: Any, places: torch.Tensor, size: int) -> Iterator[None]:
    """Within, the last layer's MLP is computed for these places alone; elsewhere it returns zeros.

    Nobody reads the last layer's other outputs: attention has had its keys and values by then.
    Saves a share of nearly 1 / layers.
    """
    layers = getattr(model.get_decoder(), "layers", None)
    mlp = getattr(layers[-1], "mlp", None) if layers is not None else None
    if mlp is None:
        yield
        return

    def pick(module, args):
        return (args[0][:, places], *args[1:])

    def spread(module, args, output):
        first, *others = output if isinstance(output, tuple) else (output,)
        whole = first.new_zeros(1, size, first.shape[2])
        whole[:, places] = first
        return (whole, *others) if others else whole

    hooks = [mlp.register_forward_pre_hook(pick), mlp.register_forward_hook(spread)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _NotShared(Exception):
    """This model cannot compute shared beginnings once."""


def _read(logits: torch.Tensor, wanted: list[tuple[int, _Query]]) -> Answers:
    """Log-probabilities of each query's targets. logits: [rows, vocabulary]."""
    if not wanted:
        return []
    logits = logits.float()
    total = torch.logsumexp(logits, dim=-1)
    rows = torch.tensor([row for row, query in wanted for _ in query.targets])
    tokens = torch.tensor([token for _, query in wanted for token in query.targets])
    rows, tokens = rows.to(logits.device), tokens.to(logits.device)
    found = (logits[rows, tokens] - total[rows]).double().cpu().numpy()
    answers, start = [], 0
    for _, query in wanted:
        answers.append((query, found[start : start + len(query.targets)]))
        start += len(query.targets)
    return answers


# -- the plain way: whole prompts, padded on the right ---------------------------------------------


def _padded(
    loaded: Loaded, queries: Sequence[_Query], budget: int, stop: Callable[[], bool]
) -> Iterator[Answers]:
    """Whole prompts in batches of like length, for models whose beginnings cannot be shared.

    A query that is the beginning of another is read off the same row.
    """
    rows: list[tuple[np.ndarray, list[_Query]]] = []
    for query in sorted(queries, key=lambda q: q.key, reverse=True):
        if rows and rows[-1][1][0].key.startswith(query.key):
            rows[-1][1].append(query)
        else:
            rows.append((np.frombuffer(query.key, dtype=">u4"), [query]))
    rows.sort(key=lambda row: len(row[0]))
    start = 0
    while start < len(rows):
        end = start + 1
        while end < len(rows) and (end - start + 1) * len(rows[end][0]) <= budget:
            end += 1
        if stop():
            return
        yield _padded_step(loaded, rows[start:end])
        start = end


def _padded_step(loaded: Loaded, rows: list[tuple[np.ndarray, list[_Query]]]) -> Answers:
    longest = max(len(ids) for ids, _ in rows)
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
    device = loaded.device
    with torch.inference_mode(), memory_in_words(loaded.name):
        out = loaded.model(
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
        return _read(picked, [(i, query) for i, (_, _, query) in enumerate(wanted)])


# -- which way a model goes ------------------------------------------------------------------------

SHARED_LAYERS = {"full_attention", "sliding_attention"}


def _shares_beginnings(loaded: Loaded) -> bool:
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
        _Query(np.concatenate([stem, end]).astype(">u4").tobytes(), targets, 0, slot)
        for slot, end in enumerate(endings)
    ]

    def ask(engine: Callable) -> np.ndarray:
        found = {}
        for answers in engine(loaded, queries, tokens + 6, lambda: False):
            found.update((query.slot, logprobs) for query, logprobs in answers)
        return np.array([found[slot] for slot in range(len(queries))])

    try:
        shared = ask(_tree)
    except (_NotShared, TypeError, ValueError, RuntimeError, AttributeError, IndexError, KeyError):
        return False  # whatever a foreign architecture makes of the tree: the plain way is exact
    plain = ask(_padded)
    noise = 1e-3 if loaded.precision == "fp32" else 0.05 * max(1.0, plain.std())
    return bool(np.abs(shared - plain).mean() < noise)
