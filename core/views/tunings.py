"""What the tuning pages lay out: how far a tuning is, and what every stage of it made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import pandas as pd

from core import wording
from core.store.jobs import Job
from core.store.runs import BASE, WRITTEN, Run
from core.store.store import Store
from core.survey.survey import Survey
from core.tuning.culturespa.training_examples import cultures_of
from core.tuning.culturespa.writing import topics_of
from core.tuning.settings import Arm, TuneSettings

DONE, NOW, WAITING = "done", "now", "waiting"

STATES = {
    "kept": "Kept",
    "spare": "Good, but there were enough",
    "malformed": "Could not be read",
    "duplicate": "Word for word another one",
    "dropped": "Dropped by the study's rules",
    "near": "Too near to another one",
    "leak": "Too near to a survey question",
    "written": "Not sorted yet",
}


class Tuning(NamedTuple):
    """A tuning as the store keeps it, and the job that carries it out (None where it is gone)."""

    id: str
    name: str
    settings: TuneSettings
    counts: dict
    arms: tuple[dict, ...]
    job: Job | None
    created: datetime

    @property
    def state(self) -> str:
        return self.job.state if self.job else DONE

    @property
    def is_experiment(self) -> bool:
        return len(self.settings.arms) * len(self.settings.seeds) > 1

    def arm(self, name: str, seed: int) -> dict | None:
        """How far one arm is; None while it has not begun."""
        return next((a for a in self.arms if (a["arm"], a["seed"]) == (name, seed)), None)

    def one(self, name: str = "", seed: int | None = None) -> TunedArm:
        """One of its arms by name and one of its seeds; the first where not named."""
        arms = {arm.name: arm for arm in self.settings.arms}
        arm = arms[name] if name else self.settings.arms[0]
        return TunedArm(self, arm, self.settings.seeds[0] if seed is None else seed)


class TunedArm(NamedTuple):
    """One arm of a tuning with one seed: what becomes one adapter, or one for each country."""

    of: Tuning
    arm: Arm
    seed: int

    @property
    def state(self) -> dict | None:
        """How far it is; None while it has not begun."""
        return self.of.arm(self.arm.name, self.seed)

    @property
    def question_counts(self) -> dict | None:
        return self.of.counts.get(f"{self.seed}/questions")

    @property
    def pair_counts(self) -> dict | None:
        return self.of.counts.get(f"{self.seed}/pairs/{self.arm.teacher}/{self.arm.answers}")

    def mine(self, record: dict) -> bool:
        """Is a record of the store (an adapter, what it cost) this arm's with this seed?"""
        return (record["arm"], record["seed"]) == (self.arm.name, self.seed)


def tunings(store: Store) -> list[Tuning]:
    """Every tuning that is not in the bin, newest first."""
    jobs = {job.settings.tuning: job for job in store.jobs(kind="tune")}
    return [_tuning(store, record, jobs.get(record["id"])) for record in store.tunings()]


def tuning(store: Store, tuning_id: str) -> Tuning:
    """One tuning. Raises PluriscopeError where there is none."""
    return _tuning(store, store.tuning(tuning_id), store.job_of_tuning(tuning_id))


def _tuning(store: Store, record: dict, job: Job | None) -> Tuning:
    return Tuning(
        record["id"],
        record["name"],
        TuneSettings.from_json(record["settings"]),
        record["counts"],
        tuple(store.arms(record["id"])),
        job,
        record["created"],
    )


# -- the four steps --------------------------------------------------------------------------------


class Step(NamedTuple):
    """One of the four steps: its name, its count, a few words, and done, now or waiting."""

    name: str
    figure: str
    words: str
    state: str


def steps(store: Store, tuned: TunedArm) -> tuple[Step, ...]:
    """Questions, answers, pairs and adapter of one arm and seed, with their counts."""
    of, arm, seed = tuned
    own = arm.teacher != "people"
    pairs, state = tuned.pair_counts, tuned.state
    adapters = [adapter for adapter in store.adapters(of.id) if tuned.mine(adapter)]
    done = bool(state) and state["state"] == DONE
    asked = [
        run for run in store.tuning_runs(of.id)
        if (run.arm, run.seed) == (WRITTEN, seed) and run.settings.answering == arm.answers
        and run.method in ("plain", arm.teacher)
    ]  # fmt: skip
    made = [
        _questions_step(store, of, tuned.question_counts, own, seed),
        _answers_step(asked, own, pairs is not None or done),
        _pairs_step(state, pairs, own),
        _adapter_step(adapters, state, done),
    ]
    return tuple(_one_now(made, of.state))


