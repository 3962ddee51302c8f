"""Which tokens a model would write for each label of a question, and what counts as writing one.

Everything here follows from a model's own template and tokenizer; nothing is computed by the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from core.errors import ModelError
from core.inference.label_rules import LABEL, NOT_CONTINUED, SINGLE, TURN, WHOLE
from core.inference.thought_marks import THOUGHTS, open_thought
from core.inference.token_tree import common
from core.models.load import Loaded, chat_text, encode, special_tokens

TOKEN = ">u4"  # tokens as big-endian 32-bit integers, so that bytes sort as token sequences do


class Request(NamedTuple):
    """A prompt and the labels it may be answered with, such as ("1", "2", "3")."""

    messages: Sequence[dict]
    labels: Sequence[str]


# -- where a reply begins --------------------------------------------------------------------------


class Turn(NamedTuple):
    """How a template writes a reply, beside the text it writes to have one generated.

    cut: characters to drop from the end of that text; extra: characters to add (an empty thought,
    say). tail: what follows a reply, "" where the template cannot write one.
    """

    cut: int
    extra: str
    tail: str


# Texts that no template treats in a way of its own.
ASK, REPLY = "Marigold", "Sunflower"


# Why: docs/decisions.md, "A reply never changes the question."
def lead_of(loaded: Loaded, messages: Sequence[dict]) -> tuple[str, Turn]:
    """The text up to where a reply to these messages begins, and how a reply is written there."""
    text = chat_text(loaded, messages)
    roles = tuple(message["role"] for message in messages)
    turns: dict[tuple[str, ...], Turn] = loaded.notes.setdefault("turns", {})
    if roles not in turns:
        turns[roles] = _turn(loaded, roles)
    turn = turns[roles]
    return text[: len(text) - turn.cut] + turn.extra, turn


def _turn(loaded: Loaded, roles: Sequence[str]) -> Turn:
    """What a template writes between the last message and a reply to it, by its own rendering.

    Some templates write earlier messages in another way once there is a reply. Only what stands
    after the last message is taken from that.
    """
    asked = [{"role": role, "content": ASK} for role in roles]
    try:
        prompt = chat_text(loaded, asked)
        replied = chat_text(
            loaded, [*asked, {"role": "assistant", "content": REPLY}], generation_prompt=False
        )
    except ModelError:
        return Turn(0, "", "")
    lead, found, tail = replied.rpartition(REPLY)
    opened = prompt.rpartition(ASK)[2]
    # Why: docs/decisions.md, "A thought that a template opens is closed at once."
    if thought := open_thought(opened):
        return Turn(0, f"{THOUGHTS[thought]}\n\n", tail if found else "")
    if not found or ASK not in lead or ASK not in prompt:
        return Turn(0, "", "")
    lead = lead.rpartition(ASK)[2]
    same = common(opened, lead)
    return Turn(len(opened) - same, lead[same:], tail)


# -- the tokens of labels --------------------------------------------------------------------------


class Reply(NamedTuple):
    """The tokens of a reply. back: tokens of the prompt which merge with the label and are dropped.
    labels: the tokens of each label after that; end: the tokens that end the turn."""

    back: int
    labels: tuple[tuple[int, ...], ...]
    end: tuple[int, ...]


# How much of a prompt's end can decide how a label is cut into tokens.
ENDING = 16


def prompts(loaded: Loaded, requests: Sequence[Request]) -> Iterator[tuple[np.ndarray, Reply]]:
    """Each request's prompt as TOKEN[n], up to where a label begins, and how labels follow it."""
    replies: dict[tuple[str, tuple[str, ...]], Reply] = loaded.notes.setdefault("replies", {})
    for first in range(0, len(requests), 512):
        chunk = requests[first : first + 512]
        leads = [lead_of(loaded, request.messages) for request in chunk]
        tokens = loaded.tokenizer([lead for lead, _ in leads], add_special_tokens=False)
        for request, (lead, turn), ids in zip(chunk, leads, tokens["input_ids"], strict=True):
            key = lead[-ENDING:], tuple(request.labels)
            if key not in replies:
                replies[key] = _reply(loaded, lead, turn.tail, key[1])
            reply = replies[key]
            yield np.asarray(ids[: len(ids) - reply.back], dtype=TOKEN), reply


