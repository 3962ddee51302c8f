"""Ask a model and yield its answers as they come. Read this file first.

ask() takes what a run is still to answer, renders each prompt, has it scored or written, and
yields Answers in canonical code order. Reading a written answer (parse) lives here too.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core.demonstrations import choose_examples, neighbours
from core.errors import PluriscopeError
from core.prompts import Neighbours, PromptSet, Rendered, option_orders, render
from core.settings import AskSettings
from core.store import Answer, Store
from core.survey import DATA, Item, Survey
from core.translations import Translation, items_of

if TYPE_CHECKING:  # torch stays out of whoever only plans or parses
    from core.models import Loaded

Key = tuple[str, str, int]
Translations = Mapping[str, Translation]  # by language


class Planned(NamedTuple):
    """One prompt to send: which answer it makes, the item, and the rendered messages."""

    key: Key
    item: Item
    prompt: Rendered


def plan(
    settings: AskSettings,
    survey: Survey,
    prompts: PromptSet,
    answered: Iterable[Key] = (),
    translations: Translations | None = None,
    vectors: np.ndarray | None = None,
) -> Iterator[Planned]:
    """The prompts a run has still to send, in order; `answered` are left out. The rest as for
    prompt_for."""
    done = set(answered)
    items = {item.id: item for item in settings.asked_items(survey)}
    for key in settings.keys(survey):
        if key not in done:
            iso3, item_id, number = key
            item = item_in(settings, items[item_id], iso3, translations)
            prompt = prompt_for(
                settings, survey, prompts, items[item_id], iso3, number, translations, vectors
            )
            yield Planned(key, item, prompt)


def item_in(
    settings: AskSettings, item: Item, iso3: str, translations: Translations | None = None
) -> Item:
    """An item in the words that a country is asked it in."""
    language = settings.asked_in(iso3, item.id)
    return translations[language].item(item) if language in (translations or {}) else item


def prompt_for(
    settings: AskSettings,
    survey: Survey,
    prompts: PromptSet,
    item: Item,
    iso3: str,
    number: int,
    translations: Translations | None = None,
    vectors: np.ndarray | None = None,
) -> Rendered:
    """The exact prompt behind one answer of a run.

    item: in English. translations: by language, those that settings.translations names; item,
    country, examples and wording are all in the language that settings.asked_in gives. vectors: for
    examples chosen by meaning, see demonstrations.choose_examples.
    """
    written = settings.answering == "written"
    order = option_orders(item, "given" if written else settings.orders)[0 if written else number]
    language = settings.asked_in(iso3, item.id)
    there = (translations or {}).get(language)
    near_far, examples = None, []
    if settings.asked_method.startswith("cross_culture"):
        near_far = _near_far(settings, survey, iso3)
    if settings.asked_method.endswith("examples"):
        examples = choose_examples(
            survey,
            item,
            iso3,
            count=settings.examples,
            choice=settings.example_choice,
            evidence=settings.example_evidence,
            other_batteries=settings.other_batteries,
            among=there.items.keys() if there else None,
            vectors=vectors,
            seed=settings.seed,
        )
    culture = survey.culture(iso3) if iso3 else None
    if there:
        item, prompts = there.item(item), there.prompts
        culture = there.culture(culture) if culture else None
        near_far = there.neighbours(near_far) if near_far else None
        examples = [there.example(example) for example in examples]
    return render(
        item,
        prompts,
        settings.asked_method,
        culture,
        order=order,
        explain=written and settings.explain,
        neighbours=near_far,
        examples=examples,
    )


class Texts(NamedTuple):
    """What a run's prompts are made of besides the survey."""

    prompts: PromptSet
    translations: Translations


def texts_of(store: Store, settings: AskSettings) -> Texts:
    """The very words a run was asked in. Raises PluriscopeError where the store lost them."""
    translations = {
        language: Translation(
            language,
            items_of(texts["items"]),
            texts["countries"],
            _prompts(store, f"pluriscope-{language}", language, facts["prompt_sha256"]),
        )
        for language, facts in (settings.translations or {}).items()
        if (texts := store.translation(facts["sha256"]))
    }
    if len(translations) < len(settings.translations or {}):
        raise PluriscopeError("A translation this run was asked in is no longer in the store.")
    main = "en" if settings.language == "own" else settings.language
    prompts = _prompts(store, settings.prompt_set, main, settings.prompt_sha256)
    return Texts(prompts, translations)


def _prompts(store: Store, name: str, language: str, sha256: str) -> PromptSet:
    texts = store.prompt_texts(sha256)
    if texts is None:
        raise PluriscopeError("The wording this run was asked with is no longer in the store.")
    return PromptSet(name, name, language, texts)


def _near_far(settings: AskSettings, survey: Survey, iso3: str) -> Neighbours:
    if settings.neighbours is None:
        return neighbours(survey, iso3)
    near, far = settings.neighbours[iso3]
    return Neighbours(tuple(map(survey.culture, near)), tuple(map(survey.culture, far)))


