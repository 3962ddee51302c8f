"""How often a 95% interval holds the true score.

    python -m bench.coverage [--metrics emd,paper] [--items 52] [--surveys 1000]

Simulated surveys: so many items drawn from the bundled ones, 1,000 respondents each in three
countries, two made-up runs. The truth is their score on all items with the bundled shares taken as
exact. Counted for a country, for the mean of the countries, and for the change between the runs.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

import numpy as np

from bench.numbers import leaning
from core.metrics import bootstrap, metrics
from core.metrics import score as metrics_score
from core.metrics.panel import Panel

COUNTRIES = ("USA", "KEN", "JPN")
PEOPLE = 1000


def covered(name: str, items: int, surveys: int) -> dict[str, float]:
    """Shares of the surveys, in per cent, whose interval holds the truth."""
    runs = [
        leaning(towards, seed).only(countries=COUNTRIES) for towards, seed in ((0.5, 0), (0.7, 1))
    ]
    everywhere = ~np.isnan(runs[0].human[..., 0]).any(0)
    ids = [item.id for item, there in zip(runs[0].items, everywhere, strict=True) if there]
    one, other = (run.only(items=ids) for run in runs)
    truth = metrics.values(one, name)
    change = metrics.values(other, name) - truth
    rng = np.random.default_rng(0)
    people = one.human / one.human.sum(-1, keepdims=True)
    hits = np.zeros(4)
    for survey in range(surveys):
        picked = rng.integers(0, len(one.items), items)
        human = rng.multinomial(PEOPLE, people[:, picked]) / PEOPLE
        a, b = (_drawn(run, picked, human) for run in (one, other))
        score = metrics_score.score(a, name, replicates=400, seed=survey)
        moved = metrics_score.compare(a, b, name, replicates=400, seed=survey)
        hits += [
            np.mean([_in(c, t) for c, t in zip(score.countries.values(), truth, strict=True)]),
            _in(score.mean, truth.mean()),
            np.mean([_in(c, t) for c, t in zip(moved.countries.values(), change, strict=True)]),
            _in(moved.mean, change.mean()),
        ]
    names = ("country", "mean", "change of a country", "change of the mean")
    return dict(zip(names, np.round(100 * hits / surveys, 1).tolist(), strict=True))


def _drawn(run: Panel, picked: np.ndarray, human: np.ndarray) -> Panel:
    return replace(
        run,
        items=tuple(run.items[k] for k in picked),
        human=human,
        n_valid=np.full(human.shape[:2], PEOPLE),
        model=run.model[:, picked],
        chosen=run.chosen[:, picked],
        deff=np.ones(len(COUNTRIES)),
    )


def _in(interval: bootstrap.Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def main(argv: list[str] | None = None) -> dict:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--metrics", default="emd,tv,skill,jsd,soft,paper")
    arguments.add_argument("--items", default="259,52")
    arguments.add_argument("--surveys", type=int, default=1000)
    a = arguments.parse_args(argv)
    result = {
        f"{name}, {items} items": covered(name, int(items), a.surveys)
        for name in a.metrics.split(",")
        for items in a.items.split(",")
    }
    print(json.dumps(result, indent=2))
    return result


if __name__ == "__main__":
    main()
