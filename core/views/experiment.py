"""What an experiment found: sentences and tables for its page."""

from __future__ import annotations

import math

import pandas as pd

from core import wording
from core.figures.tuning import kind_of
from core.metrics.bootstrap import Difference
from core.metrics.relations import DiversityOverSeeds
from core.tuning.experiments import BETTER_PROMPT, REFERENCES, WHERE, too_small
from core.tuning.settings import Arm


def finding(table: pd.DataFrame, part: str) -> wording.Finding:
    """The headline and paragraph of an experiment, as it comes out."""
    arms = table[~table["arm"].isin(REFERENCES) & table["change"].notna()]
    if arms.empty:
        return wording.Finding(
            "No arm is done yet", "Each arm is compared with the model before tuning once it is."
        )
    where = WHERE.get(part, "")
    up = arms[arms["clear"] & (arms["change"] > 0)].sort_values("change", ascending=False)
    down = arms[arms["clear"] & (arms["change"] < 0)].sort_values("change")
    unclear = len(arms) - len(up) - len(down)
    if up.empty:
        headline = "No arm clearly brings the model closer"
    else:
        headline = f"Closest: {too_small(up['title'].iloc[0])}"
    text = []
    if len(up):
        best = up.iloc[0]
        most = "" if len(up) == 1 else " at most"
        text.append(
            f"{_arms(len(up), 'raises', 'raise')} the score{where},{most} by "
            f"{wording.number(best['change'])} points "
            f"({wording.interval(best['low'], best['high'])})."
        )
    if len(down):
        worst = down.iloc[0]
        what = "it" if len(up) else f"the score{where}"
        most = "" if len(down) == 1 else "most, "
        text.append(
            f"{_arms(len(down), 'lowers', 'lower')} {what}: {most}{too_small(worst['title'])} (by "
            f"{wording.number(-worst['change'])})."
        )
    if unclear:
        text.append(f"For {wording.count(unclear, 'arm')} the change is too small to call.")
    flat = arms[arms["diversity_clear"] & (arms["diversity_change"] < 0)]
    if len(flat):
        text.append(f"{_arms(len(flat), 'makes', 'make')} countries more alike.")
    text += [_control_words(up), _gap_words(table, up), _seeds_words(arms)]
    return wording.Finding(headline, " ".join(filter(None, text)))


def _arms(count: int, one: str, many: str) -> str:
    said = wording.capital(wording.count(count, "arm"))
    return f"{said} clearly {one if count == 1 else many}"


def _control_words(up: pd.DataFrame) -> str:
    """A control that helps says that the gain of others may not be about countries."""
    helped = up[up["control"]]
    if helped.empty:
        return ""
    names = wording.listed([too_small(title) for title in helped["title"]], most=2)
    return (
        f"So does a control ({names}): where that comes close, what was gained is not about the "
        "choice or the country."
    )


def _gap_words(table: pd.DataFrame, up: pd.DataFrame) -> str:
    """How much of a better prompt's gain tuning on the model's own answers brings along."""
    gap = table[table["arm"].eq(BETTER_PROMPT)]
    own = up[~up["human"] & ~up["control"]]
    if gap.empty or own.empty or not gap["clear"].iloc[0] or gap["change"].iloc[0] <= 0:
        return ""
    share = own["change"].iloc[0] / gap["change"].iloc[0]
    return (
        "Asked with cross-culture thinking the model before tuning comes "
        f"{wording.number(gap['change'].iloc[0])} points closer; tuning on its own answers "
        f"brings {wording.percent(min(share, 1.0))} of that to the plain country prompt."
    )


def _seeds_words(arms: pd.DataFrame) -> str:
    if arms["seeds"].max() > 1:
        return ""
    return "All this rests on one seed; what another would have given is not in the intervals."


def change_words(
    table: pd.DataFrame, mean: Difference, arm: Arm, apart: DiversityOverSeeds | None = None
) -> wording.Finding:
    """What one arm did, from scores.change: the mean first, then the countries, then whether they
    became more alike (apart: as OneArm has it).
    """
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
        f"On average {wording.number(abs(mean.value))} points {way} "
        f"({wording.interval(mean.low, mean.high)})."
    ]
    for some, what in ((closer, "closer"), (away, "further away")):
        if len(some):
            names = wording.listed([wording.country(n) for n in some["name"]], most=3)
            text.append(f"Clearly {what} in {len(some)} of {len(scored)} countries: {names}.")
    if apart and apart.change.clear:
        way = "made countries more alike" if apart.change.value < 0 else "told countries apart more"
        text.append(
            f"Tuning {way}: they lie {wording.percent(apart.after.value)} as far apart as people "
            "do, "
            f"before it {wording.percent(apart.before.value)}."
        )
    if arm.human_answers:
        only = "" if arm.uses_human_answers else "only "
        text.append(f"Of people’s answers this arm used {only}{arm.human_answers}.")
    return wording.Finding(headline, " ".join(text))


def alignment_diversity(table: pd.DataFrame) -> pd.DataFrame:
    """Points of the plot of closeness against diversity. table: as arms_table().

    Columns: arm, number, title, kind ("people", "base", "calibrated", "better_prompt", or of arms
    "control", "human", "own"), score, score_low, score_high, diversity, diversity_low,
    diversity_high, clear (score or diversity clearly changed), verdict. People stand where another
    sample of the same people would: at the ceiling, with a diversity of 1.
    """
    there = table[table["score"].notna() & table["diversity"].notna()]
    points = there.assign(
        kind=[kind_of(row) for row in there.itertuples()],
        clear=there["clear"] | there["diversity_clear"],
    )
    points = points[POINT_COLUMNS]
    ceiling = table["ceiling"].iloc[0] if len(table) else math.nan
    if not math.isfinite(ceiling) or points.empty:
        return points.reset_index(drop=True)
    people = {
        "arm": "people", "number": 0, "title": "People", "kind": "people", "score": ceiling,
        "diversity": 1.0, "clear": True, "verdict": wording.capital(wording.CEILING) + ".",
    }  # fmt: skip
    every = pd.DataFrame([people, *points.to_dict("records")])
    return every.reindex(columns=POINT_COLUMNS)


POINT_COLUMNS = [
    *("arm", "number", "title", "kind", "score", "score_low", "score_high"),
    *("diversity", "diversity_low", "diversity_high", "clear", "verdict"),
]


def as_records(table: pd.DataFrame) -> list[dict]:
    """A table as one record a row, for JSON: NaN as null."""
    plain = table.astype(object)
    return plain.where(plain.notna(), None).to_dict("records")
