"""CultureSPA from end to end: carry a tuning through its stages, each of which can be resumed.

questions -> answers -> pairs, for each seed; then for each arm examples -> training -> the survey
asked again -> what it cost. Whatever a stage makes is in the store before the next begins, so a
stop, a crash or a kill costs only the step in hand. The model's work is done by the worker.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from core.asking.settings import AskSettings
from core.errors import Failed, PluriscopeError, disk_in_words
from core.models.adapters import is_adapter
from core.models.catalogue import describe
from core.models.spec import ModelSpec
from core.prompts.methods import METHODS
from core.prompts.prompt_sets import PromptSet
from core.store.database import utc_now
from core.store.runs import BASE, WRITTEN, Run
from core.store.store import Store
from core.survey.survey import WRITTEN_SURVEY, Survey
from core.tuning import model_card
from core.tuning.culturespa import filtering, pairs, training_examples, writing
from core.tuning.culturespa.questions import (
    USABLE,
    Question,
    from_table,
    frozen_neighbours,
    survey_of,
    tally,
    to_rows,
)
from core.tuning.messages import (
    AbilitiesMeasured,
    AdapterTrained,
    Judge,
    MeasureAbilities,
    Stepped,
    Train,
    Write,
    Written,
)
from core.tuning.settings import Arm, TuneSettings

SHOWN_OF_STEP = ("loss", "rate", "tokens_per_second", "memory_bytes")


class Hands(Protocol):
    """What carries a tuning out: the store it writes to, and the worker it commands.

    stopping() raises where somebody asked to stop. begin(doing, done, total) says what is being
    done; count(done, **facts) how far it is; share(s) how much of the whole is behind it. ask()
    has runs answered; do() gives the worker a command (core/tuning/messages.py) and yields what it
    reports. Both raise Failed where the worker cannot do it; one that died is replaced with the
    next command.
    """

    store: Store
    home: Path

    def stopping(self) -> None: ...
    def begin(self, doing: str, done: int = 0, total: int = 0) -> None: ...
    def count(self, done: int, total: int | None = None, **facts: float) -> None: ...
    def share(self, share: float) -> None: ...
    def ask(self, run_ids: Sequence[str], on_answers: Callable[[int], None]) -> None: ...
    def do(self, command: Any) -> Iterator[Any]: ...


def carry_out(hands: Hands, tuning_id: str) -> None:
    """Take a tuning from wherever it stands to its end."""
    _Tuning(hands, tuning_id).carry_out()


# -- what it will cost -----------------------------------------------------------------------------

# What each kind of work takes beside one question asked for its probabilities. Only proportions
# matter: they turn the time gone by into the time to go.
# Why: docs/decisions.md, "One tuning, one or more arms."
COST = {"write": 12.0, "sample": 4.0, "ask": 1.0, "example": 7.0, "abilities": 400.0}


class Work(NamedTuple):
    """How much there is to do, by kind of work."""

    write: int = 0
    sample: int = 0
    ask: int = 0
    example: int = 0
    abilities: int = 0

    @property
    def cost(self) -> float:
        return sum(count * COST[kind] for kind, count in zip(self._fields, self, strict=True))

    def plus(self, **more: int) -> Work:
        return self._replace(**{kind: getattr(self, kind) + n for kind, n in more.items()})


def work_of(settings: TuneSettings, survey: Survey) -> Work:
    """How much a tuning is to do. Examples of arms that choose pairs are a guess (a third)."""
    questions = settings.per_topic * len(writing.topics_of(settings))
    orders = 2 if settings.orders == "both" else 1
    cultures = len(training_examples.cultures_of(settings))
    work = Work()
    writes = any(arm.teacher != "people" for arm in settings.arms)
    for _ in settings.seeds:
        if writes:
            work = work.plus(write=questions)
        for answers in sorted({a.answers for a in settings.arms if a.teacher != "people"}):
            times = orders if answers == "probabilities" else 1
            kind = "ask" if answers == "probabilities" else "sample"
            teachers = {
                a.teacher for a in settings.arms if (a.answers, a.teacher != "people") ==
                (answers, True)
            }  # fmt: skip
            asked = questions * times * (cultures * len(teachers) + 1)
            work = work.plus(**{kind: asked})
        for arm in settings.arms:
            pool = cultures * (
                len(taught_items(settings, survey)) if arm.teacher == "people" else questions
            )
            part = 1.0 if arm.choose == "all" else 0.33
            times = orders if arm.answers == "probabilities" else 1
            examples = int(pool * part * arm.fraction * times * settings.lora.epochs)
            work = work.plus(example=examples)
    evaluated = _evaluated_prompts(settings, survey)
    extra = len(settings.cultures) and any(a.teacher == "cross_culture" for a in settings.arms)
    rounds = 1 + len(settings.seeds) * len(settings.arms) + (0.9 if extra else 0)
    work = work.plus(ask=int(evaluated * rounds))
    if settings.abilities:
        work = work.plus(abilities=len(settings.seeds) * len(settings.arms))
    return work


def _evaluated_prompts(settings: TuneSettings, survey: Survey) -> int:
    if not settings.evaluate:
        return 0
    orders = 2 if settings.orders == "both" else 1
    return len(survey.select(settings.evaluate)) * orders * (len(settings.cultures) + 1)


def taught_items(settings: TuneSettings, survey: Survey) -> tuple[str, ...]:
    """Survey items that may be shown as examples or taught with people's shares."""
    held = set(settings.held_out_items)
    return tuple(
        item.id
        for item in survey.items
        if item.id not in held and item.topic not in settings.held_out_topics
    )


