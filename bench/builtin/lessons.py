"""The teaching model's lessons: prompts as the app renders them, with what to answer.

A lesson is a row of tokens and the places where something is learned. At the place of an answer
the target is the whole distribution over the labels (learning the shares from sampled answers
takes far more steps), at other places it is the next token.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from bench.builtin import grammar
from bench.builtin.targets import STRENGTH, Targets, held_out, may_teach
from core.prompts.prompt_sets import PromptSet
from core.prompts.render import Example, option_orders, render, render_writing, show_options
from core.survey.neighbours import Neighbours, modal_codes, similarity
from core.survey.survey import Culture, Item, Survey

SYSTEM, USER, ASSISTANT, END, PAD = (
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
    "<|pad|>",
)
LABELS = tuple(str(number) for number in range(21))
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)

LABEL_WEIGHT, END_WEIGHT, TEXT_WEIGHT = 1.0, 0.2, 0.08
NAME_WEIGHT = 0.5  # names of countries in a text
# Prompts are read along at some places: it teaches what belongs together, cheaply.
PROMPT_WEIGHT, PROMPT_PART = 0.03, 0.15


class Lesson(NamedTuple):
    """ids: tokens of the row. places[M]: positions that predict. choices[M], shares[M]: candidate
    next tokens and their shares (one token with share 1 for plain text). weights[M]."""

    ids: list[int]
    places: list[int]
    choices: list[list[int]]
    shares: list[list[float]]
    weights: list[float]


def phrases(prompts: PromptSet, survey: Survey) -> list[str]:
    """Runs of words that become one token each: sentences of the prompts, shared beginnings of
    questions, answers of several words and names of countries.

    They make up most of a survey prompt. As one token each they cost a small CPU almost nothing,
    while the words in which questions differ stay words.
    """
    found = set()
    for key, text in prompts.texts.items():
        if key in ("distribution_user", "write_question_user"):
            continue
        for part in re.split(r"\{\w+\}", text):
            for sentence in re.split(r"(?<=[.:])(?=[ \n])|\n\n", part):
                if len(sentence.strip()) >= 30:
                    found.add(sentence.strip(" \n") if "\n" in sentence else sentence)
    found |= {"Question:", "\n\nQuestion:", "\n\nOptions:\n", "\nOptions:\n", "\nAnswer:", "\n\n"}
    for culture in survey.cultures:
        found |= {f" {culture.name}", f" {culture.demonym}"}
    for texts, answers, _ in grammar.FRAMES.values():
        for part in (part for text in texts for part in re.split(r"\{\w\}", text)):
            if part.count(" ") >= 3:
                found.add(" " + part.strip(" ?.,"))
        found |= {f". {label}\n" for options in answers for label in options}
    labels: dict[str, int] = {}
    starts: dict[str, int] = {}
    for item in survey.items:
        for option in item.options:
            labels[option.label] = labels.get(option.label, 0) + 1
        words = item.question.split(" ")
        for stop in range(4, len(words)):
            start = " " + " ".join(words[:stop])
            starts[start] = starts.get(start, 0) + 1
        for tail in re.findall(r", (?:from 1|have you|might you|and, if).*", item.question):
            found.add(tail)
    often = {start for start, count in starts.items() if count > 3}
    # Of beginnings shared by the same items keep the longest.
    found |= {
        start
        for start in often
        if not any(
            other != start and other.startswith(start) and starts[other] == starts[start]
            for other in often
        )
    }
    found |= {f". {label}\n" for label in labels if not label[0].isdigit()}
    found |= {label.lstrip("0123456789") + "\n" for label in labels if label[0].isdigit()} - {"\n"}
    # The rest of a survey question after its shared beginning, one token each.
    kept = sorted(found, key=len, reverse=True)
    for item in survey.items:
        text = " " + item.question
        for end in kept:
            if text.endswith(end) and end.startswith(", "):
                text = text[: -len(end)]
                break
        beginning = next((p for p in kept if text.startswith(p) and len(p) > 8), "")
        rest = text[len(beginning) :]
        if len(rest) > 8:
            found.add(rest)
    return sorted(found)


def make_tokenizer(corpus: Iterator[str], extra: list[str], vocab: int) -> Tokenizer:
    """Byte-level BPE; numbers, chat marks and frequent phrases are single tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=vocab,
            special_tokens=[PAD, END, SYSTEM, USER, ASSISTANT],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            min_frequency=2,
            show_progress=False,
        ),
    )
    # A phrase that begins with a space counts as part of a longer word where a letter stands before
    # it, so names of countries, which follow words, are matched anywhere.
    tokenizer.add_tokens(
        [
            AddedToken(p, normalized=False, single_word=p.count(" ") > 2 and p[-1].isalpha())
            for p in extra
        ]
    )
    return tokenizer


