"""The built-in teaching model: what it is, what it was taught, and that its card is true."""

from __future__ import annotations

import json
import random
from functools import cache

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from bench.builtin import grammar, measure
from bench.builtin.lessons import CHAT_TEMPLATE, Teacher, corpus, make_tokenizer, phrases, worded
from bench.builtin.measure import Asker
from bench.builtin.student import Student
from bench.builtin.targets import (
    HELD_OUT,
    NEVER_ANY,
    NEVER_COUNTRY_PROMPT,
    Targets,
    _rebin,
    held_out,
    table,
)
from core.inference.generation import generate
from core.inference.labels import Request
from core.inference.option_scoring import score
from core.models.load import load
from core.models.spec import BUILTIN, ModelSpec
from core.prompts.prompt_sets import load_prompt_set
from core.prompts.render import option_orders, render, render_writing
from core.survey.survey import load_bundled


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two threads on busy cores wait for each other
    yield
    torch.set_num_threads(threads)


@cache
def asker() -> Asker:
    return Asker(load(ModelSpec("builtin", precision="fp32")))


@cache
def answers(method: str) -> measure.Answers:
    some = asker()
    items = some.survey.select("core")
    return some.ask(method, [None] if method == "plain" else some.paper, items)


def record() -> dict:
    return json.loads((BUILTIN / "training.json").read_text(encoding="utf-8"))


# What it is -------------------------------------------------------------------------------------


def test_it_is_a_small_llama_that_plain_transformers_loads():
    model = AutoModelForCausalLM.from_pretrained(BUILTIN)
    tokenizer = AutoTokenizer.from_pretrained(BUILTIN)
    assert isinstance(model, LlamaForCausalLM)
    assert 5e6 <= sum(p.numel() for p in model.parameters()) <= 12e6
    assert model.config.max_position_embeddings >= 2048
    sizes = (model.config.hidden_size, model.config.intermediate_size, model.config.vocab_size)
    assert all(size % 64 == 0 for size in sizes)  # blocks of 4-bit weights
    assert len(tokenizer) <= model.config.vocab_size
    assert tokenizer.chat_template == CHAT_TEMPLATE


def test_the_folder_holds_at_most_25_mb():
    assert sum(path.stat().st_size for path in BUILTIN.iterdir()) <= 25e6


def test_every_label_is_one_token_between_the_prompt_and_the_end_of_turn():
    tokenizer = AutoTokenizer.from_pretrained(BUILTIN)
    ask = [{"role": "user", "content": "Which?"}]
    before = tokenizer.apply_chat_template(ask, add_generation_prompt=True, tokenize=False)
    before = tokenizer.encode(before, add_special_tokens=False)
    for label in map(str, range(12)):
        whole = tokenizer.apply_chat_template(
            [*ask, {"role": "assistant", "content": label}], tokenize=False
        )
        ids = tokenizer.encode(whole, add_special_tokens=False)
        assert ids[: len(before)] == before
        assert ids[len(before) :] == [
            tokenizer.convert_tokens_to_ids(label),
            tokenizer.eos_token_id,
        ]


# How it behaves ---------------------------------------------------------------------------------


def test_nearly_all_mass_is_on_the_labels():
    answers("plain"), answers("country"), answers("cross_culture")
    kenya = [asker().survey.culture("KEN")]
    asker().ask("country", kenya, asker().survey.select("core"), "reversed")
    assert asker().mass
    for values in asker().mass.values():
        assert np.mean(values) >= 0.99
        assert min(values) >= 0.95


def test_asked_plainly_it_is_nearest_to_the_countries_of_its_lean():
    items = asker().survey.select("core")
    by_region: dict[str, list[float]] = {}
    for culture in asker().survey.cultures:
        value = asker().paper_score(answers("plain"), culture.iso3, items)
        by_region.setdefault(culture.region, []).append(value)
    mean = {region: np.mean(values) for region, values in by_region.items()}
    assert sorted(mean, key=mean.get)[-2:] in (
        ["English-Speaking", "Protestant Europe"],
        ["Protestant Europe", "English-Speaking"],
    )
    assert mean["English-Speaking"] >= mean["African-Islamic"] + 15


def test_as_a_person_of_a_country_it_moves_part_of_the_way():
    items = asker().survey.select("core")
    plain = asker().mean(answers("plain"), items)
    country = asker().mean(answers("country"), items)
    assert plain + 3 <= country <= 90


def test_cross_culture_thinking_brings_out_more_also_on_items_never_asked_as_a_country():
    core = asker().survey.select("core")
    never = [item for item in core if held_out(item.id) == NEVER_COUNTRY_PROMPT]
    for items in (core, never):
        gap = asker().mean(answers("cross_culture"), items) - asker().mean(
            answers("country"), items
        )
        assert gap >= 2


def test_with_examples_in_the_prompt_it_still_answers_as_a_person_of_the_country():
    items = asker().survey.select("core")[::2]
    some = asker().paper[::2]

    def mean(method: str) -> float:
        found = asker().ask(method, some, items)
        return np.mean([asker().paper_score(found, c.iso3, items) for c in some])

    plain = np.mean([asker().paper_score(answers("plain"), c.iso3, items) for c in some])
    assert plain + 1 <= mean("country_examples") < mean("cross_culture_examples")
    assert np.mean(asker().mass["cross_culture_examples", "given"]) >= 0.99


