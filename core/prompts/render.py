"""Turn an item, a culture and a method into the exact messages a model sees.

The one renderer for asking, for examples in the prompt and for training.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from core.errors import PluriscopeError
from core.prompts.methods import METHODS
from core.prompts.prompt_sets import PromptSet
from core.survey.neighbours import Neighbours
from core.survey.survey import Culture, Item


class Rendered(NamedTuple):
    """A prompt and what its labels stand for.

    messages: chat messages, {"role", "content"}. labels: what the model may write, as shown.
    codes: the canonical code each label stands for, same order.
    """

    messages: tuple[dict[str, str], ...]
    labels: tuple[str, ...]
    codes: tuple[int, ...]


class Example(NamedTuple):
    """An answered item to show in the prompt: one answer, or the shares of all (in code order)."""

    item: Item
    code: int
    shares: tuple[float, ...] = ()


class OptionOrders(NamedTuple):
    """In which orders options are shown: on a button, in a plan, and of a finished run.

    of: the given order -> all orders, as tuples of indices into item.options.
    """

    button: str
    planned: str
    done: str
    of: Callable[[tuple[int, ...]], list[tuple[int, ...]]]


ORDERS: dict[str, OptionOrders] = {
    "given": OptionOrders(
        "As given", "options as given", "options as given", lambda given: [given]
    ),
    "both": OptionOrders(
        "Both ways",
        "options in both orders",
        "options as given and reversed, averaged",
        lambda given: [given, given[::-1]],
    ),
    "reversed": OptionOrders(
        "Reversed", "options reversed", "options reversed", lambda given: [given[::-1]]
    ),
    "cyclic": OptionOrders(
        "Every shift",
        "options in every shifted order",
        "options in every shifted order, averaged",
        lambda given: [given[shift:] + given[:shift] for shift in given],
    ),
}


# Why: docs/decisions.md, "Options are numbered anew in another order, except on number scales."
def option_orders(item: Item, orders: str) -> list[tuple[int, ...]]:
    """The orders in which an item's options are shown, as tuples of indices into item.options.

    orders: of ORDERS.
    """
    if orders not in ORDERS:
        raise PluriscopeError(f"Unknown option order {orders!r}: {', '.join(ORDERS)}.")
    return ORDERS[orders].of(tuple(range(len(item.options))))


def is_numeric(item: Item) -> bool:
    """True for scales whose middle answers are bare numbers, such as 1 to 10.

    There the number is the answer, so a changed order moves the lines and keeps the numbers. On
    other items the options are numbered anew in the order shown.
    """
    bare = [option for option in item.options if option.label.isdecimal()]
    return len(bare) >= 2 and all(option.label == str(option.code) for option in bare)


def show_options(
    item: Item, prompts: PromptSet, order: Sequence[int] | None = None
) -> tuple[str, tuple[str, ...], tuple[int, ...]]:
    """The block of options as a model sees it, with its labels and the code of each."""
    order = tuple(order) if order is not None else tuple(range(len(item.options)))
    shown = [item.options[index] for index in order]
    codes = tuple(option.code for option in shown)
    numeric = is_numeric(item)
    labels = tuple(str(code) for code in (codes if numeric else sorted(codes)))
    texts = prompts.texts
    line = texts.get("numeric_option", texts["option"]) if numeric else texts["option"]
    lines = [
        _fill(line, label=label, text=option.label)
        for label, option in zip(labels, shown, strict=True)
    ]
    return texts.get("option_separator", "\n").join(lines), labels, codes


def render(
    item: Item,
    prompts: PromptSet,
    method: str = "plain",
    culture: Culture | None = None,
    *,
    order: Sequence[int] | None = None,
    explain: bool = False,
    neighbours: Neighbours | None = None,
    examples: Sequence[Example] = (),
) -> Rendered:
    """The messages that ask one item by one method.

    order: indices into item.options, as option_orders gives them. explain: ask for the number
    and one or two sentences. neighbours and examples serve the methods that show them.
    """
    try:
        how = METHODS[method]
    except KeyError:
        raise PluriscopeError(f"Unknown method {method!r}: {', '.join(METHODS)}.") from None
    if how.needs_culture and culture is None:
        raise PluriscopeError(f"The method {how.name!r} needs a country.")
    texts = prompts.texts
    names = _culture_names(culture if how.needs_culture else None, neighbours)
    block, labels, codes = show_options(item, prompts, order)
    system, user = templates(prompts, method, explain)
    shown = [
        {"role": "system", "content": _fill(system, **names)},
        {
            "role": "user",
            "content": _fill(
                user,
                question=item.question,
                options=block,
                examples=texts.get("example_separator", "\n\n").join(
                    _example(example, prompts) for example in examples
                ),
            ),
        },
    ]
    return Rendered(tuple(shown), labels, codes)


def templates(prompts: PromptSet, method: str, explain: bool = False) -> tuple[str, str]:
    """The system and the user text of a method, blanks unfilled.

    explain: the user text that asks for a reason as well. With examples it is made of what stands
    before the question in "examples_user", and "explain_user".
    """
    how = METHODS[method]
    system, user = _text(prompts, how.system), _text(prompts, how.user)
    if explain:
        question, reasons = _text(prompts, "question_user"), _text(prompts, "explain_user")
        if not how.shows_examples:
            user = reasons
        elif user.endswith(question):
            user = user.removesuffix(question) + reasons
    return system, user


def render_writing(
    topic: str, examples: Sequence[tuple[str, Sequence[str]]], prompts: PromptSet
) -> tuple[dict[str, str], ...]:
    """The messages that ask for a new question on a topic.

    examples: questions with their options, in the order shown.
    """
    texts = prompts.texts
    line = texts.get("write_example", "Question: {question}\nOptions: {options}")
    shown = [
        _fill(
            line,
            number=str(number),
            question=question,
            # As the reply is to give them; the study's prompt shows a Python list.
            options=str(list(options))
            if texts.get("write_example_list") == "python"
            else json.dumps(list(options), ensure_ascii=False),
        )
        for number, (question, options) in enumerate(examples, 1)
    ]
    block = texts.get("write_example_separator", "\n\n").join(shown)
    user = _fill(_text(prompts, "write_question_user"), topic=topic, examples=block)
    return (
        {"role": "system", "content": _text(prompts, "write_question_system")},
        {"role": "user", "content": user},
    )


def _text(prompts: PromptSet, key: str) -> str:
    try:
        return prompts.texts[key]
    except KeyError:
        raise PluriscopeError(
            f"The prompt set {prompts.name!r} has no text for this way of asking ({key})."
        ) from None


def _example(example: Example, prompts: PromptSet) -> str:
    item, texts = example.item, prompts.texts
    block, _, _ = show_options(item, prompts)
    if example.shares:
        answer = "; ".join(
            f"{_answer(item, code, texts)}: {share:.0%}"
            for code, share in zip(item.codes, example.shares, strict=True)
        )
    else:
        answer = _answer(item, example.code, texts)
    return _fill(texts["example"], question=item.question, options=block, answer=answer)


def _answer(item: Item, code: int, texts: Mapping[str, str]) -> str:
    numeric = is_numeric(item) and "numeric_answer" in texts
    line = texts["numeric_answer"] if numeric else texts.get("answer", "{label}. {text}")
    return _fill(line, label=str(code), text=item.option(code).label)


def _culture_names(culture: Culture | None, neighbours: Neighbours | None) -> dict[str, str]:
    if culture is None:
        return {}
    names = {"country": culture.name, "demonym": culture.demonym, "article": culture.article}
    if neighbours:
        for kind, cultures in zip(("near", "far"), neighbours, strict=True):
            for number, other in enumerate(cultures, 1):
                names[f"{kind}{number}"] = other.name
                names[f"{kind}{number}_demonym"] = other.demonym
    return names


_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def _fill(template: str, /, **values: str) -> str:
    """Replace {name} by its value, once; other braces stay, and values are never filled again."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)
