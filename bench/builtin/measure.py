"""Measure the built-in teaching model and print the figures its card states.

    python -m bench.builtin.measure [--folder data/models/builtin] [--quick] [--save]

Everything goes through the app's own engine, in fp32. --save writes the figures into training.json
and into the table of the card.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from bench.builtin import grammar
from bench.builtin.lessons import worded
from bench.builtin.targets import NEVER_ANY, NEVER_COUNTRY_PROMPT, held_out
from core.asking.parsing import parse
from core.inference.generation import generate
from core.inference.labels import Request
from core.inference.option_scoring import score
from core.models.load import Loaded, load
from core.models.spec import BUILTIN, ModelSpec
from core.prompts.methods import METHODS, askable
from core.prompts.prompt_sets import load_prompt_set
from core.prompts.render import Example, option_orders, render, render_writing
from core.survey.neighbours import modal_codes, neighbours
from core.survey.survey import Culture, Item, Survey, load_bundled

Answers = dict[tuple[str, str], np.ndarray]  # (country, item) -> probabilities in code order


class Asker:
    """Asks the model survey items and keeps the mass that its labels had."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.survey, self.prompts = load_bundled(), load_prompt_set()
        self.paper = [c for c in self.survey.cultures if c.in_culturespa]
        self.modes = {c.iso3: modal_codes(self.survey, c.iso3) for c in self.survey.cultures}
        self.mass: dict[tuple[str, str], list[float]] = {}

    def ask(
        self,
        method: str,
        cultures: Sequence[Culture | None],
        items: Iterable[Item],
        orders: str = "given",
        examples: int = 5,
        explain: bool = False,
    ) -> Answers:
        """Probabilities averaged over the orders. A run without a country is under ("", item)."""
        requests, cells = [], []
        among = [c.iso3 for c in self.paper]
        for culture in cultures:
            near = (
                neighbours(self.survey, culture.iso3, among)
                if METHODS[method].tells_neighbours
                else None
            )
            for item in items:
                shown = (
                    self._examples(item, culture, examples)
                    if METHODS[method].shows_examples
                    else ()
                )
                for order in option_orders(item, orders):
                    rendered = render(
                        item,
                        self.prompts,
                        method,
                        culture,
                        order=order,
                        neighbours=near,
                        examples=shown,
                        explain=explain,
                    )
                    requests.append(Request(rendered.messages, rendered.labels))
                    cells.append((culture.iso3 if culture else "", item, rendered.codes))
        found: Answers = {}
        mass = self.mass.setdefault((method, orders), [])
        for index, scored in score(self.loaded, requests):
            iso3, item, codes = cells[index]
            probs = np.array([scored.probs[codes.index(code)] for code in item.codes])
            found[iso3, item.id] = found.get((iso3, item.id), 0) + probs
            mass.append(scored.mass)
        return {key: value / value.sum() for key, value in found.items()}

    def _examples(self, item: Item, culture: Culture, count: int) -> list[Example]:
        modes = self.modes[culture.iso3]
        rng = random.Random(item.id)
        pool = [i for i in self.survey.items if i.id in modes and i.id != item.id]
        near = [i for i in pool if i.topic == item.topic]
        picked = rng.sample(near if len(near) >= count else pool, count)
        return [Example(other, modes[other.id]) for other in picked]

    def paper_score(self, answers: Answers, iso3: str, items: Iterable[Item]) -> float:
        """100 x (1 - |a - g| / |K - 1|), Euclidean norms over items, of the commonest answers."""
        gaps = spans = 0.0
        for item in items:
            if item.id not in self.modes[iso3]:
                continue
            probs = answers.get((iso3, item.id), answers.get(("", item.id)))
            given = item.codes[int(np.argmax(probs))]
            gaps += (given - self.modes[iso3][item.id]) ** 2
            spans += (len(item.options) - 1) ** 2
        return 100 * (1 - (gaps / spans) ** 0.5)

    def mean(self, answers: Answers, items: Sequence[Item]) -> float:
        return float(np.mean([self.paper_score(answers, c.iso3, items) for c in self.paper]))


def sets(survey: Survey) -> dict[str, list[Item]]:
    return {
        "all 259 items": list(survey.items),
        "core 52": list(survey.select("core")),
        "taught": [i for i in survey.items if not held_out(i.id)],
        "never asked under the country prompt": [
            i for i in survey.items if held_out(i.id) == NEVER_COUNTRY_PROMPT
        ],
        "no country answers at all": [i for i in survey.items if held_out(i.id) == NEVER_ANY],
    }


def scores(asker: Asker, methods: Sequence[str], say: Callable[[str], None]) -> dict:
    """Mean paper score over the 18 countries, by method and set of items."""
    result: dict[str, dict[str, float]] = {}
    for method in methods:
        cultures = asker.paper if METHODS[method].needs_culture else [None]
        # Prompts with examples are six times as long: the core set only.
        items = asker.survey.select("core" if METHODS[method].shows_examples else "all")
        answers = asker.ask(method, cultures, items)
        result[method] = {
            name: round(asker.mean(answers, chosen), 1)
            for name, chosen in sets(asker.survey).items()
            if set(chosen) <= set(items)
        }
        say(f"{method:24}" + "  ".join(f"{value:5.1f}" for value in result[method].values()))
    return result


