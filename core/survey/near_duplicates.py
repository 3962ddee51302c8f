"""Which texts are nearly the same as others, by chrF++ or ROUGE-L, exactly and among thousands.

Every pair at or above a limit is found, and no other. A pair's score cannot lie above a bound that
follows from the n-grams counted so far, so the rarest kinds of n-grams, which rule out most pairs,
are counted first, and only what is left is scored in full.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from core.survey.chrf import ngrams


class Like(NamedTuple):
    """Text number `text` is like text number `other`, by `score` (0 to 100)."""

    text: int
    other: int
    score: float


class Measure(NamedTuple):
    """How alike two texts are, the second being the reference: an F score of precision and recall.

    kinds: the n-grams of a text, one counter for each kind; precision and recall are means over
    the kinds that both texts have. rarest: kinds in the order that rules out most. beta: how many
    times recall outweighs precision. exact: the score, where it asks for more than n-grams in
    common, which then bound it.
    """

    name: str
    kinds: Callable[[str], list[Counter[str]]]
    rarest: tuple[int, ...]
    beta: float
    exact: Callable[[str, str], float] | None


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def rouge_l(text: str, other: str) -> float:
    """ROUGE-L (Lin 2004): F1 of the longest common subsequence of words, 0 to 100."""
    mine, theirs = words(text), words(other)
    row = [0] * (len(theirs) + 1)
    for word in mine:
        before = 0  # the row above, one to the left
        for place, candidate in enumerate(theirs, 1):
            above = row[place]
            row[place] = before + 1 if word == candidate else max(above, row[place - 1])
            before = above
    return 100 * 2 * row[-1] / max(len(mine) + len(theirs), 1)


MEASURES = {
    one.name: one
    for one in (
        # chrF++ (sacrebleu's CHRF(word_order=2)): character 1- to 6-grams, words and word pairs.
        Measure("chrf", ngrams, (5, 7, 4, 6, 3, 2, 1, 0), 2, None),
        Measure("rouge", lambda text: [Counter(words(text))], (0,), 1, rouge_l),
    )
}


# Why: docs/decisions.md, "Near repetitions are found exactly."
def alike(
    texts: Sequence[str], others: Sequence[str] | None, limit: float, measure: str = "chrf"
) -> list[Like]:
    """Every text with every other that it resembles at `limit` (0 to 100) or above, in order.

    others: what the texts are held against; None holds each against the texts before it.
    """
    if not texts:
        return []
    how = MEASURES[measure]
    everything = [*texts, *(others or ())]
    posted = _posted(everything, how, len(others or ()))
    found = []
    for text in range(len(texts)):
        pool = slice(0, text) if others is None else slice(len(texts), len(everything))
        for other in _possible(posted, text, pool, limit, how.beta):
            if how.exact:
                score = how.exact(texts[text], everything[pool.start + other])
            else:
                score = _score(posted, text, pool.start + other, how.beta)
            if score >= limit:
                found.append(Like(text, int(other), score))
        if others is None:
            for kind in posted:
                kind.admit(text)
    return found


FEW = 8  # so few are sooner scored than ruled out


def _possible(
    posted: Sequence[_Postings], text: int, pool: slice, limit: float, beta: float
) -> np.ndarray:
    """Places in the pool that may reach the limit: no kind counted so far rules them out."""
    both = np.array([kind.sizes[pool] * kind.sizes[text] > 0 for kind in posted], float)
    kinds = np.maximum(both.sum(0), 1)
    precision, recall = both.sum(0), both.sum(0)  # as if all else matched
    alive = np.arange(both.shape[1])
    for kind, has in zip(posted, both, strict=True):
        if len(alive) <= FEW:
            break
        matches = kind.matches(text, pool)
        precision -= has - has * matches / max(kind.sizes[text], 1)
        recall -= has - has * matches / np.maximum(kind.sizes[pool], 1)
        bound = _f_score(precision / kinds, recall / kinds, beta)
        alive = np.flatnonzero(bound >= limit - 1e-6)
    return alive


def _score(posted: Sequence[_Postings], text: int, other: int, beta: float) -> float:
    """The F score of two texts by their n-grams in common."""
    precision, recall = [], []
    for kind in posted:
        mine, theirs = kind.features[text], kind.features[other]
        if len(mine) and len(theirs):
            matches = len(np.intersect1d(mine, theirs, assume_unique=True))
            precision.append(matches / len(mine))
            recall.append(matches / len(theirs))
    return float(_f_score(np.mean(precision), np.mean(recall), beta)) if precision else 0.0


def _f_score(precision, recall, beta: float):
    weighed = beta**2 * precision + recall
    return 100 * (1 + beta**2) * precision * recall / np.where(weighed > 0, weighed, 1)


class _Postings:
    """For one kind of n-gram, which texts have it.

    The second of one n-gram in a text counts apart from its first, so that adding up what two
    texts have in common counts it min(a, b) times. sizes: int[N], n-grams of each text.
    """

    def __init__(self, features: Sequence[np.ndarray], posted: int):
        """features: numbers of the n-grams of each text. posted: how many of the texts, from the
        end, can be met from the start; the others once they are admitted."""
        self.sizes = np.array([len(mine) for mine in features])
        self.features = features
        whole = np.concatenate(features)
        self.owners = np.empty(len(whole), np.int32)
        counts = np.bincount(whole) if len(whole) else np.empty(0, np.int64)
        self.starts = counts.cumsum() - counts
        self.ends = self.starts.copy()
        for text in range(len(features) - posted, len(features)):
            self.admit(text)

    def admit(self, text: int) -> None:
        mine = self.features[text]
        self.owners[self.ends[mine]] = text
        self.ends[mine] += 1

    def matches(self, text: int, pool: slice) -> np.ndarray:
        """int[pool]: how many n-grams each text of the pool shares with `text`."""
        mine = self.features[text]
        starts, ends = self.starts[mine].tolist(), self.ends[mine].tolist()
        lists = [self.owners[a:b] for a, b in zip(starts, ends, strict=True) if a < b]
        owners = np.concatenate(lists) if lists else np.empty(0, np.int32)
        return np.bincount(owners, minlength=pool.stop)[pool]


def _posted(texts: Sequence[str], how: Measure, posted: int) -> list[_Postings]:
    """One for each kind of n-gram, the rarest kinds first."""
    numbers: list[dict] = [{} for _ in how.rarest]
    features: list[list[np.ndarray]] = [[] for _ in how.rarest]
    for text in texts:
        counters = how.kinds(text)
        for place, kind in enumerate(how.rarest):
            known, mine = numbers[place], []
            for ngram, count in counters[kind].items():
                mine.append(known.setdefault(ngram, len(known)))
                for again in range(1, count):
                    mine.append(known.setdefault((ngram, again), len(known)))
            features[place].append(np.array(mine, np.int32))
    return [_Postings(of_kind, posted) for of_kind in features]
