"""How far a tuned model's next words are from its base's, on text that neither was tuned on.

One model in memory serves both sides: the adapter is set aside for one of two forward passes over
the same batch, so no distribution over the vocabulary outlives its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from core.models.load import Loaded, bare, chat_text, encode, memory_in_words

# Logits held at once for each side: 64 MB in 32 bits, 130 tokens of a vocabulary of 128,000.
LOGITS = 2**24


class Passage(NamedTuple):
    """Tokens, of which those from `start` on are to be predicted."""

    ids: tuple[int, ...]
    start: int


class Reading(NamedTuple):
    """Means over the predicted tokens of one passage.

    tokens: how many. kl: KL(base ‖ tuned) of the next token, nats. base_nll, tuned_nll: minus the
    natural logarithm of the probability given to the true token. base_p, tuned_p: that
    probability.
    """

    tokens: int
    kl: float
    base_nll: float
    tuned_nll: float
    base_p: float
    tuned_p: float


def prose(loaded: Loaded, text: str) -> Passage:
    """A text as it stands, without a chat: everything after its first token is predicted."""
    return Passage(tuple(loaded.tokenizer(text)["input_ids"]), 1)


def reply(loaded: Loaded, ask: str, text: str) -> Passage:
    """A question and a given reply in the model's own template: the reply is predicted."""
    messages = [{"role": "user", "content": ask}]
    before = encode(loaded, chat_text(loaded, messages))
    whole = encode(
        loaded,
        chat_text(
            loaded, [*messages, {"role": "assistant", "content": text}], generation_prompt=False
        ),
    )
    pairs = zip(before, whole, strict=False)
    start = next((at for at, (x, y) in enumerate(pairs) if x != y), min(len(before), len(whole)))
    return Passage(tuple(whole), start)


def read(
    loaded: Loaded, passages: Sequence[Passage], stop: Callable[[], bool] = lambda: False
) -> Iterator[tuple[int, Reading]]:
    """Yield (index, reading) for each passage, base and tuned side by side; ends early on stop.

    loaded: a model with its adapter on.
    """
    order = sorted(range(len(passages)), key=lambda index: len(passages[index].ids))
    limit = max(1, LOGITS // len(loaded.tokenizer))
    while order and not stop():
        batch = [order.pop(0)]
        while order and (len(batch) + 1) * len(passages[order[0]].ids) <= limit:
            batch.append(order.pop(0))
        yield from zip(batch, _step(loaded, [passages[index] for index in batch]), strict=True)


def _step(loaded: Loaded, batch: Sequence[Passage]) -> list[Reading]:
    longest = max(len(passage.ids) for passage in batch)
    ids = torch.zeros((len(batch), longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, passage in enumerate(batch):
        ids[row, : len(passage.ids)] = torch.tensor(passage.ids)
        mask[row, : len(passage.ids)] = 1
    ids, mask = ids.to(loaded.device), mask.to(loaded.device)
    with torch.inference_mode(), memory_in_words(loaded.name):
        tuned = _logprobs(loaded, ids, mask)
        with bare(loaded):
            base = _logprobs(loaded, ids, mask)
        kl = (base.exp() * (base - tuned)).sum(-1).double().cpu().numpy()
        true = ids[:, 1:, None]
        sides = [side.gather(-1, true)[..., 0].double().cpu().numpy() for side in (base, tuned)]
    readings = []
    for row, passage in enumerate(batch):
        at = slice(max(passage.start, 1) - 1, len(passage.ids) - 1)
        base_log, tuned_log = (side[row, at] for side in sides)
        readings.append(
            Reading(
                len(base_log),
                float(kl[row, at].mean()),
                float(-base_log.mean()),
                float(-tuned_log.mean()),
                float(np.exp(base_log).mean()),
                float(np.exp(tuned_log).mean()),
            )
        )
    return readings


def _logprobs(loaded: Loaded, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """float32 [rows, tokens - 1, vocabulary]: log-probabilities of what follows each token."""
    logits = loaded.model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
    return torch.log_softmax(logits.float(), dim=-1)
