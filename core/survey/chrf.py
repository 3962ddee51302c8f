"""How alike two texts are in their characters and words (chrF++), for many at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

# sacrebleu's punctuation: the ASCII marks.
_MARKS = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


def chrf_ranking(texts: Sequence[str]) -> list[list[int]]:
    """For each text the other ones, most similar first, as the CultureSPA study ranks questions.

    chrF++ (sacrebleu's CHRF(word_order=2).sentence_score) with the text itself as hypothesis
    and the other one as reference, rounded to two decimals; ties stay in the order given.
    """
    return [list(ranked) for ranked in _chrf_ranking(tuple(texts))]


@lru_cache(maxsize=8)
def _chrf_ranking(texts: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    rounded = np.round(chrf_scores(texts), 2)
    return tuple(
        tuple(int(other) for other in np.argsort(-row, kind="stable") if other != this)
        for this, row in enumerate(rounded)
    )


# Why: docs/decisions.md, "Some of our code stays although there are libraries."
def chrf_scores(texts: Sequence[str]) -> np.ndarray:
    """float64[N, N]: chrF++ of text i as hypothesis against text j as reference, 0 to 100.

    The same floating-point steps as sacrebleu's, for all pairs at once: n-grams are counted
    once per text, and an n-gram meets only the texts that have it. 259 questions take under a
    second; sacrebleu's own function, called 67,081 times, takes about 20 seconds.
    """
    n = len(texts)
    precision, recall, orders = np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n), int)
    for counters in zip(*map(ngrams, texts), strict=True):
        sizes = np.array([counter.total() for counter in counters], float)
        both = (sizes[:, None] > 0) & (sizes > 0)
        matches = _shared(counters)
        precision += np.where(both, matches / np.maximum(sizes[:, None], 1), 0)
        recall += np.where(both, matches / np.maximum(sizes, 1), 0)
        orders += both
    precision /= np.maximum(orders, 1)
    recall /= np.maximum(orders, 1)
    with np.errstate(invalid="ignore"):
        # beta = 2: recall weighs four times as much
        return np.where(
            precision + recall > 0, 100 * (5 * precision * recall / (4 * precision + recall)), 0.0
        )


def ngrams(text: str) -> list[Counter[str]]:
    """Counts of character n-grams (1 to 6, spaces left out), then of words and word pairs."""
    characters = "".join(text.split())
    words = []
    for word in text.split():
        if len(word) > 1 and word[-1] in _MARKS:
            words += [word[:-1], word[-1]]
        elif len(word) > 1 and word[0] in _MARKS:
            words += [word[0], word[1:]]
        else:
            words.append(word)
    return [
        *(
            Counter(characters[at : at + size] for at in range(len(characters) - size + 1))
            for size in range(1, 7)
        ),
        *(
            Counter(" ".join(words[at : at + size]) for at in range(len(words) - size + 1))
            for size in (1, 2)
        ),
    ]


def _shared(counters: Sequence[Counter[str]]) -> np.ndarray:
    """float64[N, N]: how many n-grams each pair of texts shares, counted with multiplicity."""
    having: dict[str, tuple[list[int], list[int]]] = {}
    for text, counter in enumerate(counters):
        for ngram, count in counter.items():
            texts, counts = having.setdefault(ngram, ([], []))
            texts.append(text)
            counts.append(count)
    shared = np.zeros((len(counters), len(counters)))
    for texts, counts in having.values():
        if len(texts) > 1:
            count = np.array(counts)
            shared[np.ix_(texts, texts)] += np.minimum(count[:, None], count)
    for text, counter in enumerate(counters):
        shared[text, text] = counter.total()
    return shared