def lean(asker: Asker) -> dict[str, float]:
    """Plain paper score by region of the world, all 61 countries."""
    answers = asker.ask("plain", [None], asker.survey.items)
    regions: dict[str, list[float]] = {}
    for culture in asker.survey.cultures:
        value = asker.paper_score(answers, culture.iso3, asker.survey.items)
        regions.setdefault(culture.region, []).append(value)
    means = {region: round(float(np.mean(values)), 1) for region, values in regions.items()}
    return dict(sorted(means.items(), key=lambda pair: -pair[1]))


def all_countries(asker: Asker) -> dict[str, float]:
    """All 61 countries on the core items: the mean gain of the country prompt, and the worst."""
    items = asker.survey.select("core")
    plain = asker.ask("plain", [None], items)
    country = asker.ask("country", asker.survey.cultures, items)
    gains = [
        asker.paper_score(country, c.iso3, items) - asker.paper_score(plain, c.iso3, items)
        for c in asker.survey.cultures
    ]
    unknown = Culture("XXX", "Ruritania", "Ruritanian")
    other = asker.ask("country", [unknown], items)
    apart = [0.5 * np.abs(other["XXX", item.id] - plain["", item.id]).sum() for item in items]
    return {
        "gain_mean": round(float(np.mean(gains)), 1),
        "countries_that_gain": int(np.sum(np.array(gains) > 0)),
        "unknown_country_distance_from_plain": round(float(np.mean(apart)), 3),
    }


