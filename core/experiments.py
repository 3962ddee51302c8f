"""What the arms of a tuning did, each against the model before it, and how sure that is.

Every arm is compared with the base on the same items and countries, seed by seed. The value is the
mean over seeds. Its interval joins two kinds of chance: which items were asked (the question
bootstrap of core/metrics.py, which does not shrink with more seeds, as all seeds meet the same
items) and which seed it was (the spread over seeds divided by their root). Beside each score stands
the diversity ratio: tuning is known to make countries alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from core import metrics, relations, scores, words
from core.errors import PluriscopeError
from core.metrics import HEADLINE
from core.settings import Arm, TuneSettings
from core.store import Run, Store
from core.survey import Survey

BASE = "base"
BETTER_PROMPT = "better_prompt"
PARTS = {
    "all": "All questions",
    "held_out": "Kept out of the tuning",
    "tuned": "The others",
    "held_out_countries": "Countries kept out",
}
# Two-sided 95 % quantiles of Student's t for 1 to 10 degrees of freedom, then the normal's.
_T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


def items_of(part: str, settings: TuneSettings, survey: Survey) -> tuple[str, ...] | None:
    """The items of a part; None for all of them. Raises PluriscopeError on an unknown part."""
    if part not in PARTS:
        raise PluriscopeError(f"There is no part {part!r}: {', '.join(PARTS)}.")
    if part in ("all", "held_out_countries"):
        return None
    held = set(settings.held_out_items)
    topics = set(settings.held_out_topics)
    kept_out = {i.id for i in survey.items if i.id in held or i.topic in topics}
    inside = part == "held_out"
    return tuple(item.id for item in survey.items if (item.id in kept_out) == inside)


def parts_of(settings: TuneSettings, survey: Survey) -> dict[str, str]:
    """The parts that a tuning has something in: name -> words."""
    asked = {item.id for item in survey.select(settings.evaluate)} if settings.evaluate else set()
    found = {"all": PARTS["all"]}
    held = set(items_of("held_out", settings, survey) or ())
    if asked & held and asked - held:
        found |= {name: PARTS[name] for name in ("held_out", "tuned")}
    if settings.held_out_cultures:
        found["held_out_countries"] = PARTS["held_out_countries"]
    return found


# -- one arm against the base ----------------------------------------------------------------------


class Change(NamedTuple):
    """How far an arm moved from the base. value: mean over seeds, in points. low, high: its 95%
    interval over items and seeds; seeds_low, seeds_high: over seeds alone (NaN for one seed).
    clear: low and high lie on one side of zero."""

    value: float
    low: float
    high: float
    seeds_low: float
    seeds_high: float
    clear: bool


def joined(values: Sequence[float], errors: Sequence[float]) -> Change:
    """Changes of several seeds and the standard errors of each over items, as one Change."""
    values, errors = np.asarray(values, float), np.asarray(errors, float)
    n = len(values)
    mean = float(values.mean())
    over_seeds = float(values.std(ddof=1) / math.sqrt(n)) if n > 1 else 0.0
    over_items = float(errors.mean())
    half = 1.96 * math.hypot(over_items, over_seeds)
    t = _T95[n - 2] if 2 <= n <= 11 else 1.96
    seeds = t * over_seeds if n > 1 else math.nan
    clear = bool(mean - half > 0 or mean + half < 0)
    return Change(mean, mean - half, mean + half, mean - seeds, mean + seeds, clear)


class _Compared(NamedTuple):
    settings: TuneSettings
    survey: Survey
    arms: list[dict]

    def run(self, store: Store, arm: str, seed: int, method: str) -> Run | None:
        for state in self.arms:
            if (state["arm"], state["seed"]) == (arm, seed):
                for run_id in state["runs"]:
                    run = store.run(run_id)
                    if run.method == method and run.answered:
                        return run
        return None


def _compared(store: Store, tuning_id: str) -> _Compared:
    settings = TuneSettings.from_json(store.tuning(tuning_id)["settings"])
    survey = store.survey(settings.survey, settings.survey_version)
    return _Compared(settings, survey, store.arms(tuning_id))


def change_of(
    store: Store, pairs: Sequence[tuple[Run, Run]], metric: str, part: str,
    settings: TuneSettings, survey: Survey,
) -> Change:  # fmt: skip
    """How far runs moved, given (before, after) for each seed."""
    items = items_of(part, settings, survey)
    values, errors = [], []
    for before, after in pairs:
        if part == "held_out_countries":
            sides = scores.both(store, before, after)
            sides = tuple(side.only(countries=settings.held_out_cultures) for side in sides)
            mean = metrics.compare(*sides, metric).mean
        else:
            _, mean = scores.change(store, before, after, metric, only=items)
        values.append(mean.value)
        errors.append((mean.high - mean.low) / (2 * 1.96))
    return joined(values, errors)


def diversity_of(store: Store, run: Run, only: Sequence[str] | None = None) -> float:
    """The diversity ratio of a run: how far its countries lie apart, people's distance being 1."""
    sides = scores.panel(store, run, only=only)
    if len(sides.countries) < 2:
        return math.nan
    return relations.diversity(relations.distances(sides)).ratio