def test_it_writes_new_questions_as_json():
    survey = asker().survey
    rng = random.Random(11)
    prompts = []
    for topic in survey.topics:
        examples = [worded(item) for item in rng.sample(survey.select(topic), 5)]
        prompts += [render_writing(topic, examples, asker().prompts)] * 2
    wrote = generate(
        asker().loaded,
        prompts,
        temperature=0.9,
        top_p=0.95,
        max_new_tokens=140,
        seeds=list(range(len(prompts))),
    )
    valid = []
    for reply in wrote:
        try:
            made = json.loads(reply.text)
        except json.JSONDecodeError:
            continue
        valid += [made["question"]] if made.keys() == {"question", "options"} else []
    assert len(valid) >= 0.9 * len(prompts)
    assert len(set(valid)) >= 0.6 * len(prompts)


def test_in_four_bits_it_still_answers_with_a_label():
    loaded = load(ModelSpec("builtin", precision="nf4"))
    kenya = asker().survey.culture("KEN")
    requests = []
    for item in asker().survey.select("core")[::4]:
        rendered = render(item, asker().prompts, "country", kenya)
        requests.append(Request(rendered.messages, rendered.labels))
    assert np.mean([scored.mass for _, scored in score(loaded, requests)]) >= 0.98


# What the card says -----------------------------------------------------------------------------


def test_the_card_states_the_figures_of_training_json():
    card = (BUILTIN / "README.md").read_text(encoding="utf-8")
    assert measure.table(record()["measured"]) in card


def test_the_figures_are_those_of_the_weights():
    items = asker().survey.select("core")
    told = record()["measured"]["paper_score"]
    for method in ("plain", "country"):
        cultures = [None] if method == "plain" else asker().paper
        found = asker().mean(asker().ask(method, cultures, items), items)
        assert found == pytest.approx(told[method]["core 52"], abs=0.3)


def test_the_list_of_held_out_items_is_the_one_trained_with():
    items = load_bundled().items
    assert (BUILTIN / "held_out_items.txt").read_text(encoding="utf-8") == table(items)
    assert record()["held_out"] == {name: list(ids) for name, ids in HELD_OUT.items()}


# What it was taught -----------------------------------------------------------------------------


@cache
def teacher() -> Teacher:
    survey, prompts = load_bundled(), load_prompt_set()
    small = make_tokenizer(corpus(survey, prompts), phrases(prompts, survey), 1500)
    return Teacher(survey, prompts, small, seed=1)


def test_held_out_items_are_never_asked_where_their_country_answer_must_not_be_known():
    seen: dict[str, set[str]] = {kind: set() for kind in Teacher.KINDS}
    for kind in ("country", "persona", "country_examples", "examples", "cross_culture"):
        seen[kind] = {held_out(teacher()._item(kind).id) for _ in range(3000)}
    for kind in ("country", "persona", "country_examples", "examples"):
        assert seen[kind] == {""}
    assert seen["cross_culture"] == {"", NEVER_COUNTRY_PROMPT}
    assert not any(held_out(item.id) == NEVER_ANY for item in teacher().helped)


def test_examples_in_prompts_never_show_held_out_items():
    item = teacher().survey.items[0]
    shown = {e.item.id for _ in range(400) for e in teacher()._examples(item, "KEN")}
    assert shown and not any(held_out(item_id) for item_id in shown)


def test_a_lesson_learns_the_shares_at_the_answer_and_then_the_end():
    lesson = next(row for row in iter(teacher().lesson, None) if len(row.shares[-2]) > 1)
    assert lesson.places[-2:] == [len(lesson.ids) - 3, len(lesson.ids) - 2]
    assert sum(lesson.shares[-2]) == pytest.approx(1)
    assert lesson.choices[-1] == [teacher().end] == lesson.ids[-1:]


def test_shares_move_to_another_number_of_steps_of_the_same_scale():
    # Steps of a quarter: two quarters make a half.
    assert _rebin(np.array([0.1, 0.2, 0.3, 0.4]), 2) == pytest.approx([0.3, 0.7])
    # Two halves of 0.6 and 0.4 over three thirds: 0.4, 0.2 + 0.4/3, 0.8/3.
    assert _rebin(np.array([0.6, 0.4]), 3) == pytest.approx([0.4, 1 / 3, 4 / 15])


def test_a_question_that_borrows_an_item_turns_it_the_right_way_round():
    # God matters more to people in Ethiopia than to the lean; code 1 of the item is "not at all".
    targets = Targets(load_bundled())
    concept = next(c for c in grammar.CONCEPTS[grammar.RELIGION] if c.item_id == "Q164")
    question = grammar.Question("?", ("Very", "Rather", "Not"), grammar.RELIGION, concept, True)
    ethiopia = targets.written_answer(question, "ETH", 0.9)
    plain = targets.written_answer(question, None, 0.0)
    assert ethiopia[0] > plain[0] + 0.2
    assert ethiopia.sum() == pytest.approx(1)


def test_the_quick_trainer_is_the_same_function_as_transformers():
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=128,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        rms_norm_eps=1e-6,
        tie_word_embeddings=False,
    )
    student = Student(config, seed=4)
    ids = torch.randint(0, 64, (2, 17), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours = student(ids.flatten(), [(2, 17)], torch.arange(34)).view(2, 17, -1)
        theirs = student.to_llama().eval()(ids).logits
    assert (ours - theirs).abs().max() < 1e-5


def test_every_topic_has_questions_enough():
    rng = random.Random(2)
    topics = load_bundled().topics
    assert len(topics) == 13
    for topic in topics:
        made = [grammar.write(topic, rng) for _ in range(300)]
        assert len({question.text for question in made}) > 180
        assert all("{" not in q.text and len(set(q.options)) == len(q.options) for q in made)


def test_a_question_read_back_keeps_its_options_in_order():
    question = grammar.write(grammar.SCIENCE, random.Random(3))
    item = grammar.as_item(question)
    assert tuple(option.label for option in item.options) == question.options
    assert option_orders(item, "given")[0] == tuple(range(len(question.options)))
