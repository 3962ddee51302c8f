"""The CultureSPA study's own folder: its questions, people's proportions and recorded answers.

The questions become a survey with the study's texts and answer codes, and the answers that its
model gave become runs, so that they show and score like any other. Each answer is read by the
study's rule (the first whole number), since that is what its published figures rest on; where our
stricter reading differs the answer says so.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from core.asking.answers import Answer
from core.asking.parsing import parse
from core.asking.settings import AskSettings
from core.errors import ImportRefused, PluriscopeError
from core.importers import files, places
from core.importers.imported import (
    Check,
    Imported,
    OnPhase,
    RecordedRun,
    core_of,
    how_many,
    make_survey,
    quiet,
    refusal,
    size_of,
)
from core.models.spec import ModelSpec
from core.prompts.methods import METHODS
from core.prompts.prompt_sets import PromptSet, load_prompt_set
from core.prompts.render import Rendered
from core.sanitize import clean_text
from core.survey.survey import Culture, Item, Option, Shares

KIND = "culturespa"
SURVEY_ID = "culturespa"
MODEL = "meta-llama/Meta-Llama-3-8B-Instruct"
MAX_JSON = 64 << 20  # bytes of one file; the study's largest has 1 MB
MAX_FILES = 2_000
CITATION = (
    "Xu, S., Leng, Y., Yu, L. & Xiong, D. 2025. Self-Pluralising Culture Alignment for Large "
    "Language Models. NAACL 2025, 6859–6877. People's answers: World Values Survey wave 7, "
    "version 6.0, doi:10.14281/18241.24"
)

QUESTIONS = "wvs_questions.json"
PROPORTIONS = "proportions_group_by_country.json"
PROMPTS = "prompts.json"
# Items whose first answer has the number 0 in the questionnaire; 1 everywhere else.
FROM_ZERO = frozenset(f"Q{n}" for n in (*range(94, 106), 119, *range(122, 130), *range(241, 250)))
RECORDED = {
    "culture_unaware": "plain",
    "culture_aware": "country",
    "cross_culture_thinking": "cross_culture",
    "self_alignment": "examples",
    "culture_aware_self_alignment": "country_examples",
    "cross_culture_self_alignment": "cross_culture_examples",
    "cross_culture_thinking_self_alignment": "cross_culture_examples",
}
_FILE = re.compile(
    r"^wvs_result_(?P<kind>[a-z_]+?)(?:_(?P<who>[A-Z]\w*?))?_(?P<run>\d{1,3})\.json$"
)
PAPER_RULE = "the first whole number (CultureSPA's rule)"
# Two of people's answers may be equally common; the study takes the one its file names first. A
# billionth more keeps that choice wherever the commonest answer is looked up.
FIRST = 1e-9


@dataclass(frozen=True)
class Options:
    """model: who gave the recorded answers, a name or a Hugging Face id. all_countries: keep
    countries of the proportions that the study itself does not use (Mexico)."""

    model: str = MODEL
    all_countries: bool = False
    name: str = ""


class _Folder(NamedTuple):
    """Where the study's files are. recorded: (method, country or "", run number) -> file."""

    questions: Path
    proportions: Path
    prompts: Path | None
    recorded: dict[tuple[str, str, int], Path]
    notes: tuple[str, ...]


def knows(columns: Sequence[str]) -> bool:
    """No sheet is: this study's files are JSON in a folder."""
    return False


def check(path: str | Path, options: Options = Options()) -> Check:
    what = "CultureSPA's files"
    try:
        imported = read(path, options)
    except ImportRefused as error:
        return refusal(KIND, what, str(error))
    survey, runs = imported.survey, imported.runs
    return Check(
        kind=KIND,
        what=f"{what}: {size_of(survey)}, {how_many(len(runs), 'recorded run')}",
        can_import=True,
        notes=imported.notes,
        dropped=imported.dropped,
        facts={
            run.name: f"{len(run.answers):,} answers, "
            + (
                ", ".join(run.settings.cultures)
                if METHODS[run.settings.method].needs_culture
                else "as nobody in particular"
            )
            for run in runs
        },
        rows=sum(len(run.answers) for run in runs),
        found=(QUESTIONS, PROPORTIONS, *([PROMPTS] if imported.prompts else [])),
        missing=() if imported.prompts else (PROMPTS,),
    )


