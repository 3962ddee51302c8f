"""Which texts are nearly the same as others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from sacrebleu.metrics import CHRF

from core.survey.chrf import chrf_scores
from core.survey.near_duplicates import alike, rouge_l
from core.survey.survey import load_bundled

QUESTIONS = [item.question for item in load_bundled().items[:120]]


@pytest.mark.parametrize("limit", [25, 50, 80])
def test_every_pair_at_the_limit_is_found_and_no_other(limit):
    scores = chrf_scores(QUESTIONS)
    found = {(like.text, like.other): like.score for like in alike(QUESTIONS, None, limit)}
    wanted = {(i, j) for i, j in np.argwhere(scores >= limit) if j < i}
    assert found.keys() == wanted and wanted
    assert all(score == pytest.approx(scores[pair]) for pair, score in found.items())


def test_scores_are_sacrebleu_s():
    chrf = CHRF(word_order=2)
    texts, others = QUESTIONS[:15], QUESTIONS[15:60]
    found = list(alike(texts, others, 30))
    assert found
    for text, other, score in found:
        wanted = chrf.sentence_score(texts[text], [others[other]]).score
        assert score == pytest.approx(wanted)


words = some.lists(some.sampled_from(["how", "much", "do", "you", "the", "the", "bank", "?"]))
texts = some.lists(words.map(" ".join), max_size=12)


@given(texts, texts, some.sampled_from([0, 40, 70, 95]), some.sampled_from(["chrf", "rouge"]))
def test_nothing_is_missed_among_short_and_empty_texts(mine, others, limit, measure):
    everything = alike(mine, others, 0, measure)
    assert len(everything) == len(mine) * len(others)
    found = alike(mine, others, limit, measure)
    assert [like for like in everything if like.score >= limit] == found
    assert all(0 <= like.score <= 100 + 1e-9 for like in everything)


def test_rouge_l_by_hand():
    # The longest common subsequence is "the cat on mat": 4 of 6 and of 5 words.
    assert rouge_l("the cat sat on the mat", "the cat was on mat") == pytest.approx(
        100 * 2 * 4 / (6 + 5)
    )
    assert rouge_l("A, b!", "a b") == 100 and rouge_l("", "") == 0 and rouge_l("b a", "a b") == 50


def test_a_text_is_held_against_earlier_ones_only():
    same = ["Is it fair to all?"] * 3
    assert [(like.text, like.other) for like in alike(same, None, 99)] == [(1, 0), (2, 0), (2, 1)]
    assert alike([], ["x"], 0) == [] and alike([], None, 0) == []