def ask(
    loaded: Loaded,
    settings: AskSettings,
    planned: Iterable[Planned],
    *,
    stop: Callable[[], bool] = lambda: False,
    on_text: Callable[[list[str]], None] | None = None,
    same_luck: bool = False,
) -> Iterator[list[Answer]]:
    """Answers in small batches as they are made. Ends early, between batches, once stop() is true.

    planned is taken a few at a time, so that the first answers do not wait for the last prompt.
    on_text gets the texts so far of the batch being written. same_luck: written answers of all
    sides of a question are drawn with the same luck; else each is a draw of its own.
    """
    written = settings.answering == "written"
    planned = iter(planned)
    while group := list(islice(planned, WRITTEN_SIDE_BY_SIDE if written else SCORED_TOGETHER)):
        if stop():
            return
        if written:
            yield from _written(loaded, settings, group, stop, on_text, same_luck)
        else:
            yield from _scored(loaded, group, stop)


# Enough for the beginnings that prompts share, the system prompt of a country above all, to be
# computed once; few enough to be tokenised in a moment.
SCORED_TOGETHER = 2048
WRITTEN_SIDE_BY_SIDE = 16


def _scored(
    loaded: Loaded, planned: Sequence[Planned], stop: Callable[[], bool]
) -> Iterator[list[Answer]]:
    from core.scoring import Request, score

    requests = [Request(p.prompt.messages, p.prompt.labels) for p in planned]
    batch: list[Answer] = []
    saved = time.monotonic()
    for index, scored in score(loaded, requests, stop=stop):
        item, prompt = planned[index].item, planned[index].prompt
        by_code = dict(zip(prompt.codes, scored.probs.tolist(), strict=True))
        probs = tuple(by_code[code] for code in item.codes)
        batch.append(
            Answer(
                *planned[index].key,
                probs=probs,
                mass=scored.mass,
                chosen=item.codes[max(range(len(probs)), key=probs.__getitem__)],
                state="answered",
                rule=scored.rule,
                text=None,
                seconds=None,
            )
        )
        if len(batch) >= 512 or time.monotonic() - saved > 1:
            yield batch
            batch, saved = [], time.monotonic()
    if batch:
        yield batch


def _written(
    loaded: Loaded,
    settings: AskSettings,
    group: Sequence[Planned],
    stop: Callable[[], bool],
    on_text: Callable[[list[str]], None] | None,
    same_luck: bool,
) -> Iterator[list[Answer]]:
    from core.generation import generate

    began = time.monotonic()
    written = generate(
        loaded,
        [p.prompt.messages for p in group],
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_new_tokens=settings.max_new_tokens if settings.explain else 24,
        seeds=[luck(settings.seed, p.key, same_luck) for p in group],
        on_text=on_text,
        stop=stop,
    )
    if stop():  # cut short: what was being written is unasked, not answered
        return
    seconds = (time.monotonic() - began) / len(group)
    yield [read_written(p, w.text, seconds) for p, w in zip(group, written, strict=True)]


def luck(seed: int, key: tuple[str, str, int], same: bool = False) -> int:
    """The seed an answer is written with, from that of its run. key: (iso3, item, number).

    same: shared by all countries. Otherwise a draw of its own for every answer: with luck shared
    over a survey one label would win wherever options are about as likely, and answers of plain and
    country would differ less than answers of plain and plain.
    """
    iso3, item, number = key
    text = f"{seed}/{'' if same else iso3}/{item}/{number}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), signed=True)


def read_written(planned: Planned, text: str, seconds: float | None = None) -> Answer:
    """A written text as an Answer: parsed, refused or unparseable."""
    parsed = parse(text, planned.item, planned.prompt)
    return Answer(
        *planned.key,
        probs=(),
        mass=None,
        chosen=parsed.code,
        state=parsed.state,
        rule=parsed.rule,
        text=text,
        seconds=seconds,
    )


# -- reading a written answer ----------------------------------------------------------------------


class Parsed(NamedTuple):
    """code: canonical code or None. state: answered, refused, unparseable. rule: what decided."""

    code: int | None
    state: str
    rule: str


