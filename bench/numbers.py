"""How long the numbers take for a run of 61 countries by 259 items.

    python -m bench.numbers [--replicates 10000]

Processor time and wall time of one call each, the best of three: a score with its interval, floor,
others and ceiling; the faces of the page Compare; and the memory that the process came to.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from core.metrics import panel, relations, score
from core.metrics.panel import Panel
from core.metrics.references import references
from core.survey.survey import load_bundled


def leaning(towards: float, seed: int) -> Panel:
    """A made-up run on the whole bundled survey: part people, part whims of its own."""
    people = panel.human_panel(load_bundled())
    rng = np.random.default_rng(seed)
    whims = rng.gamma(0.7, 1, people.human.shape[1:]) * people.layout.valid
    whims /= whims.sum(-1, keepdims=True)
    everyone = np.nanmean(people.human, axis=0)
    own = np.where(np.isnan(people.human), everyone, people.human)
    model = towards * own + (1 - towards) * whims
    return replace(people, model=model, chosen=panel.most_likely(model))


def timed(work: Callable[[], object], repeats: int = 3) -> dict[str, float]:
    """Seconds of processor and of wall time, the best of a few."""
    best = {"cpu_s": float("inf"), "wall_s": float("inf")}
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        best["wall_s"] = min(best["wall_s"], time.perf_counter() - wall)
        best["cpu_s"] = min(best["cpu_s"], time.process_time() - cpu)
    return {name: round(value, 2) for name, value in best.items()}


def main(argv: list[str] | None = None) -> dict:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--replicates", type=int, default=10_000)
    a = arguments.parse_args(argv)
    run, other = leaning(0.5, 0), leaning(0.6, 1)
    run.layout, run.guess  # noqa: B018  (made once, kept with the panel)
    result: dict = {"countries": len(run.countries), "items": len(run.items)}
    for name in ("emd", "skill", "paper"):
        result[f"score {name}, {a.replicates:,} replicates"] = timed(
            lambda name=name: score.score(run, name, replicates=a.replicates)
        )
    result[f"change, {a.replicates:,} replicates"] = timed(
        lambda: score.compare(run, other, replicates=a.replicates)
    )
    result["changes of 13 topics, 10,000 replicates each"] = timed(
        lambda: score.compare_topics(run, other), 1
    )
    result["all reference lines"] = timed(lambda: references(run), 1)
    result["personas against countries, 1,000 replicates"] = timed(
        lambda: relations.transfer(run, replicates=1000)
    )

    def spread() -> None:
        apart = relations.distances(run)
        relations.diversity(apart, replicates=1000)
        relations.agreement(apart)

    result["distances, diversity and Mantel, 9,999 permutations"] = timed(spread)
    result["peak_memory_MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(result, indent=2))
    return result


if __name__ == "__main__":
    main()
