"""Write answers, many conversations side by side in one batch, streamed as they grow."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import psutil
import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from core.models.load import Loaded, chat, memory_in_words, stop_tokens

SIDE_BY_SIDE = 16  # conversations in one batch; when some end, others take their places
ROOM_TO_ENTER = 0.25  # share of the places that must be free before others enter
# Rows that have ended are computed on, unread, until so large a share of the batch has: taking
# them out copies everybody else's keys and values.
# Why: docs/decisions.md, "Rows that have ended wait for others before they leave."
LEAVE_TOGETHER = 0.1
ENTER_TOKENS = 4096  # prompt tokens computed at once
MEMORY_SHARE = 0.4  # of what is free, for cached keys and values
ROOM = 64  # tokens that find room before keys and values are copied
SECONDS_BETWEEN_TEXTS = 0.1
NUCLEUS = 256  # nearly always enough; sorting a vocabulary costs more than a small model's step


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
    side_by_side: int | None = None,
    on_text: Callable[[list[str]], None] | None = None,
    on_done: Callable[[int, Written], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> list[Written]:
    """Write a reply to each conversation. temperature 0 takes the likeliest token each time.

    seeds: one for each conversation (all `seed` by default). The draw for a token depends only on
    the seed, how far the text is, and the token: two sides with one seed draw alike, so what
    differs between their texts comes from their prompts; and a text does not depend on which
    others are written beside it. side_by_side: at most so many at once (SIDE_BY_SIDE by
    default; fewer where memory is short), the longest prompts first. on_text gets all texts so
    far, at most ten times a second; on_done each text once, when it is finished. stop: asked
    before each token; True returns what was written until then.
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

    def result(row: int) -> Written:
        ids = written[row]
        return Written(_text(loaded, ids, ends), len(ids), bool(ids) and ids[-1] in ends)

    places = _places(loaded, prompts, max_new_tokens, side_by_side or SIDE_BY_SIDE)
    waiting = deque(range(len(prompts)))
    if len(prompts) > places:  # prompts of like length together: less padding
        waiting = deque(sorted(waiting, key=lambda row: -len(prompts[row])))
    batch, alive = _Batch(loaded), []
    with torch.inference_mode(), memory_in_words(loaded.name):
        while (waiting or alive) and not stop():
            free = places - len(alive)
            if waiting and (not alive or (batch.joins and free >= places * ROOM_TO_ENTER)):
                new = [waiting.popleft() for _ in range(min(free, len(waiting)))]
                batch.enter([prompts[row] for row in new])
                alive += new
            steps = [len(written[row]) for row in alive]
            chosen = choose(batch.logits, [seeds[row] for row in alive], steps, temperature, top_p)
            keep = []
            for place, (row, token) in enumerate(zip(alive, chosen, strict=True)):
                written[row].append(token)
                if token not in ends and len(written[row]) < max_new_tokens:
                    keep.append(place)
                elif on_done:
                    on_done(row, result(row))
            alive = [alive[place] for place in keep]
            show()
            batch.forward([chosen[place] for place in keep], keep)
    show(now=True)
    return [result(row) for row in range(len(prompts))]


def _places(
    loaded: Loaded, prompts: Sequence[Sequence[int]], max_new_tokens: int, wanted: int
) -> int:
    """How many conversations find room for their keys and values, at most as many as wanted."""
    config = loaded.model.config.get_text_config(decoder=True)
    asking = getattr(config, "num_attention_heads", None) or 1
    heads = getattr(config, "num_key_value_heads", None) or asking
    width = getattr(config, "head_dim", None) or config.hidden_size // asking
    bytes_a_token = 2 * config.num_hidden_layers * heads * width * loaded.model.dtype.itemsize
    longest = max(map(len, prompts), default=0) + max_new_tokens
    if loaded.device.type == "cuda":
        free = torch.cuda.mem_get_info(loaded.device)[0]
    else:
        free = psutil.virtual_memory().available
    return max(1, min(wanted, int(MEMORY_SHARE * free / (bytes_a_token * longest))))


# -- the batch -------------------------------------------------------------------------------------


