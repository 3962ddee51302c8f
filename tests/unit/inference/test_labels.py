"""What counts as writing a label, and where a template has a reply begin."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.inference.chat_frames import framed, frames_of
from core.inference.label_rules import LABEL, LABEL_RULES, SINGLE, TURN, WHOLE
from core.inference.labels import Reply, Request, lead_of, prompts, reading
from core.inference.option_scoring import score
from core.models.load import chat_text, encode
from tests import tiny
from tests.unit.inference.templates import OPENS_THOUGHT, REWRITES_EARLIER_TURNS, SEVERAL

END = 3  # a token that is in no label


def writer(seed: int):
    """How probable each of four tokens is after some tokens: any distributions at all."""

    def after(tokens: tuple[int, ...]) -> np.ndarray:
        return np.random.default_rng([seed, len(tokens), *tokens]).dirichlet(np.full(4, 0.5))

    return after


def probability(read, after) -> list[float]:
    found = [np.log(after(tokens)[list(targets)]) for tokens, targets in read.queries]

    def log(steps):
        return sum(found[slot][target] for slot, target in steps)

    return [
        math.exp(log(term.path)) * (1 - sum(math.exp(log(s)) for s in term.further))
        for term in read.terms
    ]


labels = st.lists(
    st.lists(st.integers(0, 2), min_size=1, max_size=3).map(tuple),
    min_size=2, max_size=6, unique=True,
)  # fmt: skip


@given(labels, st.integers(0, 1000))
def test_a_label_is_as_probable_as_texts_that_begin_with_it_and_with_no_longer_one(labels, seed):
    after = writer(seed)
    expected = dict.fromkeys(labels, 0.0)
    for text in product(range(4), repeat=3):
        begun = [label for label in labels if text[: len(label)] == label]
        if begun:
            steps = (after(text[:i])[token] for i, token in enumerate(text))
            expected[max(begun, key=len)] += math.prod(steps)
    found = probability(reading(Reply(0, tuple(labels), (END,)), LABEL), after)
    assert found == pytest.approx(list(expected.values()), abs=1e-9)
    assert sum(found) <= 1 + 1e-9


@given(labels)
def test_the_rule_of_labels_asks_for_nothing_that_the_rule_of_turns_does_not(labels):
    reply = Reply(0, tuple(labels), (END,))
    by_label, by_turn = (dict(reading(reply, rule).queries) for rule in LABEL_RULES)
    assert by_label.keys() <= by_turn.keys()
    assert all(set(by_label[after]) <= set(by_turn[after]) for after in by_label)


def test_labels_of_one_token_are_read_alike_by_both_rules():
    reply = Reply(0, ((1,), (2,), (3,)), (9,))
    assert reading(reply, LABEL) == reading(reply, TURN)
    assert reading(reply, LABEL).rule == SINGLE


def test_words_after_a_label_are_no_part_of_the_choice():
    # Writes 1 or 10 as often; after a lone 1 it goes on with words nine times out of ten.
    one, zero, word, end = 0, 1, 2, 3
    odds = {(): {one: 1.0}, (one,): {zero: 0.5, word: 0.45, end: 0.05}, (one, zero): {end: 1.0}}

    def after(tokens):
        return np.array([odds[tokens].get(token, 1e-12) for token in range(4)])

    reply = Reply(0, ((one,), (one, zero)), (end,))
    assert probability(reading(reply, LABEL), after) == pytest.approx([0.5, 0.5])
    assert probability(reading(reply, TURN), after) == pytest.approx([0.05, 0.5])
    assert reading(reply, TURN).rule == WHOLE


# -- where a reply begins --------------------------------------------------------------------------

KENYA = {"role": "system", "content": "You are a person from Kenya."}
QUESTIONS = [
    "How important is family?\n1. Very\n2. Rather\n3. Not very\n4. Not at all",
    "How often do you pray?\n1. Daily\n2. Weekly\n3. Yearly\n4. Never",
]


def asked(question: str) -> Request:
    return Request([KENYA, {"role": "user", "content": question}], ("1", "2", "3", "4"))


@pytest.mark.parametrize("template", SEVERAL.values(), ids=SEVERAL.keys())
def test_what_is_sent_holds_all_that_was_said_and_is_what_the_inspector_shows(template):
    loaded = tiny.loaded("llama", template=template)
    requests = [asked(question) for question in QUESTIONS]
    frames = frames_of(loaded)
    for request, (ids, reply) in zip(requests, prompts(loaded, requests), strict=True):
        sent = loaded.tokenizer.decode(ids.tolist())
        lead, turn = lead_of(loaded, request.messages)
        assert encode(loaded, lead)[: len(ids)] == ids.tolist()
        assert reply.back == 0 and sent == lead
        for message in request.messages:
            assert message["content"] in sent
        text = chat_text(loaded, request.messages)
        assert sent == text[: len(text) - turn.cut] + turn.extra
        assert framed(frames, "probabilities", request.messages) == sent


def test_a_thought_that_the_template_opens_is_closed_before_a_label():
    loaded = tiny.loaded("llama", template=OPENS_THOUGHT)
    request = asked(QUESTIONS[0])
    lead, _ = lead_of(loaded, request.messages)
    assert lead == chat_text(loaded, request.messages) + "</think>\n\n"
    assert lead.endswith("<|im_start|>assistant\n<think>\n</think>\n\n")


def test_a_template_that_writes_earlier_turns_anew_is_asked_the_question_itself():
    loaded = tiny.loaded("mistral", template=REWRITES_EARLIER_TURNS)
    found = dict(score(loaded, [asked(question) for question in QUESTIONS]))
    for index, question in enumerate(QUESTIONS):
        text = f"<|begin_of_text|>[INST] You are a person from Kenya.\n\n{question}[/INST]"
        ids = encode(loaded, f"{text} ")
        with torch.no_grad():
            expected = torch.log_softmax(loaded.model(torch.tensor([ids])).logits[0, -1], -1)
        labels = [encode(loaded, f"{text} {label}") for label in "1234"]
        assert all(one[: len(ids)] == ids for one in labels)
        assert found[index].logprobs == pytest.approx(
            [float(expected[one[len(ids)]]) for one in labels], abs=1e-5
        )