def corpus(survey: Survey, prompts: PromptSet, seed: int = 0) -> Iterator[str]:
    """Texts the tokenizer is trained on: all wording that the lessons use."""
    rng = random.Random(seed)
    for item in survey.items:
        for _ in range(4):
            yield f"Question: {item.question}\n\nOptions:\n"
            for option in item.options:
                yield f"{option.code}. {option.label}\n"
        for word in re.findall(r"\w+", item.question):
            yield from [f" {word}"] * 4
    for culture in survey.cultures:
        yield from [f" {culture.name}, {culture.demonym} people"] * 200
    for name in grammar.OTHER_COUNTRIES:
        yield from [f" {name}"] * 30
    for text in prompts.texts.values():
        yield from [text] * 60
    for topic in survey.topics:
        yield from [topic] * 60
        for _ in range(900):
            question = grammar.write(topic, rng)
            yield written(question)
            culture = rng.choice(survey.cultures)
            index = rng.randrange(len(question.options))
            item = grammar.as_item(question)
            yield grammar.explanation(item, index, culture, rng)
            yield " ".join(grammar.statement(item, index, culture, rng))
    for pair in grammar.GENERAL:
        yield from [" ".join(pair)] * 8
    for system in (*grammar.PERSONAS, *grammar.PLAIN_SYSTEMS, *grammar.USERS, *grammar.THINGS):
        yield from [system] * 20
    yield from [" ".join(LABELS)] * 500


def written(question: grammar.Question | Item) -> str:
    """The JSON a question is written as."""
    text, options = worded(question)
    return json.dumps({"question": text, "options": options}, ensure_ascii=False)


def worded(question: grammar.Question | Item) -> tuple[str, list[str]]:
    """The words of a question and of its options."""
    if isinstance(question, Item):
        return question.question, [option.label for option in question.options]
    return question.text, list(question.options)