# A number that could be a label: not part of a word, a decimal, a phone number, a date or a
# percentage. "1-800-273-8255" and "2019" are never an answer. Thai, Burmese, Khmer, Chinese and
# Japanese set no space before a number.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_NUMBER = re.compile(rf"(?<![^\W{_UNSPACED}])(?<![.,/:+-])-?\d+(?![\w/:%-]|[.,]\d)")
_GAP = r"(?:[-–.]|[^\S\n][-–(]?[^\S\n]?|\()"
_PAIR, _MORE = rf"{_GAP}\(?\d{{2,}}\)?", rf"{_GAP}\(?\d{{3,}}\)?"
_CALL = rf"\+?\(?\d+\)?(?:{_MORE}|{_PAIR}{_PAIR})(?:{_PAIR})*(?:{_GAP}[\dA-Z]{{3,}}\b)*"
_PHONE = re.compile(_CALL, re.ASCII)  # "1 (800) 273-TALK"; "1. VERY IMPORTANT" is none
_STATED = re.compile(
    r"\b(?:answer|option|choice|choose|chose|select|pick|number|response|rating)\b"
    r"(?:\s+(?:is|would be|be|to be|number|option|as|with|:))*\s*[:=]?\s*"
    rf"[\"'“*(\[]*(?!{_CALL})(\d+)(?!\d|[-–.,/]\d)",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b(?:i\s*(?:'|’)?\s*(?:am|m)\s+(?:sorry|unable|not able)|i\s+apologi[sz]e|sorry,"
    r"|i\s+(?:can\s*not|can(?:'|’)t|cannot|won(?:'|’)t|will not|do not|don(?:'|’)t)\s+"
    r"(?:answer|provide|choose|respond|help|assist|fulfil|fulfill|engage|express|have (?:a )?"
    r"(?:personal )?(?:opinion|belief|view|value)|take (?:a )?(?:side|position))"
    r"|as an ai\b|as a language model|i(?:'|’)?m just an ai|suicide prevention|hotline"
    r"|prefer not to (?:say|answer)|decline to answer)",
    re.IGNORECASE,
)


# Phrases in which a model declines in other languages; few and plain, so that what is no refusal
# is not taken for one.
REFUSALS = DATA / "refusals.json"
_NO_SPACES = ("th", "zh")


@lru_cache(maxsize=1)
def _refusals() -> re.Pattern[str]:
    """The phrases as whole words; anywhere, where a language sets no spaces."""
    found = []
    for language, phrases in json.loads(REFUSALS.read_text(encoding="utf-8")).items():
        any_of = "|".join(re.escape(_folded(phrase)) for phrase in phrases)
        found.append(any_of if language in _NO_SPACES else rf"(?<!\w)(?:{any_of})(?!\w)")
    return re.compile("|".join(found))


# Arabic's short vowels and its lengthening stroke; spaces beside the letters of _UNSPACED.
_SILENT = re.compile(rf"[\u064b-\u0652\u0640]|(?<=[{_UNSPACED}])\s+|\s+(?=[{_UNSPACED}])")


def _folded(text: str) -> str:
    """A text for comparing phrases: case, apostrophes, dashes, spaces and silent marks apart."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("’", "'").replace("—", "-")
    return _SILENT.sub("", " ".join(text.split()))


def refuses(text: str) -> bool:
    """True where a written text declines to answer, in English or a language of REFUSALS."""
    return bool(_REFUSAL.search(text) or _refusals().search(_folded(text)))


def parse(text: str, item: Item, prompt: Rendered) -> Parsed:
    """Which option a written answer chose, and the rule that decided.

    In this order: the whole text is a label ("3", "3.", "(3)"), begins with one ("3. Agree",
    "3\\nBecause …"), states one ("my answer is 3"), refuses, is or begins with an option's
    words, or holds exactly one number that is a label. Digits of any script count (٣, ३, ๓).
    """
    by_label = dict(zip(prompt.labels, prompt.codes, strict=True))
    plain = _ascii_digits(text).strip()
    if not plain:
        return Parsed(None, "unparseable", "nothing was written")

    whole = re.fullmatch(r"[\"'“*(\[#]*(\d+)[\"'”*)\].:#]*", plain)
    if whole:
        return _label(whole[1], by_label, "the whole text is a number")
    first = re.match(r"[\"'“*(\[#]*(\d+)[\"'”*)\]]*(?=\s*(?:[.:)–—]|-\s|\n|$)|\s+[^\W\d])", plain)
    if first and first[1] in by_label and not _PHONE.match(plain):
        return Parsed(by_label[first[1]], "answered", "the text begins with a label")
    stated = _STATED.findall(_REFUSAL.sub(" ", plain))  # "I cannot choose 1" states nothing
    if stated and stated[-1] in by_label and len(set(stated)) == 1:
        return Parsed(by_label[stated[0]], "answered", "the text states a label")
    if refuses(plain):
        return Parsed(None, "refused", "the text declines to answer")
    words = plain.casefold().strip(" .\"'“”*")
    for option in sorted(item.options, key=lambda o: -len(o.label)):
        label = option.label.casefold()
        if len(label) > 2 and re.match(rf"{re.escape(label)}(?!\w)", words):
            return Parsed(option.code, "answered", "the text begins with an option's words")
    numbers = {n for n in _NUMBER.findall(_PHONE.sub(" ", plain))}
    found = numbers & by_label.keys()
    if len(found) == 1 and len(numbers) == 1:
        return Parsed(by_label[found.pop()], "answered", "the text holds one number, a label")
    if len(found) > 1:
        return Parsed(None, "unparseable", "the text holds several labels")
    return Parsed(None, "unparseable", "the text holds no label")


def _label(label: str, by_label: dict[str, int], rule: str) -> Parsed:
    label = label.lstrip("0") or "0"
    if label in by_label:
        return Parsed(by_label[label], "answered", rule)
    return Parsed(None, "unparseable", f"{label} is not one of the options")


def _ascii_digits(text: str) -> str:
    """Decimal digits of every script as 0-9."""
    return "".join(
        str(unicodedata.decimal(char)) if char.isdecimal() and char > "9" else char for char in text
    )