ARM_COLUMNS = [
    "arm", "title", "state", "seeds", "examples", "score", "change", "low", "high", "seeds_low",
    "seeds_high", "clear", "diversity", "diversity_change", "human", "verdict",
]  # fmt: skip


def arms_table(
    store: Store,
    tuning_id: str,
    metric: str = HEADLINE,
    part: str = "all",
    method: str = "country",
) -> pd.DataFrame:
    """Every arm against the base, by one way of asking and on one part of the survey.

    Columns: arm, title, state, seeds (how many are done), examples (mean), score (mean over
    countries and seeds), change, low, high, seeds_low, seeds_high (points, against the base;
    see Change), clear, diversity (ratio, mean over seeds), diversity_change (against the base),
    human (uses people's answers), verdict (in words). The base comes first, then, where it was
    asked with cross-culture thinking, that as BETTER_PROMPT: what a better prompt alone does.
    """
    of = _compared(store, tuning_id)
    seeds = of.settings.seeds
    base = {seed: of.run(store, BASE, seed, method) for seed in seeds}
    first = next((run for run in base.values() if run), None)
    if first is None:
        return pd.DataFrame(columns=ARM_COLUMNS)
    items = items_of(part, of.settings, of.survey)
    before = diversity_of(store, first, items) if method != "plain" else math.nan
    rows = [_base_row(store, of, first, metric, part, before)]
    better = of.run(store, BASE, seeds[0], "cross_culture")
    if better and method == "country":
        change = change_of(store, [(first, better)], metric, part, of.settings, of.survey)
        title = "Before tuning, asked with cross-culture thinking"
        rows.append(
            _row(store, of, BETTER_PROMPT, title, [better], change, metric, part, before, 0, True)
        )
    for arm in of.settings.arms:
        found = {seed: of.run(store, arm.name, seed, method) for seed in seeds}
        pairs = [(base[s], run) for s, run in found.items() if run and base[s]]
        states = [a for a in of.arms if a["arm"] == arm.name]
        if not pairs:
            rows.append(_empty_row(arm, states))
            continue
        change = change_of(store, pairs, metric, part, of.settings, of.survey)
        examples = float(np.mean([a["examples"] for a in states if a["examples"]] or [0]))
        after = [run for _, run in pairs]
        rows.append(
            _row(store, of, arm.name, arm.title, after, change, metric, part, before, examples,
                 arm.uses_human_answers)
        )  # fmt: skip
    return pd.DataFrame(rows, columns=ARM_COLUMNS)


def _score(store: Store, of: _Compared, run: Run, metric: str, part: str) -> float:
    sides = scores.panel(store, run, only=items_of(part, of.settings, of.survey))
    if part == "held_out_countries":
        sides = sides.only(countries=of.settings.held_out_cultures)
    by_country = metrics.values(sides, metric)
    return float(np.nanmean(by_country))


def _base_row(
    store: Store, of: _Compared, run: Run, metric: str, part: str, diversity: float
) -> tuple:
    nothing = math.nan
    return (
        BASE, "Before tuning", "done", 1, 0, _score(store, of, run, metric, part), nothing,
        nothing, nothing, nothing, nothing, False, diversity, nothing, False, "",
    )  # fmt: skip


