"""A tree of tokens in one row: beginnings that several prompts share are computed once.

A pack holds the tokens of many prompts in depth-first order, each distinct beginning once. Within
`attending` a transformers model attends along that tree: every token sees its own ancestors and
itself, at the positions they have in their prompt. Gradients pass, so asking and tuning share it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

BLOCK = 96  # queries that share one attention call; see Block

EMPTY = np.empty(0, dtype=np.int64)


def common(a: Sequence, b: Sequence) -> int:
    """Length of the common beginning of two token sequences, or of two texts."""
    if isinstance(a, np.ndarray):
        n = min(len(a), len(b))
        differ = np.flatnonzero(a[:n] != b[:n])
        return int(differ[0]) if differ.size else n
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


class Pack:
    """New tokens in depth-first order on top of a path that is cached already (or of none).

    A token's place is its index among cached keys followed by the pack's. at[d] is the place of
    the token at depth d of the current path.
    """

    def __init__(self, block: int = BLOCK):
        self.block = block
        self.cached = 0
        self.at = EMPTY
        self.clear()

    def clear(self) -> None:
        self.tokens: list[np.ndarray] = []
        self.depths: list[np.ndarray] = []
        self.size = 0
        self.blocks: list[Block] = []

    @property
    def depth(self) -> int:
        return self.at.size

    @property
    def last(self) -> int:
        """Where in this pack the current path ends."""
        return int(self.at[-1]) - self.cached

    def back_to(self, depth: int) -> None:
        """Climb to an ancestor: the path's first `depth` tokens stay."""
        self.at = self.at[:depth]

    def add(self, ids: np.ndarray) -> None:
        """Append tokens as a chain under the current path."""
        n = len(ids)
        if n == 0:
            return
        if not self.blocks or self.blocks[-1].size + n > max(self.block, n):
            self.blocks.append(Block(self.size, self.at))
        self.blocks[-1].runs.append((n, self.depth))
        self.tokens.append(ids)
        self.depths.append(np.arange(self.depth, self.depth + n))
        self.at = np.concatenate([self.at, np.arange(n) + self.cached + self.size])
        self.size += n

    def inputs(self, device: torch.device) -> dict[str, torch.Tensor]:
        """What a model is called with, apart from its cache: one row of this pack's tokens."""
        ids = torch.from_numpy(np.concatenate(self.tokens).astype(np.int64))
        positions = torch.from_numpy(np.concatenate(self.depths))
        # Never read, see attending; being 4-D it stops transformers making its own.
        mask = torch.zeros((), device=device).expand(1, 1, self.size, self.cached + self.size)
        return {
            "input_ids": ids[None].to(device),
            "position_ids": positions[None].to(device),
            "attention_mask": mask,
        }


class Block:
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
def attending(model: Any, blocks: Sequence[Block], cached: int) -> Iterator[None]:
    """Within, the model attends along the tree: block by block, by its own attention function.

    Masks are built here for each block and window, so models with full and sliding layers, soft
    caps or grouped heads stay exactly themselves.
    """
    ready: dict[tuple[int | None, int], list[tuple[slice, torch.Tensor, torch.Tensor]]] = {}
    calls = 0

    def prepare(window: int | None, groups: int, like: torch.Tensor) -> list:
        made = []
        for block in blocks:
            sees = torch.from_numpy(block.sees(window)).to(like.device)
            mask = torch.zeros(sees.shape, dtype=like.dtype, device=like.device)
            mask = mask.masked_fill_(~sees, -torch.inf)[None, None].repeat(1, 1, groups, 1)
            keys = torch.from_numpy(block.keys(cached)).to(like.device)
            made.append((slice(block.start, block.start + block.size), keys, mask))
        return made

    def attend(module, query, key, value, attention_mask, *args, sliding_window=None, **kwargs):
        nonlocal calls
        calls += 1
        own, groups = functions[id(module.config)], 1
        if own is None:
            own = sys.modules[type(module).__module__].eager_attention_forward
        if own is sdpa_attention_forward and not kwargs.get("softcap"):
            own, groups = _grouped_sdpa, query.shape[1] // key.shape[1]
        if (sliding_window, groups) not in ready:
            ready[sliding_window, groups] = prepare(sliding_window, groups, query)
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
            for rows, keys, mask in ready[sliding_window, groups]
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
        raise NotShared("the model's attention is its own")


def _grouped_sdpa(module, query, key, value, mask, dropout=0.0, scaling=None, **kwargs):
    """transformers' sdpa, with the query heads of a group stacked as rows instead of their keys
    and values copied for each: the same numbers, a seventh faster on a CPU. mask: for all rows."""
    _, heads, rows, width = query.shape
    groups = key.shape[1]
    stacked = query.reshape(1, groups, heads // groups * rows, width)
    out = torch.nn.functional.scaled_dot_product_attention(
        stacked, key, value, attn_mask=mask, dropout_p=dropout, scale=scaling
    )
    return out.view(1, heads, rows, value.shape[3]).transpose(1, 2), None


@contextmanager
def last_mlp_only(model: Any, places: torch.Tensor, size: int) -> Iterator[None]:
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


class NotShared(Exception):
    """This model cannot compute shared beginnings once."""