class _Batch:
    """Conversations padded on the left, with their cached keys and values.

    logits: [rows, vocabulary], of the next token of each row still being written. joins: others
    may enter while some are being written (not where a model's memory is more than keys and
    values).
    """

    def __init__(self, loaded: Loaded):
        self.loaded = loaded
        self.joins = all(
            type(layer) in (DynamicLayer, DynamicSlidingWindowLayer)
            for layer in DynamicCache(config=loaded.model.config).layers
        )
        self._clear()

    def _clear(self) -> None:
        self.cache: Cache | None = None
        self.mask = torch.empty((0, 0), dtype=torch.long, device=self.loaded.device)
        self.rows: list[int] = []  # of mask and cache, those still being written
        self.logits = torch.empty(0)

    def enter(self, prompts: Sequence[Sequence[int]]) -> None:
        """Add conversations after those there are, and compute their first logits."""
        if self.cache is not None and len(self.rows) < len(self.mask):
            self._shrink()
        parts = [] if self.cache is None else [(self.cache, self.mask, self.logits)]
        most = ENTER_TOKENS if self.joins else sys.maxsize
        parts += [self._read(group) for group in _groups(prompts, most)]
        caches, masks, logits = zip(*parts, strict=True)
        self.mask = _side_by_side(masks)
        self.cache = caches[0] if len(parts) == 1 else _joined(caches, self.mask.shape[1])
        self.logits = torch.cat(logits)
        self.rows = list(range(len(self.mask)))

    def _read(self, prompts: Sequence[Sequence[int]]) -> tuple[Cache, torch.Tensor, torch.Tensor]:
        """Cache, mask and last logits of some prompts."""
        longest, device = max(map(len, prompts)), self.loaded.device
        ids = torch.zeros((len(prompts), longest), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask[row, longest - len(prompt) :] = 1
        mask = mask.to(device)
        # Where others may join, sliding layers too keep everything; masks see to their windows.
        if self.joins:
            cache = Cache(layer_class_to_replicate=_Roomy)
        else:
            cache = DynamicCache(config=self.loaded.model.config)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        return cache, mask, self._run(ids.to(device), mask, positions, cache)

    def forward(self, tokens: Sequence[int], keep: Sequence[int]) -> None:
        """Append a token to each row kept; the others leave the batch."""
        self.rows = [self.rows[place] for place in keep]
        if not self.rows:
            self._clear()
            return
        if len(self.mask) - len(self.rows) >= max(1, LEAVE_TOGETHER * len(self.mask)):
            self._shrink()
        device = self.loaded.device
        ids = torch.zeros((len(self.mask), 1), dtype=torch.long, device=device)
        ids[self.rows, 0] = torch.tensor(tokens, device=device)
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), 1)], dim=1)
        logits = self._run(ids, self.mask, self.mask.sum(-1, keepdim=True) - 1, self.cache)
        self.logits = logits if len(self.rows) == len(logits) else logits[self.rows]

    def _shrink(self) -> None:
        """Let go of the rows that have ended."""
        rows = torch.tensor(self.rows, device=self.loaded.device)
        self.mask = self.mask[rows]
        self.cache.batch_select_indices(rows)
        self.rows = list(range(len(rows)))

    def _run(
        self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Cache
    ) -> torch.Tensor:
        out = self.loaded.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return out.logits[:, -1].float()


def _groups(prompts: Sequence[Sequence[int]], most: int) -> Iterator[list[Sequence[int]]]:
    """Prompts in order, in groups whose padded size is at most `most` tokens."""
    group: list[Sequence[int]] = []
    for prompt in prompts:
        longest = max(map(len, [prompt, *group]))
        if group and longest * (len(group) + 1) > most:
            yield group
            group = []
        group.append(prompt)
    if group:
        yield group


def _side_by_side(masks: Sequence[torch.Tensor]) -> torch.Tensor:
    """Masks of several widths as one, padded on the left; columns that nobody uses fall away."""
    used = [mask[:, int(mask.any(0).int().argmax()) :] for mask in masks]
    width = max(mask.shape[1] for mask in used)
    return torch.cat([torch.nn.functional.pad(mask, (width - mask.shape[1], 0)) for mask in used])