def _empty_row(arm: Arm, states: Sequence[Mapping]) -> tuple:
    failed = next((a for a in states if a["state"] == "failed"), None)
    state = "failed" if failed else states[0]["state"] if states else "waiting"
    said = failed["facts"].get("error", "") if failed else ""
    nothing = math.nan
    return (
        arm.name, arm.title, state, 0, 0, nothing, nothing, nothing, nothing, nothing, nothing,
        False, nothing, nothing, arm.uses_human_answers, said,
    )  # fmt: skip


def _row(
    store: Store, of: _Compared, name: str, title: str, runs: Sequence[Run], change: Change,
    metric: str, part: str, before: float, examples: float, human: bool,
) -> tuple:  # fmt: skip
    items = items_of(part, of.settings, of.survey)
    plain = runs[0].method == "plain"
    spreads = [math.nan if plain else diversity_of(store, run, items) for run in runs]
    diversity = float(np.mean(spreads))
    moved = diversity - before
    score = float(np.mean([_score(store, of, run, metric, part) for run in runs]))
    return (
        name, title, "done", len(runs), examples, score, *change[:5], change.clear, diversity,
        moved, human, verdict(change, moved, part),
    )  # fmt: skip


FLATTER = 0.03  # of people's diversity; less is not spoken of


def verdict(change: Change, diversity_change: float, part: str = "all") -> str:
    """What an arm did, in words: the score first, then whether it made countries alike."""
    where = {
        "held_out": " on questions kept out of it",
        "tuned": " on the other questions",
        "held_out_countries": " for countries kept out of it",
    }.get(part, "")
    points = words.number(abs(change.value))
    if not change.clear:
        said = f"too small to call{where}"
    elif change.value > 0:
        said = f"raises the score by {points}{where}"
    else:
        said = f"lowers the score by {points}{where}"
    if math.isfinite(diversity_change) and abs(diversity_change) >= FLATTER:
        way = "makes countries more alike" if diversity_change < 0 else "tells countries apart more"
        said += f"; {way}"
    return words.capital(said) + "."


def finding(table: pd.DataFrame, part: str) -> words.Finding:
    """The headline and paragraph of an experiment."""
    arms = table[~table["arm"].isin([BASE, BETTER_PROMPT]) & table["change"].notna()]
    if arms.empty:
        return words.Finding(
            "No arm is done yet", "Each arm is compared with the model before tuning once it is."
        )
    up = arms[arms["clear"] & (arms["change"] > 0)].sort_values("change", ascending=False)
    down = arms[arms["clear"] & (arms["change"] < 0)].sort_values("change")
    unclear = len(arms) - len(up) - len(down)
    if up.empty:
        headline = "No arm clearly brings the model closer"
    else:
        headline = f"Closest: {_small(up['title'].iloc[0])}"
    text = []
    if len(up):
        best = up.iloc[0]
        text.append(
            f"{words.capital(words.count(len(up), 'arm'))} clearly "
            f"{'raises' if len(up) == 1 else 'raise'} the score, at most by "
            f"{words.number(best['change'])} points "
            f"({words.interval(best['low'], best['high'])})."
        )
    if len(down):
        worst = down.iloc[0]
        text.append(
            f"{words.capital(words.count(len(down), 'arm'))} "
            f"{'lowers' if len(down) == 1 else 'lower'} it: most, {_small(worst['title'])} "
            f"(by {words.number(-worst['change'])})."
        )
    if unclear:
        text.append(f"For {words.count(unclear, 'arm')} the change is too small to call.")
    flat = arms[arms["diversity_change"] <= -FLATTER]
    if len(flat):
        text.append(
            f"{words.capital(words.count(len(flat), 'arm'))} "
            f"{'makes' if len(flat) == 1 else 'make'} countries more alike."
        )
    gap = table[table["arm"].eq(BETTER_PROMPT)]
    if len(gap) and gap["clear"].iloc[0] and gap["change"].iloc[0] > 0 and len(up):
        own = up[~up["human"]]
        if len(own):
            share = own["change"].iloc[0] / gap["change"].iloc[0]
            text.append(
                "Asked with cross-culture thinking the model before tuning comes "
                f"{words.number(gap['change'].iloc[0])} points closer; tuning on its own answers "
                f"brings {words.percent(min(share, 1.0))} of that to the plain country prompt."
            )
    return words.Finding(headline, " ".join(text))