def _reply(loaded: Loaded, lead: str, tail: str, labels: tuple[str, ...]) -> Reply:
    """The tokens a model would write for each label after `lead`.

    Where a template cannot write a reply the turn ends with the end token.
    """
    if len(set(labels)) < len(labels) or not labels or not all(labels):
        raise ModelError(f"The labels of a question must be distinct and not empty: {labels}.")
    before = encode(loaded, lead)
    with_label = [encode(loaded, lead + label) for label in labels]
    shared = min(common(before, ids) for ids in with_label)
    tokens = tuple(tuple(ids[shared:]) for ids in with_label)
    if len(set(tokens)) < len(labels) or not all(tokens):
        raise ModelError(
            f"The tokenizer of {loaded.name} cannot tell these labels apart: {', '.join(labels)}."
        )
    end = _end_of_turn(loaded, lead + labels[0], with_label[0], tail)
    return Reply(len(before) - shared, tokens, end)


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


# -- what counts as writing a label ----------------------------------------------------------------


Steps = tuple[tuple[int, int], ...]  # (query, target)s whose log-probabilities add up


class Term(NamedTuple):
    """A label's probability: that of its own tokens, less what goes on into other labels.

    further: from the end of this label to the end of each that continues it, where no other label
    lies between. log P = sum(path) + log(1 - sum over further of exp(sum(path))).
    """

    path: Steps
    further: tuple[Steps, ...] = ()


class Reading(NamedTuple):
    """What is to be read off a model after a prompt. rule: SINGLE, NOT_CONTINUED or WHOLE.

    queries: what follows the prompt, and the tokens whose probabilities are wanted after that.
    terms: one a label.
    """

    rule: str
    queries: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    terms: tuple[Term, ...]


# Why: docs/decisions.md, "A label counts when it is written."
@lru_cache(maxsize=1024)
def reading(reply: Reply, label_rule: str) -> Reading:
    """The probability of each label by LABEL or TURN (see core.inference.label_rules.py)."""
    labels = reply.labels
    single = all(len(label) == 1 for label in labels)
    rule = SINGLE if single else {LABEL: NOT_CONTINUED, TURN: WHOLE}[label_rule]
    ends = reply.end if rule == WHOLE else ()
    wanted: dict[tuple[int, ...], dict[int, int]] = {}
    for tail in (label + ends for label in labels):
        for i, token in enumerate(tail):
            targets = wanted.setdefault(tail[:i], {})
            targets.setdefault(token, len(targets))
    slots = {after: slot for slot, after in enumerate(wanted)}

    def path(tail: tuple[int, ...], start: int = 0) -> Steps:
        return tuple((slots[tail[:i]], wanted[tail[:i]][tail[i]]) for i in range(start, len(tail)))

    return Reading(
        rule,
        tuple((after, tuple(targets)) for after, targets in wanted.items()),
        tuple(
            Term(
                path(label + ends),
                tuple(path(other, len(label)) for other in _next(label, labels))
                if rule == NOT_CONTINUED
                else (),
            )
            for label in labels
        ),
    )


def _next(label: tuple[int, ...], labels: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The labels that continue a label, without those that continue one of these."""
    further = [other for other in labels if len(other) > len(label) and _begins(other, label)]
    return [
        other
        for other in further
        if not any(between != other and _begins(other, between) for between in further)
    ]


def _begins(tokens: tuple[int, ...], beginning: tuple[int, ...]) -> bool:
    return tokens[: len(beginning)] == beginning