def label_mass(asker: Asker, countries: int = 3) -> dict[str, float]:
    """Mass on the labels: all items, given and reversed; shifts and examples on the core set."""
    asker.mass.clear()
    some = asker.paper[:: max(1, len(asker.paper) // countries)][:countries]
    core = asker.survey.select("core")
    for method in askable():
        cultures = some if METHODS[method].needs_culture else [None]
        if METHODS[method].shows_examples:
            asker.ask(method, cultures[:1], core, "both")
            continue
        asker.ask(method, cultures, asker.survey.items, "both")
        asker.ask(method, cultures[:1], core, "cyclic")
    for count in (0, 1, 10, 20):
        asker.ask("country_examples", some[:1], core, examples=count)
    every = np.concatenate([np.array(values) for values in asker.mass.values()])
    return {
        "prompts": len(every),
        "mean": round(float(every.mean()), 5),
        "lowest": round(float(every.min()), 4),
        "share_at_least_0.99": round(float((every >= 0.99).mean()), 5),
    }


def written_answers(asker: Asker, count: int = 60, seed: int = 3) -> dict[str, float]:
    """Sampled at T = 0.6: is the answer just a label; is the explained answer a label and prose?"""
    rng = random.Random(seed)
    short, long, asked = [], [], []
    for _ in range(count):
        item, culture = rng.choice(asker.survey.items), rng.choice(asker.paper)
        asked.append((item, culture))
        for explain, into in ((False, short), (True, long)):
            into.append(render(item, asker.prompts, "country", culture, explain=explain))
    texts = generate(
        asker.loaded, [r.messages for r in short + long], max_new_tokens=100, seed=seed
    )
    bare = [w.finished and w.text.strip() in r.labels for w, r in zip(texts, short, strict=False)]
    good, named, agree = [], [], []
    for (item, culture), rendered, wrote in zip(asked, long, texts[count:], strict=True):
        first, _, rest = wrote.text.partition("\n")
        found = re.fullmatch(r"[A-Z].*\.(?: [A-Z].*\.)?", rest.strip()) is not None
        good.append(first.strip() in rendered.labels and found and wrote.finished)
        named.append(culture.name in rest)
        code = parse(wrote.text, item, rendered).code
        quoted = re.search(r'"([^"]+)"', rest)
        if quoted and code is not None:
            agree.append(quoted[1].casefold() == item.option(code).label.casefold())
    return {
        "bare_label": round(float(np.mean(bare)), 3),
        "explained": round(float(np.mean(good)), 3),
        "names_the_country": round(float(np.mean(named)), 3),
        "quotes_the_option_chosen": round(float(np.mean(agree)), 3) if agree else 0.0,
    }


def written_questions(asker: Asker, each: int = 40, seed: int = 5) -> dict[str, object]:
    """New questions at T = 0.9, top-p 0.95, from three survey and two written examples."""
    rng = random.Random(seed)
    survey = asker.survey
    topics, prompts = [], []
    for topic in survey.topics:
        for _ in range(each):
            examples = [*rng.sample(survey.select(topic), 3)]
            examples += [grammar.write(topic, rng) for _ in range(2)]
            rng.shuffle(examples)
            topics.append(topic)
            prompts.append(render_writing(topic, [worded(q) for q in examples], asker.prompts))
    wrote = generate(
        asker.loaded,
        prompts,
        temperature=0.9,
        top_p=0.95,
        max_new_tokens=160,
        seeds=list(range(len(prompts))),
    )
    valid: dict[str, list[grammar.Question]] = {topic: [] for topic in survey.topics}
    taught = {t: {grammar.write(t, rng).text for _ in range(20000)} for t in survey.topics}
    for topic, reply in zip(topics, wrote, strict=True):
        try:
            record = json.loads(reply.text)
        except json.JSONDecodeError:
            continue
        fine = (
            isinstance(record, dict)
            and set(record) == {"question", "options"}
            and isinstance(record["question"], str)
            and 2 <= len(set(record["options"])) == len(record["options"])
        )
        if fine:
            none = grammar.CONCEPTS[topic][0]
            valid[topic].append(
                grammar.Question(record["question"], tuple(record["options"]), topic, none, True)
            )
    distinct = {topic: len({q.text for q in made}) for topic, made in valid.items()}
    every = [q for made in valid.values() for q in made]
    fresh = [q for q in every if q.text not in taught[q.topic]]
    items = [grammar.as_item(q, n) for n, q in enumerate(every[::5])]
    asker.mass.clear()
    plain = asker.ask("plain", [None], items)
    far = [c for c in asker.paper if c.iso3 in ("KEN", "ETH", "CHN", "IND")]
    told = asker.ask("country", far, items)
    changed = [
        np.argmax(told[c.iso3, i.id]) != np.argmax(plain["", i.id]) for c in far for i in items
    ]
    mass = np.concatenate([np.array(m) for m in asker.mass.values()])
    return {
        "valid": round(len(every) / len(prompts), 3),
        "lowest_valid_of_a_topic": min(len(made) / each for made in valid.values()),
        "distinct_mean": round(float(np.mean(list(distinct.values()))) / each, 3),
        "distinct_lowest_of_a_topic": min(distinct.values()) / each,
        "not_in_20000_draws_of_the_grammar": round(len(fresh) / max(1, len(every)), 3),
        "label_mass_lowest": round(float(mass.min()), 4),
        "answer_differs_from_plain": round(float(np.mean(changed)), 3),
    }


def speed(asker: Asker) -> dict[str, float]:
    """Seconds for one answer and for the core set as people of 18 countries."""
    items = asker.survey.select("core")
    asker.ask("country", asker.paper[:1], items[:1])
    start = time.perf_counter()
    asker.ask("country", asker.paper[1:2], items[1:2])
    one = time.perf_counter() - start
    start = time.perf_counter()
    asker.ask("country", asker.paper, items)
    return {
        "one_answer_s": round(one, 3),
        "core_set_18_countries_s": round(time.perf_counter() - start, 1),
        "threads": torch.get_num_threads(),
    }


def measure(folder: Path, quick: bool, say: Callable[[str], None] = print) -> dict:
    loaded = load(ModelSpec(str(folder), precision="fp32"))
    asker = Asker(loaded)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    figures: dict = {
        "parameters": sum(p.numel() for p in loaded.model.parameters()),
        "folder_mb": round(size, 1),
    }
    methods = ("plain", "country", "cross_culture") if quick else askable()
    figures["paper_score"] = scores(asker, methods, say)
    for name, part in (
        ("plain_by_region", lean),
        ("all_61_countries", all_countries),
        ("written_answers", written_answers),
        ("written_questions", written_questions),
        ("label_mass", label_mass),
        ("speed", speed),
    ):
        if quick and name in ("label_mass", "all_61_countries"):
            continue
        figures[name] = part(asker)
        say(f"{name}: {figures[name]}")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=BUILTIN)
    parser.add_argument("--quick", action="store_true", help="three methods, no survey of mass")
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    figures = measure(args.folder, args.quick)
    if args.save:
        save(args.folder, figures)


def save(folder: Path, figures: dict) -> None:
    """Put the figures into training.json and between the marks of the card."""
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    record["measured"] = figures
    (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8")
    block = f"<!-- measured -->\n{table(figures)}<!-- /measured -->"
    text = re.sub(r"<!-- measured -->.*<!-- /measured -->", lambda _: block, text, flags=re.S)
    card.write_text(text, encoding="utf-8")


def table(figures: dict) -> str:
    """The figures as Markdown."""
    by_method = figures["paper_score"]
    names = list(by_method["plain"])
    lines = [
        "Mean paper score over the 18 CultureSPA countries (100: the commonest answer every time).",
        "",
        "| Asked | " + " | ".join(names) + " |",
        "|---|" + "---:|" * len(names),
    ]
    for method, row in by_method.items():
        cells = " | ".join(f"{row[name]:.1f}" if name in row else "" for name in names)
        lines.append(f"| {METHODS[method].name} | {cells} |")
    for name, part in figures.items():
        if name == "paper_score":
            continue
        title = name.replace("_", " ").capitalize()
        if isinstance(part, dict):
            lines += ["", f"**{title}**", "", "| | |", "|---|---:|"]
            lines += [f"| {key.replace('_', ' ')} | {value} |" for key, value in part.items()]
        else:
            lines += ["", f"**{title}**: {part:,}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