def preview(path: str | Path, n: int = 20, options: Options = Options()) -> pd.DataFrame:
    """The first questions: id, topic, question, options."""
    items = read(path, options).survey.items[: max(0, int(n))]
    return pd.DataFrame(
        [
            {
                "id": item.id,
                "topic": item.topic,
                "question": item.question,
                "options": "; ".join(f"{o.code} {o.label}" for o in item.options),
            }
            for item in items
        ]
    )


def read(path: str | Path, options: Options = Options(), on_phase: OnPhase = quiet) -> Imported:
    """The survey, and one run for each way of asking that was recorded."""
    on_phase("Opening the files")
    with files.folder_of(path, ".json") as folder:
        found = _find(folder)
        dropped: Counter[str] = Counter()
        notes = list(found.notes)
        proportions = _proportions(found.proportions)
        items = _items(_json(found.questions, list), proportions, dropped)
        cultures, shares = _people(items, proportions, found, options, dropped, notes)
        prompts = _prompts(found.prompts, notes)
        survey = make_survey(
            SURVEY_ID,
            clean_text(options.name, 100) or "CultureSPA study (World Values Survey 7)",
            items,
            cultures,
            shares,
            core_ids=_core_ids(items, shares),
            citation=CITATION,
        )
        on_phase("Reading the recorded answers")
        runs = _runs(survey, found, prompts, options, dropped, notes)
    return Imported(survey, tuple(runs), dict(dropped), tuple(notes), {}, prompts)


# -- files -----------------------------------------------------------------------------------------


def _find(folder: Path) -> _Folder:
    paths = files.inside(folder, ".json")
    if len(paths) > MAX_FILES:
        raise ImportRefused(f"{folder} holds {len(paths):,} files; choose the study's folder.")
    by_name: dict[str, Path] = {}
    for path in reversed(paths):
        by_name[path.name] = path
    missing = [name for name in (QUESTIONS, PROPORTIONS) if name not in by_name]
    if missing:
        raise ImportRefused(
            f"{folder.name} holds no {' and no '.join(missing)}. Choose the folder of the "
            "CultureSPA study that does."
        )
    recorded: dict[tuple[str, str, int], Path] = {}
    notes = []
    for path in paths:
        match = _FILE.match(path.name)
        if not match:
            continue
        method = RECORDED.get(match["kind"])
        if method is None:
            notes.append(f"{path.name} names a way of asking that we do not know; left out.")
            continue
        who = _who(match["who"] or "")
        needs = METHODS[method].needs_culture
        if needs and not who:
            who = _same_as_another(path, paths)
            if not who:
                notes.append(f"{path.name} does not say which country it is about; left out.")
            else:
                notes.append(f"{path.name} is the same file as {who}; left out.")
            continue
        key = (method, who if needs else "", int(match["run"]))
        if key in recorded:
            notes.append(f"{path.name} is there twice; the first is read.")
            continue
        recorded[key] = path
    return _Folder(
        by_name[QUESTIONS], by_name[PROPORTIONS], by_name.get(PROMPTS), recorded, tuple(notes)
    )


def _who(name: str) -> str:
    """ISO3 of "USA" or "American"; "" where it is neither."""
    if not name:
        return ""
    found = places.find(name)
    if found:
        return found
    return next((c.iso3 for c in places.bundled().cultures if c.demonym == name), "")


def _same_as_another(path: Path, paths: Sequence[Path]) -> str:
    try:
        size = path.stat().st_size
        for other in paths:
            candidate = other != path and other.stat().st_size == size and _FILE.match(other.name)
            if candidate and other.read_bytes() == path.read_bytes():
                return other.name
    except OSError as error:
        raise ImportRefused(f"{path.name} cannot be read: {error.strerror}.") from None
    return ""


