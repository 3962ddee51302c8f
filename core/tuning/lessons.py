"""What is learned: a file of training examples, read and brought into tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import ModelError, PluriscopeError
from core.inference.label_rules import LABEL
from core.inference.labels import Reply, Request, Term, prompts, reading
from core.models.load import Loaded


@dataclass(frozen=True, eq=False)
class Lesson:
    """One example as the engine needs it.

    prompt: TOKEN[n]. queries: what follows the prompt, and the tokens wanted after that. terms: how
    the probability of each label follows from them. target: the share of each label. weight: how
    much it counts; count: of it in the mean the loss is (answer tokens for hard labels, 1
    otherwise). shift: the world's shares of the labels and the weight of that term.
    """

    prompt: np.ndarray
    queries: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    terms: tuple[Term, ...]
    target: np.ndarray
    weight: float
    count: float
    shift: tuple[np.ndarray, float] | None

    @property
    def tokens(self) -> int:
        """Of the prompt and the longest beginning of an answer whose next token is wanted."""
        return len(self.prompt) + max(len(after) for after, _ in self.queries)


def read_examples(path: Path) -> list[dict]:
    """The lines of a file of examples. Raises PluriscopeError at the first that is not one."""
    examples = []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                example = json.loads(line)
                target = np.asarray(example["target"], dtype=float)
                good = (
                    len(target) == len(example["labels"]) > 1
                    and (target >= 0).all()
                    and abs(target.sum() - 1) < 1e-3
                    and float(example.get("weight", 1.0)) > 0
                    and len(example["messages"]) > 0
                )
            except (ValueError, KeyError, TypeError):
                good = False
            if not good:
                raise PluriscopeError(
                    f"Line {number} of {path.name} is not a training example: it needs messages, "
                    "labels, and a target with a share for each label that add up to 1."
                )
            examples.append(example)
    if not examples:
        raise PluriscopeError(
            "There are no examples to train on. Choose more questions or countries, or a way of "
            "choosing examples that keeps more of them."
        )
    return examples


def lessons(loaded: Loaded, examples: Sequence[dict], label_rule: str = LABEL) -> list[Lesson]:
    """Examples in tokens. Labels are hard where every target of the file is one label alone.

    label_rule: what the probability of a label is, as asking has it.
    """
    hard = all(max(example["target"]) > 1 - 1e-6 for example in examples)
    asked = [Request(example["messages"], example["labels"]) for example in examples]
    limit = getattr(loaded.model.config, "max_position_embeddings", None)
    made = []
    for example, (prompt, reply) in zip(examples, prompts(loaded, asked), strict=True):
        lesson = (
            _hard(example, prompt, reply) if hard else _soft(example, prompt, reply, label_rule)
        )
        if limit and lesson.tokens > limit:
            raise ModelError(
                f"An example has {lesson.tokens:,} tokens, more than {loaded.name} can read "
                f"({limit:,}). Leave it out, or choose another model."
            )
        made.append(lesson)
    return made


def _hard(example: dict, prompt: np.ndarray, reply: Reply) -> Lesson:
    """The label's tokens and the end of the turn, each from what stands before it."""
    tail = reply.labels[int(np.argmax(example["target"]))] + reply.end
    return Lesson(
        prompt,
        queries=tuple((tail[:i], (token,)) for i, token in enumerate(tail)),
        terms=(Term(tuple((i, 0) for i in range(len(tail)))),),
        target=np.ones(1),
        weight=float(example.get("weight", 1.0)),
        count=float(len(tail)),
        shift=None,
    )


def _soft(example: dict, prompt: np.ndarray, reply: Reply, label_rule: str) -> Lesson:
    """The probability of each label, as asking scores it."""
    found = reading(reply, label_rule)
    target = np.asarray(example["target"], dtype=float)
    shift = example.get("shift")
    return Lesson(
        prompt,
        queries=found.queries,
        terms=found.terms,
        target=target / target.sum(),
        weight=float(example.get("weight", 1.0)),
        count=1.0,
        shift=(np.asarray(shift["world"], dtype=float), float(shift["weight"])) if shift else None,
    )