def _small(title: str) -> str:
    return title[0].lower() + title[1:]


def change_words(table: pd.DataFrame, mean: metrics.Difference, arm: Arm) -> words.Finding:
    """What one arm did, from scores.change: the mean first, then the countries."""
    scored = table[table["state"].eq("scored")]
    closer = scored[scored["clear"] & (scored["value"] > 0)].sort_values("value", ascending=False)
    away = scored[scored["clear"] & (scored["value"] < 0)].sort_values("value")
    if not mean.clear:
        headline = "Too small to call: tuning moved the answers, but not clearly closer or away"
    elif mean.value > 0:
        headline = "Tuning brought the answers closer to people"
    else:
        headline = "Tuning took the answers further from people"
    way = "closer" if mean.value >= 0 else "further away"
    text = [
        f"On average {words.number(abs(mean.value))} points {way} "
        f"({words.interval(mean.low, mean.high)})."
    ]
    for some, what in ((closer, "closer"), (away, "further away")):
        if len(some):
            names = words.listed([words.country(n) for n in some["name"]], most=3)
            text.append(f"Clearly {what} in {len(some)} of {len(scored)} countries: {names}.")
    if arm.uses_human_answers:
        text.append("This arm was shown people’s answers to other questions.")
    return words.Finding(headline, " ".join(text))


def one_arm(
    store: Store, tuning_id: str, arm: Arm, seed: int, metric: str, part: str, method: str
) -> tuple[float, float, Change, str] | None:
    """(score before, score after, change, diversity in words) of one seed; None where not asked."""
    of = _compared(store, tuning_id)
    before, after = (of.run(store, name, seed, method) for name in (BASE, arm.name))
    if before is None or after is None:
        return None
    change = change_of(store, [(before, after)], metric, part, of.settings, of.survey)
    scored = [_score(store, of, run, metric, part) for run in (before, after)]
    spread = "–"
    if method != "plain" and part != "held_out_countries":
        items = items_of(part, of.settings, of.survey)
        ratios = [diversity_of(store, run, items) for run in (before, after)]
        if all(map(math.isfinite, ratios)):
            spread = f"{ratios[0]:.2f} to {ratios[1]:.2f}"
    return *scored, change, spread


# -- curves ----------------------------------------------------------------------------------------


def quantity_curve(table: pd.DataFrame, arm: str) -> pd.DataFrame:
    """An arm at several shares of its examples. Columns: share, examples, change, low, high."""
    rows = []
    for row in table.itertuples():
        name, _, part = row.arm.partition(":")
        if name == arm and not math.isnan(row.change):
            rows.append((float(part) if part else 1.0, row.examples, row.change, row.low, row.high))
    columns = ["share", "examples", "change", "low", "high"]
    return pd.DataFrame(sorted(rows), columns=columns)


def standing(store: Store, tuning_id: str, table: pd.DataFrame, metric: str, part: str) -> dict:
    """Where people would stand on the plot of closeness against diversity.

    {"ceiling": score of another sample of the same people, "diversity": 1.0}.
    """
    of = _compared(store, tuning_id)
    run = of.run(store, BASE, of.settings.seeds[0], "country")
    if run is None:
        return {"ceiling": math.nan, "diversity": 1.0}
    sides = scores.panel(store, run, only=items_of(part, of.settings, of.survey))
    everyone = metrics.human_panel(of.survey, sides.items)
    ceiling = metrics.references(metrics.seen(sides), metric, pool=everyone)["ceiling"].mean
    return {"ceiling": float(ceiling), "diversity": 1.0}


def as_records(table: pd.DataFrame) -> list[dict]:
    """Rows for JSON, NaN as null."""
    plain = table.astype(object)
    return plain.where(plain.notna(), None).to_dict("records")
