"""Did tuning cost anything? Paired differences, a margin of one point, and words for the outcome.

Every test gives points of 100, higher is better, and the paired difference tuned − base with its
95% interval. Tuning is "no worse" where the whole interval lies above −1 point (the margin of
non-inferiority), "worse" where it reaches beyond that margin and lies below 0, and otherwise "too
small to call": a test that finds no difference has not shown that there is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import NamedTuple

import numpy as np
from scipy.special import bdtr

from core import wording
from core.metrics import bootstrap

MARGIN = 1.0
NO_WORSE, WORSE, UNSURE = "no_worse", "worse", "unsure"
REPLICATES = 2000


class Paired(NamedTuple):
    """Tuned − base in points, with its 95% interval."""

    difference: float
    low: float
    high: float


def paired_mean(base: np.ndarray, tuned: np.ndarray, seed: int = 0) -> Paired:
    """Mean difference of values [n] in points, by bootstrap over the n prompts."""
    apart = np.asarray(tuned, float) - np.asarray(base, float)
    value = np.array([apart.mean()])
    counts = bootstrap.item_counts(len(apart), REPLICATES, np.random.default_rng(seed))
    drawn = bootstrap.widened(
        value, (counts @ apart / len(apart))[:, None], np.ones((1, len(apart)))
    )
    low, high = bootstrap.bounds(drawn)
    return Paired(float(value[0]), float(low[0]), float(high[0]))


def paired_share(base: np.ndarray, tuned: np.ndarray) -> Paired:
    """Difference of two shares in points; base, tuned: bool[n], the same prompts passed.

    A bootstrap of prompts that all came out alike would be sure of a difference of nothing. The
    interval is Agresti and Min's (2005): half a prompt is added to each of the four outcomes.
    """
    won, lost = changed(base, tuned)
    n = len(base) + 2
    centre = (won - lost) / n
    reach = 1.959964 * math.sqrt(won + lost + 1 - (won - lost) ** 2 / n) / n
    return Paired(100 * (won - lost) / len(base), 100 * (centre - reach), 100 * (centre + reach))


def changed(base: np.ndarray, tuned: np.ndarray) -> tuple[int, int]:
    """How many prompts only the tuned model passed, and how many only the base."""
    base, tuned = np.asarray(base, bool), np.asarray(tuned, bool)
    return int((tuned & ~base).sum()), int((base & ~tuned).sum())


def mcnemar(won: int, lost: int) -> float:
    """Exact two-sided p of McNemar's test: a fair coin falls as unevenly as won against lost."""
    return float(min(1.0, 2 * bdtr(min(won, lost), won + lost, 0.5)))


def judged(paired: Paired, margin: float = MARGIN) -> str:
    """NO_WORSE, WORSE or UNSURE; see the head of this module."""
    if paired.low > -margin:
        return NO_WORSE
    return WORSE if paired.high < 0 else UNSURE


@dataclass(frozen=True)
class Outcome:
    """One test of one tuned model against its base.

    title, about: for people. loss: what a verdict of WORSE says in a sentence. drift: a measure of
    change rather than of skill. n: prompts (or questions). base, tuned, difference, low, high:
    points of 100. words: the verdict. figures: further numbers by name. note: what else to know, a
    sentence or "".
    """

    name: str
    title: str
    about: str
    loss: str
    drift: bool
    n: int
    base: float
    tuned: float
    difference: float
    low: float
    high: float
    verdict: str
    words: str
    figures: dict[str, float] = field(default_factory=dict)
    note: str = ""


class Kind(NamedTuple):
    """What is the same for every tuned model: see Outcome."""

    name: str
    title: str
    about: str
    loss: str
    drift: bool = False


def made(
    kind: Kind,
    n: int,
    base: float,
    tuned: float,
    paired: Paired,
    figures: Mapping[str, float] | None = None,
    note: str = "",
) -> Outcome:
    """A test with its verdict. base, tuned, paired: points."""
    verdict = judged(paired)
    return Outcome(
        *kind,
        n,
        float(base),
        float(tuned),
        *paired,
        verdict,
        verdict_words(verdict, kind.drift),
        dict(figures or {}),
        note,
    )


def verdict_words(verdict: str, drift: bool = False) -> str:
    """What a verdict is called: "no worse (within 1 point)", or of a drift "as before …"."""
    within = f"(within {wording.count(round(MARGIN), 'point')})"
    if verdict == UNSURE:
        return "too small to call"
    if drift:
        return f"as before {within}" if verdict == NO_WORSE else "moved"
    return f"no worse {within}" if verdict == NO_WORSE else "worse"


def shares(
    kind: Kind, base: np.ndarray, tuned: np.ndarray, figures: Mapping[str, float] | None = None
) -> Outcome:
    """The test of two shares; base, tuned: bool[n], the same prompts passed."""
    won, lost = changed(base, tuned)
    return made(
        kind,
        len(base),
        100 * np.mean(base),
        100 * np.mean(tuned),
        paired_share(base, tuned),
        {**(figures or {}), "won": won, "lost": lost, "mcnemar_p": mcnemar(won, lost)},
    )


class Verdict(NamedTuple):
    """One verdict over all tests, and the sentence that says it."""

    verdict: str
    sentence: str


