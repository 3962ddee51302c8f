"""Ask a model and yield its answers as they come. Read this file first.

ask() takes the prompts of a run that are still to answer (questionnaire.py renders them), has each
scored or written, and yields Answers in canonical code order. A written answer is read here too.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from core.asking.answers import Answer
from core.asking.parsing import parse
from core.asking.questionnaire import Planned
from core.asking.settings import AskSettings

if TYPE_CHECKING:
    from core.models.load import Loaded


def ask(
    loaded: Loaded,
    settings: AskSettings,
    planned: Iterable[Planned],
    *,
    stop: Callable[[], bool] = lambda: False,
    on_text: Callable[[list[str]], None] | None = None,
    shared_seed: bool = False,
) -> Iterator[list[Answer]]:
    """Answers in small batches as they are made. Ends early, between batches, once stop() is true.

    planned is taken a few at a time, so that the first answers do not wait for the last prompt.
    on_text gets the texts so far of the batch being written. shared_seed: written answers of all
    sides of a question are drawn with one seed; else each is a draw of its own.
    """
    written = settings.answering == "written"
    planned = iter(planned)
    while group := list(islice(planned, WRITTEN_SIDE_BY_SIDE if written else SCORED_TOGETHER)):
        if stop():
            return
        if written:
            yield from _written(loaded, settings, group, stop, on_text, shared_seed)
        else:
            yield from _scored(loaded, settings, group, stop)


# Enough for the beginnings that prompts share, the system prompt of a country above all, to be
# computed once; few enough to be tokenised in a moment.
SCORED_TOGETHER = 2048
WRITTEN_SIDE_BY_SIDE = 16


def _scored(
    loaded: Loaded, settings: AskSettings, planned: Sequence[Planned], stop: Callable[[], bool]
) -> Iterator[list[Answer]]:
    from core.inference.labels import Request
    from core.inference.option_scoring import score

    requests = [Request(p.prompt.messages, p.prompt.labels) for p in planned]
    batch: list[Answer] = []
    saved = time.monotonic()
    for index, scored in score(loaded, requests, label_rule=settings.label_rule, stop=stop):
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
    shared_seed: bool,
) -> Iterator[list[Answer]]:
    from core.inference.generation import generate

    began = time.monotonic()
    written = generate(
        loaded,
        [p.prompt.messages for p in group],
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_new_tokens=settings.max_new_tokens if settings.explain else 24,
        seeds=[answer_seed(settings.seed, p.key, shared_seed) for p in group],
        on_text=on_text,
        stop=stop,
    )
    if stop():  # cut short: what was being written is unasked, not answered
        return
    seconds = (time.monotonic() - began) / len(group)
    yield [
        read_written(p, w.text, seconds, w.finished) for p, w in zip(group, written, strict=True)
    ]


def answer_seed(seed: int, key: tuple[str, str, int], shared: bool = False) -> int:
    """The seed an answer is written with, from that of its run. key: (iso3, item, number).

    shared: the same for all countries. Otherwise a draw of its own for every answer: with one seed
    for a survey one label would win wherever options are about as likely, and answers of plain and
    country would differ less than answers of plain and plain.
    """
    iso3, item, number = key
    text = f"{seed}/{'' if shared else iso3}/{item}/{number}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), signed=True)


def read_written(
    planned: Planned, text: str, seconds: float | None = None, finished: bool = True
) -> Answer:
    """A written text as an Answer, read by parsing.parse. finished: False where it was cut off."""
    parsed = parse(text, planned.item, planned.prompt, finished)
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
