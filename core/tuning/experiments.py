"""What the arms of a tuning did, each against the model before it, and how sure that is.

Every arm is compared with the base on the same items and countries, seed by seed, and the value is
the mean over seeds. Its interval joins two kinds of chance: which items and respondents were asked
(the question bootstrap of core/metrics/metrics.py, which does not shrink with more seeds, as all
seeds meet the same items) and which seed it was (see metrics.with_seeds). Beside each score stands
the diversity ratio: tuning is known to make countries alike. Whatever an arm did is said as it
comes out, "lowers" as plainly as "raises".
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from core import wording
from core.analysis import derived_runs, scores
from core.errors import PluriscopeError
from core.metrics import bootstrap, metrics, relations
from core.metrics.bootstrap import Difference
from core.metrics.metrics import HEADLINE
from core.metrics.panel import Panel, human_panel
from core.metrics.relations import DiversityOverSeeds
from core.metrics.score import compare_seeds, score
from core.models.catalogue import builtin_held_out
from core.prompts.methods import METHODS
from core.store.runs import BASE, Run
from core.store.store import Store
from core.survey.survey import Survey
from core.tuning.abilities.paired_tests import Outcome, Verdict, outcomes, over_seeds, overall
from core.tuning.settings import Arm, TuneSettings

CALIBRATED, BETTER_PROMPT = "calibrated", "better_prompt"
# Rows that are no arms: nothing was tuned.
REFERENCES = {
    BASE: "Before tuning",
    CALIBRATED: "Before tuning, calibrated",
    BETTER_PROMPT: "Before tuning, asked with cross-culture thinking",
}
_ASKED = {BASE: "country", CALIBRATED: "calibrated", BETTER_PROMPT: "cross_culture"}
REPLICATES = 2000

# Part of the key of kept tables: a change to how they are computed changes this word.
VERSION = "2"


# -- parts of the survey ---------------------------------------------------------------------------

PARTS = {
    "all": "All questions",
    "held_out": "Kept out of the tuning",
    "tuned": "The others",
    "never_prompted": "Never asked as a person from …",
    "never_seen": "No country’s answers ever seen",
    "held_out_countries": "Countries kept out",
}
WHERE = {
    "held_out": " on questions kept out of it",
    "tuned": " on the other questions",
    "never_prompted": " on questions never asked under the country prompt",
    "never_seen": " on questions of which no country’s answers were ever seen",
    "held_out_countries": " for countries kept out of it",
}
# Of the built-in model's held-out items: how much of them it knows all the same (see its card).
_BUILTIN_KINDS = {"never_prompted": "never_country_prompt", "never_seen": "never_any"}


def kept_out(settings: TuneSettings, survey: Survey) -> tuple[str, ...]:
    """Items that had no part in the tuning, in questionnaire order: those of the settings.

    Where the settings keep none out, those the built-in model never saw with answers of a country
    under a country prompt.
    """
    items, topics = set(settings.held_out_items), set(settings.held_out_topics)
    if not items and not topics and settings.model.source == "builtin":
        items = set(builtin_held_out())
    return tuple(i.id for i in survey.items if i.id in items or i.topic in topics)


def items_of(part: str, settings: TuneSettings, survey: Survey) -> tuple[str, ...] | None:
    """The items of a part; None for all of them. Raises PluriscopeError on an unknown part."""
    if part not in PARTS:
        raise PluriscopeError(f"There is no part {part!r}: {', '.join(PARTS)}.")
    if part in ("all", "held_out_countries"):
        return None
    held = set(kept_out(settings, survey))
    if part == "tuned":
        return tuple(item.id for item in survey.items if item.id not in held)
    if part in _BUILTIN_KINDS:
        builtin = settings.model.source == "builtin"
        held &= set(builtin_held_out(_BUILTIN_KINDS[part]) if builtin else ())
    return tuple(item.id for item in survey.items if item.id in held)


def countries_of(part: str, settings: TuneSettings) -> tuple[str, ...]:
    """The countries of a part: those tuned for, or those kept out."""
    held = settings.held_out_cultures
    return (
        held
        if part == "held_out_countries"
        else tuple(c for c in settings.cultures if c not in held)
    )


def parts_of(settings: TuneSettings, survey: Survey, arm: Arm | None = None) -> dict[str, str]:
    """The parts that a tuning has something in: name -> words.

    arm: of this arm alone, without the parts whose very questions it was taught.
    """
    asked = {item.id for item in survey.select(settings.evaluate)} if settings.evaluate else set()
    found = {"all": PARTS["all"]}
    held = set(items_of("held_out", settings, survey) or ())
    taught = arm is not None and was_taught(arm, settings, "held_out")
    if asked & held and asked - held and not taught:
        for name in ("held_out", "tuned", *_BUILTIN_KINDS):
            if asked & set(items_of(name, settings, survey) or ()):
                found[name] = PARTS[name]
    if settings.held_out_cultures:
        found["held_out_countries"] = PARTS["held_out_countries"]
    return found


TAUGHT = "This arm was taught these very questions."


def was_taught(arm: Arm, settings: TuneSettings, part: str) -> bool:
    """Was an arm taught the questions of a part that is called kept out?

    An arm on people's answers is taught all that the settings do not keep out: where they keep
    nothing out, those of the built-in model's own list too.
    """
    if not arm.uses_human_answers or part not in ("held_out", *_BUILTIN_KINDS):
        return False
    return not (settings.held_out_items or settings.held_out_topics)


# -- the runs behind a table -----------------------------------------------------------------------


class _Compared(NamedTuple):
    """A tuning, and its finished runs by arm, seed and way of asking."""

    settings: TuneSettings
    survey: Survey
    states: list[dict]
    runs: dict[tuple[str, int, str], Run]

    def by_seed(self, arm: str, method: str) -> dict[int, Run]:
        """Runs of an arm. What was asked before tuning for one seed serves all."""
        found = {seed: self.runs.get((arm, seed, method)) for seed in self.settings.seeds}
        found = {seed: run for seed, run in found.items() if run}
        if arm == BASE and found:
            first = next(iter(found.values()))
            return {seed: found.get(seed, first) for seed in self.settings.seeds}
        return found

    def pairs(self, arm: str, method: str, baseline: str = BASE) -> list[tuple[Run, Run]]:
        """(baseline, arm) seed by seed, where both are there."""
        before = self.by_seed(baseline, method)
        return [(before[s], run) for s, run in self.by_seed(arm, method).items() if s in before]


def _compared(store: Store, tuning_id: str) -> _Compared:
    """Runs that are still being answered, or were deleted for good, are left out."""
    settings = TuneSettings.from_json(store.tuning(tuning_id)["settings"])
    survey = store.survey(settings.survey, settings.survey_version)
    states = store.arms(tuning_id)
    known = {run.id: run for run in store.tuning_runs(tuning_id)}
    runs = {}
    for state in states:
        for run_id in state["runs"]:
            run = known.get(run_id)
            if run and 0 < run.planned <= run.answered:
                runs[state["arm"], state["seed"], run.method] = run
    return _Compared(settings, survey, states, runs)


def made_of(store: Store, tuning_id: str) -> tuple:
    """What is made of a tuning so far: tables of one tuning are the same where this is the same.

    Hashable. Each arm and seed with its state, its examples and what it failed of; then the
    finished runs that are still there. An arm that failed and then succeeds is told apart, and so
    is a run that was deleted for good. Raises PluriscopeError where there is no such tuning.
    """
    of = _compared(store, tuning_id)
    arms = [
        (state["arm"], state["seed"], state["state"], state["examples"],
         state["facts"].get("error", ""))
        for state in of.states
    ]  # fmt: skip
    runs = [(*key, run.no, run.answered) for key, run in of.runs.items()]
    return tuple(arms), tuple(sorted(runs))


class _Panels:
    """Panels of runs on one part, each made once, and the distances between their countries."""

    def __init__(self, store: Store, of: _Compared, part: str):
        self.store = store
        self.items = items_of(part, of.settings, of.survey)
        self.countries = countries_of(part, of.settings)
        self._panels: dict[tuple[int, bool], Panel] = {}
        self._apart: dict[int, relations.Distances] = {}

    def of(self, run: Run, calibrated: bool = False) -> Panel:
        key = run.no, calibrated
        if key not in self._panels:
            self._panels[key] = self._calibrated(run) if calibrated else self._plain(run)
        return self._panels[key]

    def _plain(self, run: Run) -> Panel:
        return scores.panel(self.store, run, only=self.items).only(countries=self.countries)

    def _calibrated(self, run: Run) -> Panel:
        """Calibrated on all that was asked, then cut to the part."""
        part = self.of(run)
        whole = derived_runs.calibrated_panel(self.store, run).only(self.items, self.countries)
        width = part.human.shape[2]
        return replace(part, model=whole.model[..., :width], chosen=whole.chosen)

    def apart(self, panel: Panel) -> relations.Distances:
        if id(panel) not in self._apart:
            self._apart[id(panel)] = relations.distances(
                panel, choices=relations.single_answers(panel)
            )
        return self._apart[id(panel)]


# -- arms against the base -------------------------------------------------------------------------

ARM_COLUMNS = [
    *("arm", "number", "title", "state", "control", "human", "seeds", "examples"),
    *("score", "score_low", "score_high", "change", "low", "high", "seeds_low", "seeds_high"),
    *("p", "clear", "diversity", "diversity_low", "diversity_high"),
    *("diversity_change", "diversity_change_low", "diversity_change_high", "diversity_clear"),
    *("floor", "others", "ceiling", "by_seed", "harm", "verdict", "human_answers"),
]
_FLAGS = ("clear", "diversity_clear")
_NUMBERS = [c for c in ARM_COLUMNS[6:28] if c not in _FLAGS]


def arms_table(
    store: Store,
    tuning_id: str,
    metric: str = HEADLINE,
    part: str = "all",
    method: str = "country",
    baseline: str = BASE,
) -> pd.DataFrame:
    """Every arm against the base, by one way of asking and on one part of the survey.

    Columns: arm, number (its place by change, 1 is the highest; 0 for what is no arm or not
    compared), title, state (done, running, waiting or failed, over all seeds), control, human (was
    taught people's answers, or set by them), seeds (how many are compared), examples (mean);
    score, score_low, score_high (mean over countries and seeds); change, low, high (points,
    paired), seeds_low, seeds_high (its interval over seeds alone), p, clear (low and high lie on
    one side of zero);
    diversity and diversity_change with their intervals and diversity_clear (1 is as far apart as
    people); floor, others, ceiling (as in scores.table, for all rows); by_seed (each seed's
    change), harm (it clearly lowers scores or flattens countries), verdict (in words),
    human_answers (which of people's had a part in it, "" for none). NaN where there is nothing to
    compare.

    The base comes first; then, where they can be had, it calibrated (CALIBRATED) and asked with
    cross-culture thinking (BETTER_PROMPT). baseline: what changes are against, BASE or CALIBRATED:
    what a model gains by being as sure as people's answers bear out needs no tuning. Empty until
    the base has been asked. What was computed is kept in the store.
    """
    of = _compared(store, tuning_id)
    known = metrics.metric(metric).name
    if not of.by_seed(BASE, method):
        items_of(part, of.settings, of.survey)
        return pd.DataFrame(columns=ARM_COLUMNS)
    subject = "/".join(("arms", tuning_id, known, part, method, baseline))
    key = _key(of, part, method, known, baseline)
    found = store.kept_result(subject, key)
    if found is None:
        found = _measure_all(store, of, known, part, method, baseline)
        store.keep_result(subject, key, found, tuning_id)
    return _frame(of, found, part)


def _key(of: _Compared, *what: str) -> str:
    """Names exactly the answers and the code that a result comes from."""
    runs = sorted([*key, run.no, run.answered] for key, run in of.runs.items())
    named = [VERSION, scores.VERSION, what, of.settings.to_json(), runs]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()


def _measure_all(
    store: Store, of: _Compared, metric: str, part: str, method: str, baseline: str
) -> dict:
    """{"lines": floor, others and ceiling, "rows": one record for each row there is}; JSON."""
    panels = _Panels(store, of, part)
    base = [before for before, _ in of.pairs(BASE, method)]
    try:
        level = [panels.of(run, baseline == CALIBRATED) for run in base]
        calibrated = [panels.of(run, True) for run in base]
    except PluriscopeError:  # too few batteries to set a temperature on others
        if baseline == CALIBRATED:
            raise
        level, calibrated = [panels.of(run) for run in base], []
    if not level[0].items:
        raise PluriscopeError(f"“{PARTS[part]}” has no question that this tuning asked.")
    if not level[0].countries:
        raise PluriscopeError(f"“{PARTS[part]}” has no country that this tuning asked.")
    named = METHODS[method].needs_culture
    rows = [{"arm": BASE, **_measured(panels, level, [panels.of(r) for r in base], metric, named)}]
    if calibrated:
        rows.append({"arm": CALIBRATED, **_measured(panels, level, calibrated, metric, named)})
    better = [run for run, _ in of.pairs(BASE, "cross_culture")] if method == "country" else []
    if better:
        other = [panels.of(run) for run in better]
        rows.append({"arm": BETTER_PROMPT, **_measured(panels, level, other, metric, True)})
    for arm in of.settings.arms:
        pairs = of.pairs(arm.name, method)
        if not pairs or was_taught(arm, of.settings, part):
            continue
        before = [panels.of(run, baseline == CALIBRATED) for run, _ in pairs]
        after = [panels.of(run) for _, run in pairs]
        rows.append({"arm": arm.name, **_measured(panels, before, after, metric, named)})
    everyone = human_panel(of.survey, level[0].items)
    whole = score(level[0], metric, replicates=0, pool=everyone)
    lines = {name: _finite(getattr(whole, name)) for name in ("floor", "others", "ceiling")}
    return {"lines": lines, "rows": rows}


def _measured(
    panels: _Panels, before: Sequence[Panel], after: Sequence[Panel], metric: str, named: bool
) -> dict:
    """One row's figures as JSON. named: the model was told a country, so countries can differ."""
    pairs = list(zip(before, after, strict=True))
    found = compare_seeds(pairs, metric, replicates=REPLICATES)
    alone = bootstrap.over_seeds_alone(found.by_seed)
    record = {
        "seeds": len({id(panel) for panel in after}),
        "by_seed": list(found.by_seed),
        "score": found.after.value, "score_low": found.after.low, "score_high": found.after.high,
        "change": found.change.value, "low": found.change.low, "high": found.change.high,
        "seeds_low": alone.low, "seeds_high": alone.high,
        "p": found.change.p, "clear": found.change.clear,
    }  # fmt: skip
    if named and len(panels.countries) > 1:
        spread = relations.diversity_seeds([(panels.apart(a), panels.apart(b)) for a, b in pairs])
        change = spread.change
        record |= {
            "diversity": spread.after.value,
            "diversity_low": spread.after.low, "diversity_high": spread.after.high,
            "diversity_change": change.value, "diversity_change_low": change.low,
            "diversity_change_high": change.high, "diversity_clear": change.clear,
        }  # fmt: skip
    return {key: _finite(value) for key, value in record.items()}


def _finite(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _frame(of: _Compared, found: dict, part: str) -> pd.DataFrame:
    by_arm = {row["arm"]: row for row in found["rows"]}
    rows = [
        {"title": REFERENCES[name], "state": "done", "control": False, "examples": 0,
         "human_answers": METHODS[_ASKED[name]].uses_human_answers,
         "human": name == CALIBRATED or (name == BETTER_PROMPT and bool(
             METHODS["cross_culture"].uses_human_answers)), **by_arm[name]}
        for name in REFERENCES if name in by_arm
    ]  # fmt: skip
    for arm in of.settings.arms:
        states = [state for state in of.states if state["arm"] == arm.name]
        taught = [state["examples"] for state in states if state["examples"]]
        rows.append(
            {
                "arm": arm.name,
                "title": arm.title,
                "state": _state(states, len(of.settings.seeds)),
                "control": bool(arm.control) or arm.choose in ("random", "same"),
                "human": arm.uses_human_answers,
                "human_answers": arm.human_answers,
                "seeds": 0,
                "examples": float(np.mean(taught)) if taught else 0.0,
                "by_seed": [],
                **by_arm.get(arm.name, {}),
            }
        )
    table = pd.DataFrame([{**row, **found["lines"]} for row in rows]).reindex(columns=ARM_COLUMNS)
    table[_NUMBERS] = table[_NUMBERS].astype(float)
    for flag in _FLAGS:
        table[flag] = table[flag].eq(True)
    table["seeds"] = table["seeds"].astype(int)
    place = (
        table["change"].where(~table["arm"].isin(REFERENCES)).rank(method="first", ascending=False)
    )
    table["number"] = place.fillna(0).astype(int)
    lower = table["clear"] & (table["change"] < 0)
    flatter = table["diversity_clear"] & (table["diversity_change"] < 0)
    table["harm"] = lower | flatter
    arms = {arm.name: arm for arm in of.settings.arms}
    said = []
    for row in table.itertuples():
        arm = arms.get(row.arm)
        if arm and was_taught(arm, of.settings, part):
            said.append(TAUGHT)
        elif arm and math.isnan(row.change):
            said.append(_unfinished(of, row))
        else:
            said.append("" if row.arm == BASE else verdict(row, part))
    return table.assign(verdict=said)


def _state(states: Sequence[dict], seeds: int) -> str:
    """How far an arm is over all its seeds; failed where no seed was made."""
    named = [state["state"] for state in states]
    if named and len(named) >= seeds and set(named) == {"failed"}:
        return "failed"
    if sum(state in ("done", "failed") for state in named) >= seeds:
        return "done"
    return "running" if any(state != "waiting" for state in named) else "waiting"


def _unfinished(of: _Compared, row) -> str:
    """Why an arm has nothing to compare, in a sentence."""
    errors = [
        state["facts"].get("error", "")
        for state in of.states
        if state["arm"] == row.arm and state["state"] == "failed"
    ]
    if row.state == "failed":
        return next(filter(None, errors), "It failed.")
    if row.state == "done":
        return (
            "Its answers are no longer here: the runs were deleted."
            if of.settings.evaluate
            else ("The survey was not asked after tuning.")
        )
    return "Not finished."


def verdict(row, part: str = "all") -> str:
    """What an arm did, in words: the score first, then whether it made countries alike.

    row: change, clear, diversity_change and diversity_clear, as in arms_table().
    """
    where = WHERE.get(part, "")
    points = wording.number(abs(row.change))
    if not row.clear:
        said = f"too small to call{where}"
    else:
        said = f"{'raises' if row.change > 0 else 'lowers'} the score by {points}{where}"
    if row.diversity_clear:
        way = (
            "makes countries more alike"
            if row.diversity_change < 0
            else ("tells countries apart more")
        )
        said += f"; {way}"
    return wording.capital(said) + "."


def too_small(title: str) -> str:
    return title[0].lower() + title[1:]


class OneArm(NamedTuple):
    """One seed of an arm: scores before and after, the change, and how far its countries lie apart
    (1 is as far as people's; None where there are no countries to tell apart).
    """

    before: float
    after: float
    change: Difference
    diversity: DiversityOverSeeds | None


def one_arm(
    store: Store, tuning_id: str, arm: Arm, seed: int, metric: str, part: str, method: str
) -> OneArm | None:
    """What one seed of an arm did; None where the survey was not asked on both sides, or where the
    arm was taught the part's questions.
    """
    of = _compared(store, tuning_id)
    if was_taught(arm, of.settings, part):
        return None
    before = of.by_seed(BASE, method).get(seed)
    after = of.by_seed(arm.name, method).get(seed)
    if before is None or after is None:
        return None
    panels = _Panels(store, of, part)
    sides = panels.of(before), panels.of(after)
    found = compare_seeds([sides], metric, replicates=REPLICATES)
    spread = None
    if METHODS[method].needs_culture and len(panels.countries) > 1:
        spread = relations.diversity_seeds([tuple(map(panels.apart, sides))])
        if not math.isfinite(spread.change.value):
            spread = None
    return OneArm(found.before.value, found.after.value, found.change, spread)


def country_changes(
    store: Store,
    tuning_id: str,
    arm: str,
    metric: str = HEADLINE,
    part: str = "all",
    method: str = "country",
) -> pd.DataFrame:
    """One arm's change in every country, over its seeds: as scores.change() gives it.

    Columns: iso3, name, region, value, low, high, p, clear, state. Raises PluriscopeError where
    there is nothing to compare, or where the arm was taught the part's questions.
    """
    of = _compared(store, tuning_id)
    if any(a.name == arm and was_taught(a, of.settings, part) for a in of.settings.arms):
        raise PluriscopeError(TAUGHT)
    pairs = of.pairs(arm, method)
    if not pairs:
        raise PluriscopeError("This arm has nothing to compare yet.")
    panels = _Panels(store, of, part)
    found = compare_seeds(
        [(panels.of(a), panels.of(b)) for a, b in pairs], metric, replicates=REPLICATES
    )
    rows = [(iso3, *change) for iso3, change in found.countries.items()]
    table = pd.DataFrame(rows, columns=["iso3", "value", "low", "high", "p", "clear"])
    table = scores.names(of.survey).merge(table, on="iso3", how="left")
    table["state"] = np.where(table["value"].notna(), "scored", "not_asked")
    return table.assign(clear=table["clear"].eq(True))


# -- curves and controls ---------------------------------------------------------------------------


def quantity_curve(table: pd.DataFrame, arm: str) -> pd.DataFrame:
    """An arm at several shares of its examples, and no examples at all: the base.

    table: as arms_table(). Columns: share, examples, score, change, low, high, clear; empty where
    the arm was run at fewer than two shares.
    """
    rows = []
    for row in table.itertuples():
        name, _, part = row.arm.partition(":")
        if name == arm and math.isfinite(row.change):
            share = float(part) if part else 1.0
            rows.append((share, row.examples, row.score, row.change, row.low, row.high, row.clear))
    columns = ["share", "examples", "score", "change", "low", "high", "clear"]
    if len(rows) < 2:
        return pd.DataFrame(columns=columns)
    base = table[table["arm"].eq(BASE)].iloc[0]
    rows.append((0.0, 0.0, base["score"], 0.0, 0.0, 0.0, False))
    return pd.DataFrame(sorted(rows), columns=columns)


QUALITY = {
    "differing": "Pairs that differ",
    "random": "As many by chance",
    "same": "As many that agree",
    "balanced": "Half that differ",
    "all": "All pairs",
}


def quality_table(
    store: Store,
    tuning_id: str,
    metric: str = HEADLINE,
    part: str = "all",
    method: str = "country",
) -> pd.DataFrame:
    """Which pairs to teach: arms that differ in that alone, against the choice by chance.

    Columns: recipe (what the arms share, in words), choose, title, arm,
    examples, score, change, low, high, clear (against the base), over_random, over_random_low,
    over_random_high, over_random_clear (paired, seed by seed, against the arm of the same recipe
    whose pairs were chosen by chance; NaN where there is none). Recipes of one choice are left out.
    """
    of = _compared(store, tuning_id)
    table = arms_table(store, tuning_id, metric, part, method)
    if table.empty:
        return pd.DataFrame(columns=QUALITY_COLUMNS)
    panels = _Panels(store, of, part)
    recipes: dict[tuple, list[Arm]] = {}
    for arm in of.settings.arms:
        if not arm.control:
            recipe = (
                arm.teacher, arm.answers, arm.labels, arm.weighted, arm.mode, arm.fraction
            )  # fmt: skip
            recipes.setdefault(recipe, []).append(arm)
    by_arm = table.set_index("arm")
    rows = []
    for arms in recipes.values():
        if len({arm.choose for arm in arms}) < 2:
            continue
        chance = next((arm for arm in arms if arm.choose == "random"), None)
        for arm in sorted(arms, key=lambda arm: list(QUALITY).index(arm.choose)):
            found = by_arm.loc[arm.name]
            over = _over(of, panels, arm, chance, metric, method)
            rows.append(
                (recipe_words(arms[0]), arm.choose, QUALITY[arm.choose], arm.name,
                 *found[["examples", "score", "change", "low", "high", "clear"]], *over)
            )  # fmt: skip
    return pd.DataFrame(rows, columns=QUALITY_COLUMNS)


def recipe_words(arm: Arm) -> str:
    """What arms that differ only in the choice of pairs have in common."""
    whose = {
        "country": "Its own country answers",
        "cross_culture": "Its answers under cross-culture thinking",
        "people": "People’s own shares",
    }[arm.teacher]
    how = "whole distributions" if arm.labels == "soft" else "one option"
    weight = ", far pairs count more" if arm.weighted else ""
    part = f", {wording.percent(arm.fraction)} of them" if arm.fraction < 1 else ""
    return f"{whose}, {how}{weight}{part}"


QUALITY_COLUMNS = [
    *("recipe", "choose", "title", "arm", "examples", "score", "change", "low", "high", "clear"),
    *("over_random", "over_random_low", "over_random_high", "over_random_clear"),
]


def _over(
    of: _Compared, panels: _Panels, arm: Arm, chance: Arm | None, metric: str, method: str
) -> tuple[float, float, float, bool]:
    pairs = of.pairs(arm.name, method, chance.name) if chance and chance != arm else []
    if not pairs:
        return math.nan, math.nan, math.nan, False
    found = compare_seeds(
        [(panels.of(a), panels.of(b)) for a, b in pairs], metric, replicates=REPLICATES
    ).change
    return found.value, found.low, found.high, found.clear


# -- what it cost elsewhere, over seeds ------------------------------------------------------------


class Cost(NamedTuple):
    """What one arm cost elsewhere, over its seeds: the tests, and one verdict over them."""

    arm: str
    title: str
    seeds: int
    tests: tuple[Outcome, ...]
    verdict: Verdict


def costs(store: Store, tuning_id: str) -> list[Cost]:
    """One for each arm that was tested, in the order of the settings."""
    settings = TuneSettings.from_json(store.tuning(tuning_id)["settings"])
    records: dict[str, list[dict]] = {}
    for one in store.abilities(tuning_id):
        records.setdefault(one["arm"], []).append(one["record"])
    found = []
    for arm in settings.arms:
        if of_arm := records.get(arm.name):
            tests = over_seeds([outcomes(record) for record in of_arm])
            found.append(Cost(arm.name, arm.title, len(of_arm), tests, overall(tests)))
    return found