def overall(tests: Sequence[Outcome]) -> Verdict:
    """WORSE where any test is, UNSURE where one could not tell, otherwise NO_WORSE."""
    if not tests:
        return Verdict(UNSURE, "Nothing has been tested yet.")
    by = {key: [t for t in tests if t.verdict == key] for key in (NO_WORSE, WORSE, UNSURE)}
    many = wording.count(len(tests), "test")
    fine = f"no worse, within {wording.count(round(MARGIN), 'point')},"
    if by[WORSE]:
        losses = [f"{t.loss} ({wording.signed(t.difference)} points)" for t in by[WORSE]]
        rest = f" It is {fine} in {len(by[NO_WORSE])} of {many}" if by[NO_WORSE] else ""
        rest += "." if rest else ""
        return Verdict(WORSE, f"Tuning cost something else: {wording.listed(losses)}.{rest}")
    if by[UNSURE]:
        open_ones = wording.listed([f"“{t.title}”" for t in by[UNSURE]])
        start = f"No cost was found: {fine} in {len(by[NO_WORSE])} of {many}; "
        return Verdict(UNSURE, f"{start}too small to call in {open_ones}.")
    return Verdict(
        NO_WORSE,
        "Tuning cost nothing else that these tests can see: "
        f"{fine} in {'all ' if len(tests) > 1 else ''}{many}.",
    )


# -- records ---------------------------------------------------------------------------------------


def record(tests: Sequence[Outcome], notes: Iterable[str], facts: Mapping) -> dict:
    """What the store keeps: verdict, sentence, margin, tests, notes and facts; NaN as null."""
    verdict, sentence = overall(tests)
    return {
        "verdict": verdict,
        "sentence": sentence,
        "margin": MARGIN,
        "tests": [_plain(asdict(test)) for test in tests],
        "notes": list(notes),
        **facts,
    }


def outcomes(record: Mapping) -> list[Outcome]:
    """The tests of a record again."""
    nan = {name: math.nan for name in ("base", "tuned", "difference", "low", "high")}
    return [
        Outcome(**{key: nan.get(key) if value is None else value for key, value in row.items()})
        for row in record["tests"]
    ]


def over_seeds(records: Sequence[Sequence[Outcome]]) -> tuple[Outcome, ...]:
    """The tests of an arm's seeds as one: means over seeds.

    All seeds met the same prompts, so an interval over prompts does not shrink with more seeds:
    its reach is the mean over seeds. The spread between seeds (Student's interval) is added to it
    as independent chances add up, by the root of the sum of squares.
    """
    return tuple(_of_seeds(of) for of in _by_name(records).values())


def _by_name(records: Iterable[Sequence[Outcome]]) -> dict[str, list[Outcome]]:
    found: dict[str, list[Outcome]] = {}
    for tests in records:
        for test in tests:
            found.setdefault(test.name, []).append(test)
    return found


def _of_seeds(tests: Sequence[Outcome]) -> Outcome:
    if len(tests) == 1:
        return tests[0]
    mean = _mean_of(tests, tests[0].note)
    alone = bootstrap.over_seeds_alone([test.difference for test in tests])
    between = alone.value - alone.low
    below = math.hypot(mean.difference - mean.low, between)
    above = math.hypot(mean.high - mean.difference, between)
    paired = Paired(mean.difference, mean.difference - below, mean.difference + above)
    return made(_kind(mean), mean.n, mean.base, mean.tuned, paired, mean.figures, mean.note)


def together(records: Mapping[str, dict]) -> dict:
    """One record of several adapters on one base, such as one for each country.

    records: by country code. A test's figures are means over adapters; so are the ends of its
    interval, which is therefore too wide rather than too narrow. Each adapter's own record is
    kept under "adapters".
    """
    every = {key: outcomes(one) for key, one in records.items()}
    names = list(dict.fromkeys(test.name for tests in every.values() for test in tests))
    merged = []
    for name in names:
        of = {k: next((t for t in tests if t.name == name), None) for k, tests in every.items()}
        of = {key: test for key, test in of.items() if test is not None}
        worst = min(of, key=lambda key: of[key].difference)
        merged.append(
            _mean_of(
                list(of.values()),
                f"Mean of {wording.count(len(of), 'adapter')}; lowest {worst} "
                f"({wording.signed(of[worst].difference)}).",
            )
        )
    notes = dict.fromkeys(note for one in records.values() for note in one["notes"])
    first = next(iter(records.values()))
    facts = {key: first[key] for key in ("model_name", "precision")}
    facts["seconds"] = round(sum(one["seconds"] for one in records.values()), 1)
    return {**record(merged, notes, facts), "adapters": dict(records)}


def _mean_of(tests: Sequence[Outcome], note: str) -> Outcome:
    def mean(name: str) -> float:
        return fmean(getattr(test, name) for test in tests)

    first = tests[0]
    paired = Paired(mean("difference"), mean("low"), mean("high"))
    figures = {key: fmean(test.figures[key] for test in tests) for key in first.figures}
    return made(_kind(first), first.n, mean("base"), mean("tuned"), paired, figures, note)


def _kind(test: Outcome) -> Kind:
    return Kind(test.name, test.title, test.about, test.loss, test.drift)


def _plain(value):
    """Numbers JSON can hold: NaN and infinity become None."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