# -- one tuning, stage by stage --------------------------------------------------------------------


class _Tuning:
    def __init__(self, hands: Hands, tuning_id: str):
        self.hands, self.store, self.id = hands, hands.store, tuning_id
        record = self.store.tuning(tuning_id)
        self.name = record["name"]
        self.settings = TuneSettings.from_json(record["settings"])
        self.survey = self.store.survey(self.settings.survey, self.settings.survey_version)
        texts = self.store.prompt_texts(self.settings.prompt_sha256)
        if texts is None:
            raise PluriscopeError(
                "The wording this tuning began with is no longer in the store, so it cannot go on "
                "with the same words. Start it anew."
            )
        s = self.settings
        self.prompts = PromptSet(s.prompt_set, s.prompt_set, "en", texts)
        self.folder = self.store.tuning_folder(tuning_id)
        with disk_in_words("The tuning’s folder"):
            self.folder.mkdir(parents=True, exist_ok=True)
        self.whole = work_of(self.settings, self.survey).cost
        self.behind = 0.0
        self._budgets: dict[int, int | None] = {}

    # How much of the whole is behind: counted as planned, so that every stage ends where it should.

    def _advance(self, cost: float) -> None:
        self.behind += cost
        self.hands.share(min(self.behind / self.whole, 0.999) if self.whole else 0.0)

    def _note(self, seed: int, stage: str, counts: dict) -> None:
        self.store.update_tuning(self.id, counts={f"{seed}/{stage}": counts})

    def carry_out(self) -> None:
        self._base()
        for seed in self.settings.seeds:
            written = None
            if any(arm.teacher != "people" for arm in self.settings.arms):
                written = self._questions(seed)
                self._answers(seed, written)
            for arm in self.settings.arms:
                self.hands.stopping()
                self._arm(arm, seed, written)
        failed = [arm for arm in self.store.arms(self.id) if arm["state"] == "failed"]
        if failed and len(failed) == len(self.settings.arms) * len(self.settings.seeds):
            facts = failed[0]["facts"]
            raise Failed(facts["error"], facts["details"])

    # -- before ------------------------------------------------------------------------------------

    # Why: docs/decisions.md, "The survey before tuning is asked once."
    def _base(self) -> None:
        """The survey asked before tuning. It does not depend on the seed, so it is asked once."""
        if not self.settings.evaluate:
            return
        methods = ["plain", "country"]
        if any(arm.teacher == "cross_culture" for arm in self.settings.arms):
            methods.append("cross_culture")
        runs = self._ask_survey("before tuning", self.settings.model, BASE, None, methods)
        for seed in self.settings.seeds:
            self.store.set_arm(self.id, BASE, seed, state="done", runs=[run.id for run in runs])

    def _ask_survey(
        self, when: str, model: ModelSpec, arm: str, seed: int | None, methods: Sequence[str]
    ) -> list[Run]:
        self.hands.stopping()
        s = self.settings
        items = self.survey.select(s.evaluate)
        item_set = s.evaluate if s.evaluate in ("core", "all", *self.survey.topics) else ""
        alone = len(s.arms) * len(s.seeds) == 1
        runs = []
        for method in methods:
            near = self._neighbours(s.cultures) if METHODS[method].tells_neighbours else None
            settings = AskSettings(
                model=model,
                method=method,
                cultures=s.cultures,
                items=tuple(item.id for item in items),
                item_set=item_set,
                survey=self.survey.id,
                survey_version=self.survey.version,
                prompt_set=s.prompt_set,
                prompt_sha256=s.prompt_sha256,
                orders=s.orders,
                label_rule=s.label_rule,
                neighbours=near,
            )
            name = f"{self.name}, {when} · {METHODS[method].name.lower()}"
            kind = "survey" if alone else "experiment"
            runs.append(self._run(settings, self.survey, arm, seed, kind, name))
        self._have_answered(f"Asking the survey {when}", runs)
        return runs

    def _run(
        self,
        settings: AskSettings,
        survey: Survey,
        arm: str,
        seed: int | None,
        kind: str,
        name: str,
    ) -> Run:
        """The run of these settings, made where there is none yet."""
        for run in self.store.tuning_runs(self.id):
            if (run.arm, run.seed) == (arm, seed) and run.settings == settings:
                return run
        planned = len(settings.planned_cells(survey))
        return self.store.add_run(
            settings,
            planned=planned,
            name=name,
            group="-".join([self.id, arm] + ([] if seed is None else [str(seed)])),
            kind=kind,
            made_for=(self.id, arm, seed),
        )

    def _have_answered(self, doing: str, runs: Sequence[Run]) -> None:
        def cost(run: Run) -> float:
            return COST["sample" if run.settings.answering == "written" else "ask"]

        before = sum(run.answered * cost(run) for run in runs)
        whole = sum(run.planned * cost(run) for run in runs)
        behind = self.behind
        self._advance(before)
        open_runs = [run for run in runs if run.answered < run.planned]
        if open_runs:
            self.hands.begin(doing)
            each = cost(open_runs[0])
            self.hands.ask([run.id for run in open_runs], lambda n: self._advance(n * each))
        self.behind = behind
        self._advance(whole)

    # -- questions ---------------------------------------------------------------------------------

    def _questions(self, seed: int) -> Survey:
        """Written and filtered questions as a survey of their own; from the store if complete."""
        whole = self.settings.per_topic * len(writing.topics_of(self.settings))
        behind = self.behind
        questions = self._write(seed)
        counts = tally(questions)
        counts["shortfalls"] = writing.shortfalls(self.settings, questions)
        survey = survey_of(self.id, seed, questions, self.survey)
        self._note(seed, "questions", counts)
        self.store.add_survey(survey, source=WRITTEN_SURVEY, tuning=self.id)
        self.behind = behind
        self._advance(whole * COST["write"])
        return survey

    def _write(self, seed: int) -> list[Question]:
        """Round after round until every topic has its questions or was tried often enough."""
        wanted = self.settings.per_topic * len(writing.topics_of(self.settings))
        behind = self.behind
        while True:
            self.hands.stopping()
            so_far = from_table(self.store.questions(self.id, seed))
            usable = sum(one.state in USABLE for one in so_far)
            self.hands.begin("Writing questions", min(usable, wanted), wanted)
            self.behind = behind
            self._advance(min(usable, wanted) * COST["write"] * 0.95)
            asked = writing.next_round(self.settings, self.survey, self.prompts, so_far, seed)
            if asked is not None:
                draft = writing.Draft(self.folder / f"draft-{seed}.jsonl", asked)
                texts = self._texts(draft, usable, wanted)
                found = writing.read_round(asked, texts, self.survey, so_far)
                self.store.add_questions(to_rows(self.id, seed, found))
                draft.path.unlink(missing_ok=True)
            elif writing.unjudged(so_far):
                judged = self._judged(seed, so_far)
                self.store.judge_questions(self.id, seed, to_rows(self.id, seed, judged))
            else:
                return so_far

    def _texts(self, draft: writing.Draft, usable: int, wanted: int) -> list[str]:
        """What the model writes to one round of prompts, in their order; only what is missing."""
        missing = draft.missing
        command = Write(
            self.settings.model,
            tuple(draft.asked.requests[index] for index in missing),
            writing.TEMPERATURE,
            writing.TOP_P,
            writing.MAX_NEW_TOKENS,
        )
        for event in self.hands.do(command) if missing else ():
            if isinstance(event, Written):
                draft.add(missing[event.index], event.text)
                self.hands.count(min(usable + len(draft.texts), wanted))
        return draft.done()

    def _judged(self, seed: int, questions: Sequence[Question]) -> list[Question]:
        """Filter what was written, in the worker: comparing thousands of texts takes a while."""
        case, verdict = self.folder / f"written-{seed}.json", self.folder / f"judged-{seed}.json"
        filtering.save_case(
            case,
            questions,
            [item.question for item in self.survey.items],
            per_topic=self.settings.per_topic,
            near_limit=self.settings.near_limit,
            leak_limit=self.settings.leak_limit,
            measure=self.settings.likeness,
        )
        for _ in self.hands.do(Judge(case, verdict)):
            pass
        return filtering.load_verdict(verdict)

    # -- answers and pairs -------------------------------------------------------------------------

    def _answers(self, seed: int, written: Survey) -> None:
        """Plain and country answers to the written questions, and the pairs they make."""
        s = self.settings
        needed = {(a.teacher, a.answers) for a in s.arms if a.teacher != "people"}
        for answers in sorted({answers for _, answers in needed}):
            teachers = sorted(teacher for teacher, how in needed if how == answers)
            runs = {
                method: self._run(
                    self._asking(method, answers, seed, written), written,
                    WRITTEN, seed, "tuning",
                    f"{self.name}, own questions · {METHODS[method].name.lower()}",
                )
                for method in ("plain", *teachers)
            }  # fmt: skip
            self._have_answered("Answering its own questions", list(runs.values()))
            for teacher in teachers:
                self._pairs(seed, teacher, answers, written, runs["plain"], runs[teacher])

    def _asking(self, method: str, answers: str, seed: int, written: Survey) -> AskSettings:
        s = self.settings
        return AskSettings(
            model=s.model,
            method=method,
            cultures=training_examples.cultures_of(s),
            items=tuple(item.id for item in written.items),
            item_set="all",
            survey=written.id,
            survey_version=written.version,
            prompt_set=s.prompt_set,
            prompt_sha256=s.prompt_sha256,
            orders=s.orders,
            label_rule=s.label_rule,
            answering=answers,
            # A second plain sample says how often the same question gets another answer by chance.
            samples=2 if answers == "written" and method == "plain" else 1,
            temperature=s.temperature,
            top_p=s.top_p,
            seed=seed,
            neighbours=(
                self._neighbours(training_examples.cultures_of(s))
                if METHODS[method].tells_neighbours
                else None
            ),
        )

    # Why: docs/decisions.md, "Near and far countries are frozen with a run."
    def _neighbours(self, cultures: Sequence[str]) -> dict[str, list[list[str]]]:
        """Which countries are near and far, from the survey without what is held out."""
        s = self.settings
        return frozen_neighbours(
            self.survey,
            cultures,
            s.held_out_items,
            s.held_out_topics,
            s.held_out_cultures,
        )

    def _pairs(
        self, seed: int, teacher: str, answers: str, written: Survey, plain: Run, country: Run
    ) -> None:
        noted = self.store.tuning(self.id)["counts"]
        stage = f"pairs/{teacher}/{answers}"
        if f"{seed}/{stage}" in noted:
            return
        self.hands.begin("Comparing the answers")
        found = pairs.pairs_of(
            written,
            self.store.answers(plain.no),
            self.store.answers(country.no),
            answers=answers,
            tuning=self.id,
            seed=seed,
            teacher=teacher,
        )
        self.store.keep_pairs(self.id, seed, teacher, answers, found.rows)
        self._note(seed, stage, found.facts)

    # -- one arm -----------------------------------------------------------------------------------

    # Why: docs/decisions.md, "An arm that cannot be made does not stop the others."
    def _arm(self, arm: Arm, seed: int, written: Survey | None) -> None:
        state = next(
            (a for a in self.store.arms(self.id) if (a["arm"], a["seed"]) == (arm.name, seed)), None
        )
        behind, whole = self.behind, self._arm_cost(arm)
        if state and state["state"] == "done":
            self._advance(whole)
            return
        if not state or not state["started"]:
            self.store.set_arm(self.id, arm.name, seed, started=utc_now())
        self.store.set_arm(self.id, arm.name, seed, state="running", facts={})
        try:
            files = self._examples(arm, seed, written)
            folder = self._train(arm, seed, files)
            runs = self._after(arm, seed, folder)
        except PluriscopeError as error:
            # One arm that cannot be made does not keep the others from being made.
            self.hands.stopping()
            facts = {"error": str(error), "details": getattr(error, "details", "")}
            self.store.set_arm(
                self.id, arm.name, seed, state="failed", facts=facts, finished=utc_now()
            )
        else:
            self.store.set_arm(
                self.id, arm.name, seed, state="running", runs=[run.id for run in runs]
            )
            model_card.write_card(self.store, self.id, arm, seed, folder)
            if self._what_it_cost(arm, seed, folder):
                model_card.write_card(self.store, self.id, arm, seed, folder)
            self.store.set_arm(self.id, arm.name, seed, state="done", finished=utc_now())
        self.behind = behind
        self._advance(whole)

    def _arm_cost(self, arm: Arm) -> float:
        alone = replace(self.settings, arms=(arm,), seeds=(0,))
        work = work_of(alone, self.survey)
        evaluated = _evaluated_prompts(self.settings, self.survey)
        only = Work(example=work.example, ask=evaluated, abilities=work.abilities)
        return only.cost

    def _examples(self, arm: Arm, seed: int, written: Survey | None) -> dict[str, Path]:
        """Files of training examples by country ("" for all of them together)."""
        self.hands.begin("Making the training examples")
        budget = self._budget(seed, written)
        made = self._made(arm, seed, written, budget)
        self.store.set_arm(
            self.id, arm.name, seed, examples=made.total, counts={"countries": made.counts}
        )
        if arm.mode == "joint":
            path = self._examples_file(arm, seed)
            training_examples.save_examples(path, made.lines)
            return {"": path}
        files = {iso3: self._examples_file(arm, seed, iso3) for iso3 in made.counts}
        for iso3, path in files.items():
            mine = self._made(arm, seed, written, budget, only=iso3)
            training_examples.save_examples(path, mine.lines)
        return files

    def _examples_file(self, arm: Arm, seed: int, iso3: str = "") -> Path:
        name = f"{arm.name}-{seed}{f'-{iso3}' if iso3 else ''}.jsonl"
        return self.folder / name.replace(":", "-")

    def _made(
        self, arm: Arm, seed: int, written: Survey | None, budget: int | None, only: str = ""
    ) -> training_examples.Examples:
        own = arm.teacher != "people"
        return training_examples.examples(
            arm,
            self.settings,
            self.prompts,
            seed=seed,
            pairs=self.store.pairs(self.id, seed, arm.teacher, arm.answers) if own else None,
            written=written,
            people=self.survey,
            budget=budget,
            only=only,
        )

    # Why: docs/decisions.md, "Equal budgets leave shares alone."
    def _budget(self, seed: int, written: Survey | None) -> int | None:
        """As many examples as the arm with fewest has, where all are to have the same.

        Arms on a share of the examples take their share of as many.
        """
        if not self.settings.equal_budgets or len(self.settings.arms) == 1:
            return None
        if seed not in self._budgets:
            counts = []
            for arm in self.settings.arms:
                with suppress(PluriscopeError):  # that arm will say so itself
                    whole = replace(arm, fraction=1.0)
                    counts.append(self._made(whole, seed, written, None).total)
            self._budgets[seed] = min(counts, default=None)
        return self._budgets[seed]

    def adapter_folder(self, arm: Arm, seed: int) -> Path:
        """Named for people, and by the tuning's id so that no two meet; once, as names change."""
        for known in self.store.arms(self.id):
            if (known["arm"], known["seed"]) == (arm.name, seed) and known["folder"]:
                return self.hands.home / "adapters" / known["folder"]
        words = re.sub(r"[^a-z0-9]+", "-", self.name.casefold()).strip("-")[:48].rstrip("-")
        name = f"{words}-{arm.name}-{seed}-{self.id}".replace(":", "-")
        self.store.set_arm(self.id, arm.name, seed, folder=name)
        return self.hands.home / "adapters" / name

    def _train(self, arm: Arm, seed: int, files: dict[str, Path]) -> Path:
        folder = self.adapter_folder(arm, seed)
        known = {
            (a["arm"], a["seed"], a["iso3"]): a for a in self.store.adapters(self.id)
        }  # fmt: skip
        each = self._arm_training_cost(arm) / max(len(files), 1)
        for iso3, path in files.items():
            self.hands.stopping()
            before = self.behind
            done = known.get((arm.name, seed, iso3))
            mine = folder / iso3 if iso3 else folder
            # What the store knows of may have been deleted from the shelf since.
            whole = done and done["facts"].get("complete") and is_adapter(mine)
            if not whole or self._is_of_another_version(done):
                self._train_one(arm, seed, iso3, path, mine, each)
            self.behind = before
            self._advance(each)
        return folder

    def _arm_training_cost(self, arm: Arm) -> float:
        work = work_of(replace(self.settings, arms=(arm,), seeds=(0,)), self.survey)
        return work.example * COST["example"]

    def _train_one(
        self, arm: Arm, seed: int, iso3: str, examples: Path, folder: Path, cost: float
    ) -> None:
        where = f" for {self.survey.culture(iso3).name}" if iso3 else ""
        again = f", seed {seed}" if len(self.settings.seeds) > 1 else ""
        self.hands.begin(f"Training{where}")
        before = self.behind
        points: list[dict] = []

        def save_points() -> None:
            self.store.add_training(points)
            points.clear()

        command = Train(
            replace(self.settings.model, adapter=None),
            examples,
            self.settings.lora,
            seed,
            folder,
            f"{self.name}: {arm.title}{again}",
            iso3,
            self.settings.label_rule,
        )
        trained = None
        try:
            for event in self.hands.do(command):
                if isinstance(event, Stepped):
                    step = event.step
                    facts = {name: getattr(step, name) for name in SHOWN_OF_STEP}
                    self.hands.count(step.step, step.steps, **facts)
                    self.behind = before
                    self._advance(cost * step.step / step.steps)
                    of = {"tuning": self.id, "arm": arm.name, "seed": seed, "iso3": iso3}
                    points.append({**of, "step": step.step, "steps": step.steps, **facts})
                    if len(points) >= 5:
                        save_points()
                elif isinstance(event, AdapterTrained):
                    trained = event
        finally:
            save_points()
            if trained:
                self._keep_adapter(arm, seed, iso3, folder, trained)

    def _keep_adapter(
        self, arm: Arm, seed: int, iso3: str, folder: Path, trained: AdapterTrained
    ) -> None:
        """Note an adapter; one that was stopped half way is kept too, and says so."""
        for old in self.store.adapters(self.id):
            if (old["arm"], old["seed"], old["iso3"]) == (arm.name, seed, iso3):
                self.store.delete_adapter(old["id"])
        where = f", {self.survey.culture(iso3).name}" if iso3 else ""
        self.store.add_adapter(
            {
                "tuning": self.id,
                "arm": arm.name,
                "seed": seed,
                "iso3": iso3,
                "name": f"{self.name}: {arm.title}{where}",
                "base": replace(self.settings.model, adapter=None).to_json(),
                "base_revision": trained.facts.get("base_revision", ""),
                "path": str(folder.relative_to(self.hands.home)),
                "sha256": trained.sha256,
                "facts": trained.facts,
            }
        )

    def _after(self, arm: Arm, seed: int, folder: Path) -> list[Run]:
        if not self.settings.evaluate:
            return []
        self._refuse_another_version(arm, seed)
        model = replace(self.settings.model, adapter=str(folder))
        when = "after tuning"
        if len(self.settings.arms) * len(self.settings.seeds) > 1:
            when = f"after tuning: {arm.title}, seed {seed}"
        return self._ask_survey(when, model, arm.name, seed, ["plain", "country"])

    def _asked_version(self) -> str:
        """The version of the model that was asked the survey before tuning; "" if unknown."""
        found = [
            run.facts.get("revision", "")
            for run in self.store.tuning_runs(self.id)
            if run.arm == BASE
        ]
        return next(filter(None, found), "")

    def _is_of_another_version(self, adapter: dict) -> bool:
        versions = {adapter["base_revision"], self._asked_version()} - {""}
        return len(versions) > 1

    def _refuse_another_version(self, arm: Arm, seed: int) -> None:
        for adapter in self.store.adapters(self.id):
            mine = (adapter["arm"], adapter["seed"]) == (arm.name, seed)
            if mine and self._is_of_another_version(adapter):
                raise PluriscopeError(
                    f"{describe(self.settings.model)} was replaced by another version after it "
                    "was asked the survey, so before and after tuning cannot be compared. Bring "
                    "the version back and resume, or start a tuning anew."
                )

    def _what_it_cost(self, arm: Arm, seed: int, folder: Path) -> bool:
        """Have it checked what tuning cost elsewhere; True if the store tells of it now.

        The adapter is made and asked by now: a check that cannot be made takes nothing away.
        """
        if not self.settings.abilities:
            return False
        done = {(one["arm"], one["seed"]) for one in self.store.abilities(self.id)}
        if (arm.name, seed) in done:
            return True
        self.hands.begin("Checking what it cost elsewhere")
        base = replace(self.settings.model, adapter=None)
        command = MeasureAbilities(base, folder, self.settings.tasks)
        try:
            for event in self.hands.do(command):
                if isinstance(event, AbilitiesMeasured):
                    self.store.keep_abilities(self.id, arm.name, seed, event.record)
                    done.add((arm.name, seed))
        except PluriscopeError as error:
            self.hands.stopping()
            failed = {"cost": {"error": str(error), "details": getattr(error, "details", "")}}
            self.store.set_arm(self.id, arm.name, seed, facts=failed)
        return (arm.name, seed) in done


def tuning_title(settings: TuneSettings) -> str:
    """A tuning's name where it is given none: "Built-in model, tuned for 18 countries"."""
    count = len(training_examples.cultures_of(settings))
    where = "1 country" if count == 1 else f"{count} countries"
    if len(settings.arms) * len(settings.seeds) > 1:
        return f"{describe(settings.model)}: experiment with {len(settings.arms)} arms, {where}"
    return f"{describe(settings.model)}, tuned for {where}"
