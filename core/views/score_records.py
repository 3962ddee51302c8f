"""Scores as plain records and sentences, for commands and exports."""

from __future__ import annotations

import math
from collections.abc import Sequence

from core import strict_json, wording
from core.analysis import option_mass, robustness, scores
from core.analysis.scores import COLUMNS
from core.errors import PluriscopeError
from core.jobs.askings import Asking
from core.metrics import metrics
from core.metrics.metrics import HEADLINE
from core.store.runs import Run
from core.store.store import Store
from core.tuning.lineage import human_answers
from core.views import items, runs
from core.views.compare import fits, names_country, rates, spread
from core.views.value_map import value_map


def signal_record(store: Store, run_id: str, metric: str = HEADLINE) -> dict:
    """Is it about the country? One JSON record, NaN as null (see python -m core signal)."""
    run = store.run(run_id)
    if not run.answered:
        raise PluriscopeError(f"The run {run_id} holds no answers yet.")
    result: dict = {"run": run.id, "method": run.method, "metric": metrics.metric(metric).name}
    if names_country(run):
        result |= _about_the_country(store, run, metric)
    try:
        at = value_map(store, run).model.set_index("iso3")
        result["map"] = {
            iso3: {"self_expression": row["x"], "secular": row["y"]} for iso3, row in at.iterrows()
        }
    except PluriscopeError as error:
        result |= {"map": None, "map_missing": str(error)}
    lost = rates(store, run).set_index("iso3").drop(columns=["name", "zone"])
    result["rates"] = lost.to_dict("index")
    return strict_json.for_json(result)


def _about_the_country(store: Store, run: Run, metric: str) -> dict:
    """The part of a record that takes personas; why there is none where they are too few."""
    try:
        found, apart = fits(store, run, metric), spread(store, run)
    except PluriscopeError as error:
        return {"own": None, "why_not": str(error)}
    own = found.personas.set_index("iso3")[["rank", "centred_rank", "best", "own"]]
    return {
        "own": own.to_dict("index"),
        "advantage": found.advantage._asdict(),
        "diversity": {**apart.diversity._asdict(), "single_answers": apart.single},
        "mantel": apart.mantel._asdict(),
    }


def signal_words(record: dict) -> str:
    """A signal_record in one line, for the terminal."""
    start = f"{record['run']}  {record['method']}: "
    if not record.get("own"):
        return start + record.get("why_not", "names no country")
    first = sum(one["rank"] == 1 for one in record["own"].values())
    gain, spread_of, mantel_of = record["advantage"], record["diversity"], record["mantel"]
    parts = [
        f"{wording.some(first, len(record['own']))} fit their own people best",
        f"the own country gains {_number(gain['value'])} "
        f"({_number(gain['low'])} to {_number(gain['high'])})",
        f"diversity {_number(spread_of['ratio'])} "
        f"({_number(spread_of['low'])} to {_number(spread_of['high'])})",
        f"Mantel r {_number(mantel_of['r'])}, p {_number(mantel_of['p'], 4)}",
    ]
    return start + "; ".join(parts)


def _number(value: float | None, places: int = 2) -> str:
    return wording.number(math.nan if value is None else value, places)


BY = ("country", "zone", "topic", "item")


def score_record(
    store: Store,
    run_id: str,
    metric: str = HEADLINE,
    topic: str = "",
    by: str = "country",
    known: Sequence[Asking] | None = None,
) -> dict:
    """scores.record, how far it holds in other wordings and orders (robustness.record), and what
    BY asks for beside it: the scores of each zone, topic or item.

    known: the askings among which other wordings are found; all by default.
    """
    result = basic_record(store, run_id, metric, topic)
    run = store.run(run_id)
    formats = runs.formats_of(runs.askings(store) if known is None else known, run)
    result |= strict_json.for_json(robustness.record(store, formats, metric, topic))
    if by == "zone":
        table = scores.zones(store, run, metric, topic).set_index("zone")
        result["zones"] = strict_json.for_json(table.to_dict("index"))
    elif by == "topic":
        table = scores.topics(store, run, metric)
        if topic:
            table = table[table["topic"] == topic]
        result["topics"] = {
            name: {
                "mean": float(part["value"].mean()),
                "countries": strict_json.for_json(
                    part.set_index("iso3").drop(columns="topic").to_dict("index")
                ),
            }
            for name, part in table.groupby("topic", sort=False)
        }
    elif by == "item":
        table = items.item_table(store, run, None, metric).set_index("item")
        if topic:
            table = table[table["topic"] == topic]
        result["items"] = strict_json.for_json(table["value"].to_dict())
    return result


def score_words(record: dict) -> str:
    """A score_record in one line; "–" stands for what is not known."""
    mean = record["mean"]
    said = (
        f"{record['run']}  {record['metric']}: {_number(mean['value'])} "
        f"({_number(mean['low'])} to {_number(mean['high'])}); floor {_number(record['floor'])}, "
        f"ceiling {_number(record['ceiling'])}, "
        f"{wording.count(len(record['countries']), 'country', 'countries')}"
    )
    used = record["uses_human_answers"]
    said += f"; uses people's answers: {used}" if used else ""
    if option_mass.is_low(record["mass"]):
        said += f"; only {wording.percent(record['mass'])} of what it would say is an option"
    moved = record["format_spread"]
    if moved is None:
        return said
    said += f"; moves by {_number(moved['mean'])} over {moved['formats']} wordings and orders"
    return f"{said}, more than countries differ" if moved["greyed"] else said


def basic_record(store: Store, run_id: str, metric: str = HEADLINE, topic: str = "") -> dict:
    """A run's scores as one JSON record, NaN as null (see python -m core score)."""
    run = store.run(run_id)
    if not run.answered:
        raise PluriscopeError(f"The run {run_id} holds no answers yet.")
    rows = scores.table(store, run, metric, topic).astype(object)
    rows = rows.where(rows.notna(), None).to_dict("records")
    mean = rows[0]
    return {
        "run": run.id,
        "method": run.method,
        "uses_human_answers": human_answers(store, run),
        "label_rule": run.settings.label_rule,
        "mass": option_mass.mass_of(store, run),
        "metric": metrics.metric(metric).name,
        "mean": {key: mean[key] for key in ("value", "low", "high")},
        "floor": mean["floor"],
        "ceiling": mean["ceiling"],
        "others": mean["others"],
        "countries": {
            row["iso3"]: {key: row[key] for key in COLUMNS[1:]}
            for row in rows[1:]
            if row["value"] is not None
        },
    }