class Teacher:
    """Draws lessons without end."""

    def __init__(self, survey: Survey, prompts: PromptSet, tokenizer: Tokenizer, seed: int):
        self.survey, self.prompts, self.tokenizer = survey, prompts, tokenizer
        self.rng = random.Random(seed)
        self.shuffled = 1.0  # grows from 0 to 1 in training: first answers, then their order
        self.targets = Targets(survey)
        self.by_words = Tokenizer.from_str(_without_phrases(tokenizer))
        self.label_ids = {label: tokenizer.token_to_id(label) for label in LABELS}
        missing = [label for label, token in self.label_ids.items() if token is None]
        if missing:
            raise ValueError(f"labels that are not one token: {missing}")
        self.end = tokenizer.token_to_id(END)
        self.names = {
            tokenizer.encode(before + name, add_special_tokens=False).ids[0]
            for culture in survey.cultures
            for name in (culture.name, culture.demonym)
            for before in ("", " ")
        }
        self.modes = {c.iso3: modal_codes(survey, c.iso3) for c in survey.cultures}
        self.ranked = {
            one: sorted(
                (other for other in self.modes if other != one),
                key=lambda other: -similarity(survey, self.modes[one], self.modes[other]),
            )
            for one in self.modes
        }
        self.cultures = [c for c in survey.cultures for _ in range(3 if c.in_culturespa else 2)]
        self.paper = {c.iso3 for c in survey.cultures if c.in_culturespa}
        self.kept = [item for item in survey.items if held_out(item.id)]
        self.free = [item for item in survey.items if not held_out(item.id)]
        self.helped = [item for item in survey.items if may_teach(item.id, "statement")]

    # one lesson of each kind ---------------------------------------------------------------

    KINDS = {
        "plain": 14,
        "country": 33,
        "cross_culture": 29,
        "persona": 5,
        "examples": 2.5,
        "country_examples": 4.5,
        "cross_culture_examples": 5,
        "statement": 3,
        "where": 5,
        "write": 5,
        "general": 2,
    }

    def lesson(self) -> Lesson:
        kind = self.rng.choices(list(self.KINDS), list(self.KINDS.values()))[0]
        if kind == "statement":
            return self._statement()
        if kind == "where":
            return self._where()
        if kind == "write":
            return self._write()
        if kind == "general":
            return self._general()
        return self._ask(kind)

    def _ask(self, kind: str) -> Lesson:
        rng = self.rng
        culture, iso3 = self._culture()
        draw = rng.random()
        if draw < 0.03:
            item = grammar.odd(rng)
            share = np.full(len(item.options), 1 / len(item.options))
        elif draw < 0.27:
            question = grammar.write(rng.choice(self.survey.topics), rng)
            item = grammar.as_item(question)
            share = self.targets.written_answer(
                question, iso3 if kind != "plain" else None, STRENGTH[kind]
            )
        else:
            item = self._item(kind)
            share = self.targets.survey_answer(item, iso3, STRENGTH[kind])
        explain = rng.random() < 0.07 and "examples" not in kind
        order = self._order(item)
        rendered = render(
            item,
            self.prompts,
            "country" if kind == "persona" else kind,
            culture,
            order=order,
            explain=explain,
            neighbours=self._neighbours(iso3) if "cross_culture" in kind else None,
            examples=self._examples(item, iso3) if "examples" in kind else (),
        )
        messages = list(rendered.messages)
        if kind == "persona":
            messages[0] = self._system(kind, culture, iso3)
        elif kind == "plain" and rng.random() < 0.12:
            text = rng.choice(grammar.PLAIN_SYSTEMS)
            messages = (
                messages[1:] if not text else [{"role": "system", "content": text}, messages[1]]
            )
        if not explain and "examples" not in kind and rng.random() < 0.05:
            block = show_options(item, self.prompts, order)[0]
            text = rng.choice(grammar.USERS).replace("{question}", item.question)
            text = text.replace("{options}", block).replace("{line}", block.replace("\n", " "))
            messages[-1] = {"role": "user", "content": text}
        by_label = [float(share[item.codes.index(code)]) for code in rendered.codes]
        label_ids = [self.label_ids[label] for label in rendered.labels]
        if explain:
            shown = rng.choices(range(len(by_label)), by_label)[0]
            index = item.codes.index(rendered.codes[shown])
            reason = grammar.explanation(item, index, culture if kind != "plain" else None, rng)
            return self._row(messages, (label_ids, by_label, shown), "\n" + reason)
        return self._row(messages, (label_ids, by_label, 0), "")

    def _item(self, kind: str) -> Item:
        """Items of a kind: held-out ones are asked only where their answer may be taught."""
        if kind == "plain":
            # Held-out items are asked in fewer ways; plainly they are asked more often.
            return self.rng.choice(self.survey.items if self.rng.random() < 0.5 else self.kept)
        if "cross_culture" in kind:
            return self.rng.choice(self.helped)
        return self.rng.choice(self.free)

    def _culture(self) -> tuple[Culture, str | None]:
        if self.rng.random() < 0.03:
            name = self.rng.choice(grammar.OTHER_COUNTRIES)
            return Culture("", name, name, self.rng.choice(("a", "an"))), None
        culture = self.rng.choice(self.cultures)
        return culture, culture.iso3

    def _order(self, item: Item) -> tuple[int, ...]:
        draw = self.rng.random() / (0.4 * self.shuffled + 1e-9)
        if draw > 1:
            return option_orders(item, "given")[0]
        if draw < 0.45:
            return option_orders(item, "reversed")[0]
        return self.rng.choice(option_orders(item, "cyclic"))

    def _neighbours(self, iso3: str | None) -> Neighbours:
        if iso3 is None:
            picked = self.rng.sample(self.survey.cultures, 6)
            return Neighbours(tuple(picked[:3]), tuple(picked[3:]))
        ranked = self.ranked[iso3]
        draw = self.rng.random()
        if draw < 0.35:
            ranked = [other for other in ranked if other in self.paper]
        elif draw < 0.6:
            some = set(self.rng.sample(ranked, self.rng.randint(6, 30)))
            ranked = [other for other in ranked if other in some]
        found = [self.survey.culture(code) for code in ranked]
        return Neighbours(tuple(found[:3]), tuple(found[::-1][:3]))

    def _examples(self, item: Item, iso3: str | None) -> list[Example]:
        count = (
            5
            if self.rng.random() < 0.6
            else self.rng.choice((0, 1, 1, 2, 2, 3, 3, 4, 4, 6, 8, 12, 20))
        )
        iso3 = iso3 or self.rng.choice(list(self.modes))
        modes = self.modes[iso3]
        pool = [other for other in self.free if other.id in modes and other.id != item.id]
        if self.rng.random() < 0.5:
            near = [other for other in pool if other.topic == item.topic]
            pool = near if len(near) >= count else pool
        picked = self.rng.sample(pool, min(count, len(pool)))
        return [Example(other, modes[other.id]) for other in picked]

    def _statement(self) -> Lesson:
        culture = self.rng.choice(self.cultures)
        item = self.rng.choice(self.helped)
        values = self.targets.people(item.id, culture.iso3)
        if values is None:
            return self._statement()
        ask, reply = grammar.statement(item, int(np.argmax(values)), culture, self.rng)
        return self._row([{"role": "user", "content": ask}], None, reply)

    def _where(self) -> Lesson:
        """Where the persona lives. Without these it learns late to look for the country."""
        culture, iso3 = self._culture()
        kind = self.rng.choice(("country", "cross_culture", "persona"))
        system = self._system(kind, culture, iso3)
        ask, reply = grammar.where(culture, self.rng)
        return self._row([system, {"role": "user", "content": ask}], None, reply)

    def _system(self, kind: str, culture: Culture, iso3: str | None) -> dict[str, str]:
        """The system message that a method gives a country."""
        if kind == "persona":
            text = self.rng.choice(grammar.PERSONAS)
            for name in ("demonym", "article"):
                text = text.replace("{" + name + "}", getattr(culture, name))
            return {"role": "system", "content": text.replace("{country}", culture.name)}
        near = self._neighbours(iso3) if kind == "cross_culture" else None
        item = self.survey.items[0]
        return render(item, self.prompts, kind, culture, neighbours=near).messages[0]

    def _write(self) -> Lesson:
        rng = self.rng
        topic = rng.choice(self.survey.topics)
        seeds = rng.sample(self.survey.select(topic), rng.randint(1, 5))
        own = [grammar.write(topic, rng) for _ in range(rng.randint(0, 2))]
        examples = [*seeds, *own][-5:]
        if rng.random() < 0.5:  # most lessons are short to save time
            examples = examples[:2]
        rng.shuffle(examples)
        shown = {q.question if isinstance(q, Item) else q.text for q in examples}
        fresh = next(
            q for q in iter(lambda: grammar.write(topic, rng), None) if q.text not in shown
        )
        messages = render_writing(topic, [worded(q) for q in examples], self.prompts)
        return self._row(list(messages), None, written(fresh))

    def _general(self) -> Lesson:
        rng = self.rng
        ask, reply = grammar.general(rng)
        messages = [{"role": "user", "content": ask}]
        draw = rng.random()
        if draw < 0.3:
            messages.insert(0, {"role": "system", "content": rng.choice(grammar.PLAIN_SYSTEMS[1:])})
        elif draw < 0.55:
            text = self.prompts.texts["country_system"]
            if rng.random() < 0.4:
                text = self.prompts.texts["plain_system"]
            text = text.replace("{country}", rng.choice(self.survey.cultures).name)
            messages.insert(0, {"role": "system", "content": text})
        return self._row(messages, None, reply)

    # tokens ----------------------------------------------------------------------------------

    def _row(self, messages: list[dict], label: tuple | None, text: str) -> Lesson:
        """Prompt, then a label (ids, shares, the one shown) and/or a text, then the end."""
        encoder = self.by_words if self.rng.random() < 0.04 else self.tokenizer
        prompt = "".join(f"<|{m['role']}|>{m['content']}{END}" for m in messages) + ASSISTANT
        ids = encoder.encode(prompt, add_special_tokens=False).ids
        places, choices, shares, weights = [], [], [], []

        def learn(candidates: list[int], parts: list[float], weight: float, token: int) -> None:
            places.append(len(ids) - 1)
            choices.append(candidates)
            shares.append(parts)
            weights.append(weight)
            ids.append(token)

        for place in range(len(ids) - 1):
            if self.rng.random() < PROMPT_PART:
                places.append(place)
                choices.append([ids[place + 1]])
                shares.append([1.0])
                weights.append(PROMPT_WEIGHT)
        if label is not None:
            candidates, parts, shown = label
            learn(candidates, parts, LABEL_WEIGHT, candidates[shown])
        for token in encoder.encode(text, add_special_tokens=False).ids if text else ():
            learn([token], [1.0], NAME_WEIGHT if token in self.names else TEXT_WEIGHT, token)
        learn([self.end], [1.0], END_WEIGHT, self.end)
        return Lesson(ids, places, choices, shares, weights)


def _without_phrases(tokenizer: Tokenizer) -> str:
    record = json.loads(tokenizer.to_str())
    record["added_tokens"] = [token for token in record["added_tokens"] if token["special"]]
    return json.dumps(record)