def _questions_step(
    store: Store, of: Tuning, counts: dict | None, own: bool, seed: int
) -> tuple[str, str, str, bool]:
    if not own:
        return "Questions", "–", "people's answers to the survey are taught instead", True
    if counts:
        states = counts["states"]
        left_out = sum(states.values()) - states.get("kept", 0)
        topics = wording.count(len(topics_of(of.settings)), "topic")
        text = f"on {topics}; {left_out:,} more were left out"
        return "Questions", f"{states.get('kept', 0):,}", text, True
    so_far = len(store.questions(of.id, seed))
    return "Questions", f"{so_far:,}" if so_far else "–", "the model writes new ones", False


def _answers_step(asked: Sequence[Run], own: bool, done: bool) -> tuple[str, str, str, bool]:
    if not own:
        return "Answers", "–", "none are needed", True
    answered = sum(run.answered for run in asked)
    text = "plainly and as people of each country"
    return "Answers", f"{answered:,}" if answered else "–", text, done


def _pairs_step(state: dict | None, counts: dict | None, own: bool) -> tuple[str, str, str, bool]:
    examples = state["examples"] if state else 0
    taught = f"{wording.count(examples, 'example')} to train on" if examples else ""
    if not own:
        return "Pairs", f"{examples:,}" if examples else "–", "of the survey's own", examples > 0
    if not counts:
        return "Pairs", "–", "answers that differ by country", False
    share = wording.percent(counts["differing"] / counts["pairs"]) if counts["pairs"] else "none"
    return (
        "Pairs",
        f"{counts['differing']:,}",
        "; ".join(part for part in (f"{share} of {counts['pairs']:,} differ", taught) if part),
        examples > 0,
    )


def _adapter_step(
    adapters: Sequence[dict], state: dict | None, done: bool
) -> tuple[str, str, str, bool]:
    if state and state["state"] == "failed":
        return "Adapter", "–", "could not be made", True
    whole = [a for a in adapters if a["facts"].get("complete", True)]
    if adapters and not whole:
        return "Adapter", "unfinished", "stopped before its last step", False
    text = "trained, asked and checked" if done else "small weights put on top of the model"
    return "Adapter", f"{len(whole):,}" if whole else "–", text, done


def _one_now(made: Sequence[tuple[str, str, str, bool]], state: str) -> list[Step]:
    """The first step that is not done is under way, unless the whole is over."""
    result, open_now = [], state in ("queued", "loading", "running", "stopping")
    for name, figure, text, done in made:
        kind = DONE if done else NOW if open_now else WAITING
        open_now = open_now and done
        result.append(Step(name, figure, text, kind))
    return result


# -- what the stages made --------------------------------------------------------------------------


def question_table(
    store: Store, tuning_id: str, seed: int, topic: str = "", state: str = ""
) -> pd.DataFrame:
    """Columns: No, Question, Options, Topic, What became of it, Why, Near, Likeness, raw."""
    found = store.questions(tuning_id, seed)
    if topic:
        found = found[found["topic"] == topic]
    if state:
        found = found[found["state"] == state]
    return pd.DataFrame(
        {
            "No": found["no"],
            "Question": found["question"],
            "Options": [" · ".join(options) for options in found["options"]],
            "Topic": found["topic"],
            "What became of it": found["state"].map(STATES),
            "Why": found["reason"],
            "Near": found["near"],
            "Likeness": found["similarity"],
            "raw": found["raw"],
        }
    ).reset_index(drop=True)


def question_states(counts: Mapping[str, Mapping[str, int]]) -> pd.DataFrame:
    """Written questions by how they ended. Columns: What became of them, Questions."""
    rows = sorted(counts["states"].items(), key=lambda pair: -pair[1])
    return pd.DataFrame(
        [(STATES.get(state, state), count) for state, count in rows],
        columns=["What became of them", "Questions"],
    )


def filter_words(settings: TuneSettings, measure: str) -> str:
    """From which likeness on a question was dropped."""
    limits = (
        (settings.near_limit, "another written question"),
        (settings.leak_limit, "a survey question"),
    )
    said = [f"{limit:g} or more to {what}" for limit, what in limits if limit is not None]
    if not said:
        return "Questions were dropped by the study’s rules alone, however like others they are."
    return f"Besides the study’s rules, what has a {measure} of {wording.listed(said)} is dropped."


