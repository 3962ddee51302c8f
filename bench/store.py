"""How fast pages get their numbers with 15 million answers in the store.

    python -m bench.store [--answers 15000000]

Fills a store of its own with synthetic runs (every country, every item), then times what the Map
and Items pages ask, beside the same questions put to one Parquet file of the same answers with
pandas, which is what one would use without a store.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.dataset as dataset
import pyarrow.parquet as parquet

from core.analysis import scores
from core.jobs.choices import AskChoices
from core.jobs.plan import plan_survey
from core.models.spec import ModelSpec
from core.store.store import Store
from core.views import items, runs


def fill(store: Store, answers: int) -> list[str]:
    """Runs of 61 countries x 259 items, one after another, until there are `answers` answers."""
    plan = plan_survey(
        store,
        AskChoices(
            ModelSpec("builtin"), methods=["country"], cultures="all", items="all", orders="given"
        ),
    )
    survey = store.survey()
    settings = plan.settings[0]
    keys = len(settings.planned_cells(survey))
    made = []
    for number in range(-(-answers // keys)):
        run = store.add_run(
            settings, planned=keys, name=f"Synthetic run {number + 1}", state="done"
        )
        made.append(run)
    first, last = made[0].no, made[-1].no
    store.rows("select setseed(0.42)")
    for start in range(first, last + 1, 50):
        store.rows(
            """insert into answers
               with raw as (
                 select r.no as run_no, c.iso3, i.item, i.codes,
                   list_transform(i.codes, lambda code: random() + 0.01) as weights
                 from runs r
                 cross join (select iso3 from cultures where survey = 'wvs7') c
                 cross join (select item, codes from items where survey = 'wvs7') i
                 where r.no between ? and ?)
               select run_no, iso3, item, 0,
                 list_transform(weights, lambda w: (w / list_sum(weights))::float), 0.99,
                 codes[list_position(weights, list_max(weights))], 'answered', 'single token',
                 null, null, now()::timestamp
               from raw""",
            [start, min(start + 49, last)],
        )
    store.rows("update runs set answered = ? where no between ? and ?", [keys, first, last])
    store.rows("checkpoint")
    return [run.id for run in made]


def times(work, repeats: int) -> dict[str, float]:
    """Median and 95th percentile in milliseconds."""
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - began))
    return {"median_ms": float(np.median(taken)), "p95_ms": float(np.quantile(taken, 0.95))}


def main(argv: list[str] | None = None) -> dict:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--answers", type=int, default=15_000_000)
    arguments.add_argument("--repeats", type=int, default=60)
    a = arguments.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        began = time.perf_counter()
        ids = fill(store, a.answers)
        result: dict = {
            "answers": store.rows("select count(*) from answers")[0][0],
            "runs": len(ids),
            "filled_seconds": time.perf_counter() - began,
            "store_bytes": store.storage()["store"],
        }
        chance = random.Random(7)
        survey = store.survey()
        for run_id in ids[:8]:  # as the app does when a run ends
            scores.table(store, store.run(run_id))
        known = {asking.runs[0].id: asking for asking in runs.askings(store)}

        def pick():
            return store.run(chance.choice(ids[:8]))

        def item():
            return chance.choice(survey.items)

        def item_page():
            asking, one, iso3 = known[chance.choice(ids[:8])], item(), chance.choice(countries)
            items.answer_table(store, asking, one, iso3)
            items.raw_answers(store, asking.runs[0], one, iso3)

        countries = [culture.iso3 for culture in survey.cultures]
        result["map"] = times(lambda: scores.closeness(store, pick()), a.repeats)
        result["item page"] = times(item_page, a.repeats)
        fresh = iter(ids[8:])
        result["map of a run never looked at"] = times(
            lambda: scores.table(store, store.run(next(fresh))), 6
        )
        result["map of one topic, first time"] = times(
            lambda: scores.table(store, pick(), topic=chance.choice(survey.topics)), 6
        )
        result["list of questions, first time"] = times(
            lambda: items.item_table(store, store.run(next(fresh)), None), 6
        )
        result["list of runs"] = times(lambda: runs.askings(store), 10)

        # Instead: one Parquet file, read with pyarrow and pandas.
        path = Path(folder) / "answers.parquet"
        with parquet.ParquetWriter(
            path, store.arrow("select * from answers limit 0").schema
        ) as out:
            for start in range(0, len(ids), 50):
                numbers = [store.run(run_id).no for run_id in ids[start : start + 50]]
                out.write_table(
                    store.arrow(
                        "select * from answers where run_no between ? and ?",
                        [numbers[0], numbers[-1]],
                    )
                )
        source = dataset.dataset(path)

        def parquet_item():
            of_run, of_item = (
                dataset.field("run_no") == pick().no,
                dataset.field("item") == item().id,
            )
            return source.to_table(filter=of_run & of_item).to_pandas()

        def parquet_run():
            return source.to_table(filter=dataset.field("run_no") == pick().no).to_pandas()

        result["instead: item from parquet"] = times(parquet_item, 10)
        result["instead: run from parquet, unscored"] = times(parquet_run, 10)
        result["item ratio"] = (
            result["instead: item from parquet"]["median_ms"] / result["item page"]["median_ms"]
        )
        result["map ratio"] = (
            result["instead: run from parquet, unscored"]["median_ms"] / result["map"]["median_ms"]
        )
        store.close()
    print(json.dumps(result, indent=2))
    return result


if __name__ == "__main__":
    main()