def _json(path: Path, kind: type) -> list | dict:
    try:
        if path.stat().st_size > MAX_JSON:
            raise ImportRefused(f"{path.name} has more than {MAX_JSON >> 20} MB.")
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ImportRefused(f"{path.name} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:  # also text that is no UTF-8, endless numbers
        raise ImportRefused(f"{path.name} is no JSON: {str(error)[:200]}.") from None
    if not isinstance(found, kind):
        raise ImportRefused(f"{path.name} does not hold what the study's file of that name holds.")
    return found


def _prompts(path: Path | None, notes: list[str]) -> PromptSet | None:
    if path is None:
        notes.append("There is no prompts.json; the exact prompts are not known.")
        return None
    try:
        return load_prompt_set(path)
    except PluriscopeError as error:
        notes.append(f"prompts.json could not be read ({error}); the exact prompts are not known.")
        return None


# -- the survey ------------------------------------------------------------------------------------

# Country -> item -> code -> share of all respondents, each item's codes as its file orders them.
Proportions = Mapping[str, Mapping[str, Mapping[int, float]]]


def _proportions(path: Path) -> Proportions:
    found: dict[str, dict[str, dict[int, float]]] = {}
    for iso3, answers in _json(path, dict).items():
        if places.find(iso3) != iso3:
            raise ImportRefused(f"{PROPORTIONS}: {clean_text(iso3, 40)!r} is not a country code.")
        if not isinstance(answers, dict):
            raise ImportRefused(f"{PROPORTIONS}: {iso3} holds no questions.")
        found[iso3] = {}
        for item_id, given in answers.items():
            try:
                by_code = {int(code): float(share) for code, share in (given or {}).items()}
                fine = all(0 <= share <= 1 for share in by_code.values())  # NaN is not
            except (AttributeError, TypeError, ValueError, OverflowError):
                fine = False
            if not fine:
                item = clean_text(item_id, 40)
                raise ImportRefused(f"{PROPORTIONS}: {iso3}, {item} holds no shares.")
            found[iso3][item_id] = by_code
    return found


def _items(
    questions: Sequence, proportions: Proportions, dropped: Counter[str]
) -> tuple[Item, ...]:
    """The questions that people's proportions cover, in the study's texts.

    Topic, scale and off-scale codes are those of the bundled survey, which has the same items.
    """
    asked = {item_id for answers in proportions.values() for item_id in answers}
    ours = {item.id: item for item in places.bundled().items}
    items = []
    for record in questions:
        try:
            item_id, question = str(record["Q_id"]), clean_text(record["question"])
            labels = [clean_text(label, 300) for label in record["option_lst"]]
        except (KeyError, TypeError):
            raise ImportRefused(
                f"{QUESTIONS}: every question needs Q_id, question and option_lst."
            ) from None
        if item_id not in asked or len(labels) < 2:
            dropped["questions without people's answers (such as age and income)"] += 1
            continue
        first = 0 if item_id in FROM_ZERO else 1
        known = ours.get(item_id)
        if known is not None and len(known.options) != len(labels):
            known = None
        scale = "binary" if len(labels) == 2 else "ordinal"
        items.append(
            Item(
                id=item_id,
                position=len(items),
                topic=known.topic if known else "Other",
                label=known.label if known else clean_text(question, 70),
                question=question,
                options=tuple(Option(first + k, label) for k, label in enumerate(labels)),
                scale=known.scale if known else scale,
                low=known.low if known else labels[0],
                high=known.high if known else labels[-1],
                off_scale=known.off_scale if known else (),
                note=_note(item_id),
            )
        )
    if len({item.id for item in items}) < len(items):
        raise ImportRefused(f"{QUESTIONS} has a question twice.")
    if not items:
        raise ImportRefused(f"{QUESTIONS} and {PROPORTIONS} have no question in common.")
    return tuple(items)


def _note(item_id: str) -> str:
    if item_id == "Q176":
        return (
            "The study's text runs the other way round from the questionnaire, where 1 means "
            "completely agree; people's shares follow the questionnaire."
        )
    return ""


def _people(
    items: Sequence[Item],
    proportions: Proportions,
    found: _Folder,
    options: Options,
    dropped: Counter[str],
    notes: list[str],
) -> tuple[list[Culture], dict[tuple[str, str], Shares]]:
    """Countries and shares. The file gives shares of all respondents; scaled to those who
    answered. Its sample sizes are the smallest that make every share a whole number of people."""
    study = {culture.iso3 for culture in places.bundled().cultures if culture.in_culturespa}
    study |= {who for _, who, _ in found.recorded if who}
    if not study & proportions.keys():
        study = set(proportions)
    cultures, shares = [], {}
    for iso3 in sorted(proportions):
        if iso3 not in study and not options.all_countries:
            notes.append(f"{places.culture(iso3).name} is left out, as in the study.")
            continue
        n = _sample_size(proportions[iso3])
        ours = {culture.iso3: culture for culture in places.bundled().cultures}.get(iso3)
        culture = places.culture(iso3, year=ours.year if ours else None, n=n)
        cultures.append(replace(culture, in_culturespa=True))
        for item in items:
            cell = _cell(iso3, item, proportions[iso3].get(item.id, {}), n)
            if cell is None:
                dropped["questions not asked in a country"] += 1
            else:
                shares[iso3, item.id] = cell
    return cultures, shares


def _cell(iso3: str, item: Item, by_code: Mapping[int, float], n: int | None) -> Shares | None:
    if not by_code:
        return None
    unknown = by_code.keys() - set(item.codes)
    values = np.array([by_code.get(code, 0.0) for code in item.codes])
    total = values.sum()
    if unknown or not 0 < total < 1.001:
        raise ImportRefused(
            f"{PROPORTIONS}: the shares of {iso3}, {item.id} do not fit its "
            f"{len(item.codes)} answers."
        )
    first = item.codes.index(next(iter(by_code)))
    values = values / total
    if values[first] == values.max():
        values[first] += FIRST
        values /= values.sum()
    return Shares(values, round(total * n) if n else 0, "unweighted")


def _sample_size(answers: Mapping[str, Mapping], most: int = 10_000) -> int | None:
    """The smallest n for which every share is a whole number of n people."""
    values = np.array([share for cell in answers.values() for share in cell.values()])
    for n in range(100, most):
        counts = values * n
        if (np.abs(counts - np.round(counts)) < 1e-6).all():
            return n
    return None


def _core_ids(items: Sequence[Item], shares: Mapping) -> tuple[str, ...]:
    there = {item.id for item in items}
    ours = tuple(item_id for item_id in places.bundled().core_ids if item_id in there)
    return ours or core_of(items, shares)


# -- the runs --------------------------------------------------------------------------------------


def _runs(
    survey, found: _Folder, prompts: PromptSet | None, options: Options,
    dropped: Counter[str], notes: list[str],
) -> list[RecordedRun]:  # fmt: skip
    by_method: dict[str, dict[tuple[str, int], Path]] = defaultdict(dict)
    known = {culture.iso3 for culture in survey.cultures}
    for (method, who, number), path in found.recorded.items():
        if who and who not in known:
            notes.append(f"{path.name} is about a country without people's answers; left out.")
            continue
        by_method[method][who, number] = path
    runs = []
    for method in METHODS:
        if method in by_method:
            runs.append(_run(survey, method, by_method[method], prompts, options, dropped))
    return runs


def _run(
    survey, method: str, paths: Mapping[tuple[str, int], Path], prompts: PromptSet | None,
    options: Options, dropped: Counter[str],
) -> RecordedRun:  # fmt: skip
    needs = METHODS[method].needs_culture
    countries = sorted({who for who, _ in paths} if needs else {c.iso3 for c in survey.cultures})
    numbers = sorted({number for _, number in paths})
    items = {item.id: item for item in survey.items}
    rendered = {
        item.id: Rendered((), tuple(str(code) for code in item.codes), item.codes)
        for item in survey.items
    }
    answers, differing = [], Counter()
    for (who, number), path in sorted(paths.items()):
        seen = set()
        for record in _json(path, list):
            item_id, text = _recorded(record, path)
            if item_id not in items or item_id in seen:
                dropped["recorded answers to questions that are not in the survey"] += 1
                continue
            seen.add(item_id)
            answer = _answer(
                who, items[item_id], numbers.index(number), text, rendered[item_id], differing
            )
            answers.append(answer)
    # The study's seed is 42 less the number of the run; one seed here stands for the first.
    settings = AskSettings(
        model=ModelSpec(clean_text(options.model, 200) or MODEL, precision="bf16"),
        method=method,
        cultures=tuple(countries),
        items=tuple(item.id for item in survey.items),
        item_set="all",
        survey=survey.id,
        survey_version=survey.version,
        prompt_set=prompts.id if prompts else "culturespa",
        prompt_sha256=prompts.sha256 if prompts else "",
        orders="given",
        answering="written",
        samples=len(numbers),
        temperature=0.6,
        top_p=0.9,
        max_new_tokens=256,
        seed=42 - numbers[0],
    )
    facts = {
        "recorded_by": "CultureSPA study",
        "content": _fingerprint(answers),
        "read_by": PAPER_RULE,
        "read_otherwise": dict(differing),
        "precision": "bf16",
    }
    name = f"CultureSPA, recorded · {METHODS[method].name.lower()}"
    return RecordedRun(name, settings, tuple(answers), facts)


def _fingerprint(answers: Sequence[Answer]) -> str:
    """Stands for the answers, so that the same ones are not taken in twice."""
    keys = [(*answer.key(), answer.text) for answer in answers]
    return hashlib.sha256(json.dumps(keys, ensure_ascii=False).encode()).hexdigest()[:16]


def _recorded(record: object, path: Path) -> tuple[str, str]:
    try:
        item_id, text = str(record["Q_id"]), str(record["answer"])
    except (KeyError, TypeError):
        raise ImportRefused(f"{path.name}: every answer needs Q_id and answer.") from None
    # Half a character, or a NUL, cannot be kept.
    return item_id, text[:20_000].encode(errors="replace").decode().replace("\0", "")


def paper_code(text: str) -> int | None:
    """The study's reading of an answer: its first whole number, where that is 0 to 10."""
    match = re.search(r"[0-9]+", text)
    digits = match[0].lstrip("0") or "0" if match else "99"
    return int(digits) if len(digits) <= 2 and int(digits) <= 10 else None


def _answer(
    iso3: str, item: Item, number: int, text: str, prompt: Rendered, differing: Counter[str]
) -> Answer:
    """An answer with the study's code, and what our own reading says where it differs.

    A number that the study's rule read out of a refusal ("call 1-800-273-TALK") stays the answer
    that its score counts, but the answer's state says refused.
    """
    code = paper_code(text)
    ours = parse(text, item, prompt)
    outside = code is not None and code not in item.codes
    rule = PAPER_RULE
    if outside:
        state, rule, code = "unparseable", f"{rule}: {code} is not one of the options", None
    elif code is None:
        state = "refused" if ours.state == "refused" else "unparseable"
        rule = f"{rule}: there is none"
    else:
        state = "refused" if ours.state == "refused" else "answered"
    if ours.code != code:
        says = f"answer {ours.code}" if ours.code is not None else ours.state
        rule += f"; our reading: {says} ({ours.rule})"
        differing[ours.state if ours.code is None else "another answer"] += 1
    return Answer(iso3, item.id, number, (), None, code, state, rule, text, None)