def written_survey(store: Store, of: Tuning, seed: int) -> Survey | None:
    """A seed's written questions as they were asked; None where those runs were deleted."""
    for run in store.tuning_runs(of.id):
        if (run.arm, run.seed) == (WRITTEN, seed):
            return store.survey(run.settings.survey, run.settings.survey_version)
    return None


def pair_table(
    store: Store, tuned: TunedArm, survey: Survey, written: Survey,
    iso3: str = "", differs: bool | None = None, limit: int | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Pairs of one arm, the farthest apart first.

    Columns: Country, Question, Topic, Asked plainly, As a person from there, Apart, Noise, Why.
    """
    arm = tuned.arm
    found = store.pairs(tuned.of.id, tuned.seed, arm.teacher, arm.answers)
    if iso3:
        found = found[found["iso3"] == iso3]
    if differs is not None:
        found = found[found["differs"] == differs]
    found = found.sort_values("distance", ascending=False, kind="stable")
    found = found if limit is None else found.head(limit)
    items = [written.item(item) for item in found["item"]]

    def said(codes: pd.Series) -> list[str]:
        return [
            "" if pd.isna(code) else item.option(int(code)).label
            for item, code in zip(items, codes, strict=True)
        ]

    return pd.DataFrame(
        {
            "Country": [survey.culture(code).name for code in found["iso3"]],
            "Question": [item.question for item in items],
            "Topic": [item.topic for item in items],
            "Asked plainly": said(found["plain"]),
            "As a person from there": said(found["aware"]),
            "Apart": found["distance"].to_numpy(),
            "Noise": found["noise"].to_numpy(),
            "Why": found["reason"].to_numpy(),
        }
    )


def yield_by_country(store: Store, tuned: TunedArm) -> pd.DataFrame:
    """Pairs by country and topic. Columns: iso3, name, topic, pairs, differing, share (of 1)."""
    of, arm, seed = tuned
    found = store.pair_yield(of.id)
    mine = (
        found["seed"].eq(seed) & found["teacher"].eq(arm.teacher) & found["answers"].eq(arm.answers)
    )
    found = found[mine].copy()
    survey = store.survey(of.settings.survey, of.settings.survey_version)
    found["name"] = [survey.culture(code).name for code in found["iso3"]]
    found["share"] = found["differing"] / found["pairs"]
    return found[["iso3", "name", "topic", "pairs", "differing", "share"]].reset_index(drop=True)


def yield_words(counts: Mapping, table: pd.DataFrame, arm: Arm) -> str:
    """What the pairs say, in a sentence or two: how many differ, beside how many by chance."""
    share = counts["differing"] / counts["pairs"] if counts["pairs"] else 0.0
    said = (
        f"{wording.capital(wording.percent(share))} of {counts['pairs']:,} answers as a person "
        "of a "
        "country differ from the plain answer."
    )
    if arm.answers == "written" and counts["noise"] is not None:
        said += (
            f" Asked plainly a second time, {wording.percent(counts['noise'])} differ by chance "
            "alone: so much of what differs is noise."
        )
    if len(table):
        by_name = table.groupby("name")[["differing", "pairs"]].sum()
        rates = (by_name["differing"] / by_name["pairs"]).sort_values()
        if len(rates) > 1:
            said += f" Most for {rates.index[-1]}, fewest for {rates.index[0]}."
    return said


class BeforeAfter(NamedTuple):
    """Runs of the survey before tuning and after, by method ("plain", "country")."""

    before: dict[str, Run]
    after: dict[str, Run]


def before_after(store: Store, tuned: TunedArm) -> BeforeAfter:
    """Runs of an arm before and after tuning; empty while there are none."""

    def by_method(name: str) -> dict[str, Run]:
        state = tuned.of.arm(name, tuned.seed)
        runs = [store.run(run_id) for run_id in (state["runs"] if state else ())]
        return {run.method: run for run in runs if run.answered}

    return BeforeAfter(by_method(BASE), by_method(tuned.arm.name))


def settings_words(of: Tuning) -> str:
    """One line under a tuning's name: countries, questions, arms and seeds."""
    s = of.settings
    parts = [wording.count(len(cultures_of(s)), "country", "countries")]
    if any(arm.teacher != "people" for arm in s.arms):
        parts.append(f"{s.per_topic} questions on each of {len(topics_of(s))} topics")
    if of.is_experiment:
        parts.append(wording.count(len(s.arms), "arm"))
        parts.append(wording.count(len(s.seeds), "seed"))
    else:
        arm = s.arms[0]
        parts.append(arm.title[0].lower() + arm.title[1:])
        parts.append("one adapter" if arm.mode == "joint" else "one adapter for each country")
    return " · ".join(parts)
