"""Ask a model and yield its answers as they come. Read this file first.

ask() takes what a run is still to answer, renders each prompt, has it scored or written, and
yields Answers in canonical code order. Reading a written answer (parse) lives here too.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core.asking.answers import Answer
from core.asking.parsing import parse
from core.asking.settings import AskSettings
from core.prompts.demonstrations import choose_examples
from core.prompts.prompt_sets import PromptSet
from core.prompts.render import Rendered, option_orders, render
from core.prompts.translations import Translation
from core.survey.neighbours import Neighbours, neighbours
from core.survey.survey import Item, Survey

if TYPE_CHECKING:
    from core.models.load import Loaded

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
    from core.inference.option_scoring import Request, score

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
    from core.inference.generation import generate

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