def _joined(caches: Sequence[Cache], width: int) -> Cache:
    """Caches one below the other, their last `width` tokens level."""
    joined = Cache(layer_class_to_replicate=_Roomy)
    for layers in zip(*(cache.layers for cache in caches), strict=True):
        layer = _Roomy()
        layer.hold([one.keys for one in layers], [one.values for one in layers], width, ROOM)
        joined.layers.append(layer)
    return joined


class _Roomy(DynamicLayer):
    """A layer's keys and values [rows, heads, tokens, width] with room for those to come, so that
    a token is written beside those before it instead of being copied together with them."""

    def hold(
        self, keys: Sequence[torch.Tensor], values: Sequence[torch.Tensor], width: int, room: int
    ) -> None:
        """Take over keys and values, one below the other, their ends level at `width`."""
        self.dtype, self.device = keys[0].dtype, keys[0].device
        self.is_initialized = True
        self.space = [_levelled(keys, width, room), _levelled(values, width, room)]
        self._show(width)

    def _show(self, width: int) -> None:
        self.keys, self.values = (space[:, :, :width] for space in self.space)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs
    ) -> tuple[torch.Tensor, torch.Tensor]:
        new, start = key_states.shape[2], self.get_seq_length()
        if not self.is_initialized:
            self.hold([key_states], [value_states], new, ROOM)
            return key_states, value_states
        if start + new > self.space[0].shape[2]:
            self.hold([self.keys], [self.values], start, new + ROOM)
        for space, states in zip(self.space, (key_states, value_states), strict=True):
            space[:, :, start : start + new] = states
        self._show(start + new)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        width = self.get_seq_length()
        self.space = [space[indices] for space in self.space]
        self._show(width)


def _levelled(tensors: Sequence[torch.Tensor], width: int, room: int) -> torch.Tensor:
    """[rows, heads, tokens, width] tensors one below the other, their last `width` tokens level;
    zeros where there are fewer, and `room` after them, to be written to."""
    rows, (_, heads, _, size) = sum(map(len, tensors)), tensors[0].shape
    space = tensors[0].new_empty(rows, heads, width + room, size)
    row = 0
    for tensor in tensors:
        used = tensor[:, :, -width:]
        into = space[row : row + len(used)]
        into[:, :, : width - used.shape[2]] = 0
        into[:, :, width - used.shape[2] : width] = used
        row += len(used)
    return space


# -- drawing tokens --------------------------------------------------------------------------------


def choose(
    logits: torch.Tensor,
    seeds: Sequence[int],
    steps: Sequence[int],
    temperature: float,
    top_p: float,
) -> list[int]:
    """Draw a token for each row. logits: float [rows, vocabulary]. steps: how far each text is.

    Nucleus sampling (Holtzman et al. 2020): of the likeliest tokens, the fewest that hold top_p.
    The draw is a race: token i finishes at E_i / p_i with E_i exponential, and the first wins,
    which picks i with probability p_i. E_i is a hash of seed, step and token, not a stream, so it
    is the same whatever else is being drawn.
    """
    if temperature == 0:
        return logits.argmax(-1).tolist()
    probs = torch.softmax(logits / temperature, dim=-1)
    size = min(NUCLEUS, probs.shape[1])
    while True:
        weights, tokens = probs.topk(size)
        held = weights.cumsum(-1)
        if size == probs.shape[1] or bool((held[:, -1] >= top_p).all()):
            break
        size = min(16 * size, probs.shape[1])
    column = {"dtype": torch.long, "device": logits.device}
    seed, step = torch.tensor(seeds, **column)[:, None], torch.tensor(steps, **column)[:, None]
    race = exponentials(seed, step, tokens) / weights.double()
    first = race.masked_fill(held - weights >= top_p, torch.inf).argmin(-1, keepdim=True)
    return tokens.gather(1, first)[:, 0].tolist()


def exponentials(
    seed: int | torch.Tensor, step: int | torch.Tensor, tokens: torch.Tensor
) -> torch.Tensor:
    """Exponential random numbers, one for each token id: a pure function of its arguments.

    SplitMix64's finaliser (Steele, Lea and Flood 2014) over (seed, step, token); float64 > 0, of
    the shape of tokens, over which seed and step are spread.
    """
    state = _mix(torch.as_tensor(seed, dtype=torch.long, device=tokens.device))
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
