"""What tuning cost: differences by hand, readings against plain forwards, real adapters."""

import io
import json
import math
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.builtin.grammar import GENERAL
from core.jobs.messages import Finished, read_line
from core.jobs.worker import Channel, Worker
from core.models.load import ModelSlot, bare, chat, encode
from core.models.spec import BUILTIN, ModelSpec
from core.survey.survey import load_bundled
from core.tuning.abilities import drift as abilities_drift
from core.tuning.abilities import guard, lm_eval_tasks, paired_tests
from core.tuning.abilities.guard import FACTS, is_bare_number, load_texts
from core.tuning.abilities.paired_tests import NO_WORSE, UNSURE, WORSE, Kind, Paired
from core.tuning.messages import AbilitiesMeasured, MeasureAbilities
from tests import tiny

SURVEY = load_bundled()
KIND = Kind("sums", "Sums", "How often sums are right.", "its sums are wrong more often")


# -- differences and verdicts --------------------------------------------------------------------


def test_shares_are_compared_with_half_a_prompt_in_every_outcome():
    # Nothing changed in 200: 0 ± 1.96 sqrt(1) / 202.
    alike = np.ones(200, bool)
    none = paired_tests.paired_share(alike, alike)
    assert none == pytest.approx((0, -100 * 1.959964 / 202, 100 * 1.959964 / 202))
    # Three lost and one won of 50: centre −2/52, reach 1.96 sqrt(5 − 4/52) / 52.
    base = np.array([1, 1, 1, 0] + [1] * 46, bool)
    tuned = np.array([0, 0, 0, 1] + [1] * 46, bool)
    reach = 1.959964 * math.sqrt(5 - 4 / 52) / 52
    expected = (-4.0, 100 * (-2 / 52 - reach), 100 * (-2 / 52 + reach))
    assert paired_tests.paired_share(base, tuned) == pytest.approx(expected)


def test_mcnemar_by_hand():
    assert paired_tests.mcnemar(1, 9) == pytest.approx(2 * (1 + 10) / 1024)
    assert paired_tests.mcnemar(9, 1) == paired_tests.mcnemar(1, 9)
    assert paired_tests.mcnemar(0, 0) == paired_tests.mcnemar(3, 3) == 1


def test_means_are_compared_prompt_by_prompt():
    rng = np.random.default_rng(0)
    base = rng.uniform(0, 100, 400)
    apart = rng.normal(-2, 4, 400)
    found = paired_tests.paired_mean(base, base + apart)
    assert found.difference == pytest.approx(apart.mean())
    half = 1.96 * apart.std(ddof=1) / 20  # far narrower than base's own spread of 29
    assert found.high - found.low == pytest.approx(2 * half, rel=0.08)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.9, 0.5, NO_WORSE),  # nothing beyond the margin
        (-0.9, -0.2, NO_WORSE),  # surely lower, and surely by less than a point
        (0.5, 3.0, NO_WORSE),
        (-2.0, -0.1, WORSE),
        (-5.0, -1.5, WORSE),
        (-2.0, 0.5, UNSURE),
        (-4.0, 4.0, UNSURE),  # no difference found is not the same as none there
    ],
)
def test_a_verdict_needs_the_whole_interval_on_one_side_of_the_margin(low, high, verdict):
    assert paired_tests.judged(Paired((low + high) / 2, low, high)) == verdict


def outcome(name, low, high, drift=False):
    kind = Kind(name, name.capitalize(), "", f"its {name} suffered", drift)
    middle = (low + high) / 2
    return paired_tests.made(kind, 100, 80, 80 + middle, Paired(middle, low, high))


def test_one_verdict_over_all_in_words(snapshot):
    fine, unsure = outcome("sums", -0.5, 0.5), outcome("rhymes", -3, 3)
    worse = outcome("prose", -4, -2)
    moved = outcome("plain answers", -7, -5, drift=True)
    assert paired_tests.overall([fine]).sentence == snapshot
    for tests, verdict in ([fine, unsure], UNSURE), ([fine, unsure, worse, moved], WORSE):
        over_all = paired_tests.overall(tests)
        assert over_all.verdict == verdict and over_all.sentence == snapshot
    assert [t.words for t in (fine, unsure, worse, moved)] == [
        "no worse (within 1 point)", "too small to call", "worse", "moved"
    ]  # fmt: skip


def test_a_record_is_json_and_can_be_read_again():
    odd = replace(outcome("sums", -0.5, 0.5), figures={"perplexity": math.inf, "kl": 0.25})
    record = paired_tests.record([odd], ["a note"], {"seconds": 1.5})
    read = json.loads(json.dumps(record, allow_nan=False))
    assert read["tests"][0]["figures"] == {"perplexity": None, "kl": 0.25}
    assert paired_tests.outcomes(read) == [replace(odd, figures={"perplexity": None, "kl": 0.25})]


def test_several_adapters_give_the_mean_and_name_the_lowest(snapshot):
    facts = {"model_name": "m", "precision": "fp32", "seconds": 2.0}
    records = {
        iso3: paired_tests.record([outcome("sums", low, high)], ["no network"], facts)
        for iso3, low, high in (("KEN", -0.4, 0.4), ("USA", -3.0, -1.0))
    }
    one = paired_tests.together(records)
    (sums,) = paired_tests.outcomes(one)
    assert (sums.difference, sums.low, sums.high) == pytest.approx((-1.0, -1.7, -0.3))
    assert sums.verdict == one["verdict"] == WORSE
    assert "USA (−2.0)" in sums.note and sums.note == snapshot
    assert one["notes"] == ["no network"] and set(one["adapters"]) == {"KEN", "USA"}


# -- the texts -----------------------------------------------------------------------------------


def test_the_right_answers_are_those_the_survey_s_notes_give():
    for item_id, code in FACTS.items():
        item = SURVEY.item(item_id)
        said = re.search(r"right answer is code (\d) \((.+)\)", item.note)
        assert int(said[1]) == code
        assert said[2].casefold() == item.option(code).label.casefold()


def test_every_text_is_there_once_and_short():
    texts, lessons = load_texts(), load_texts(teaching=True)
    asks = [ask for ask, _ in texts.asks]
    for group, fewest in (
        (texts.prose, 70), (asks, 100), (texts.open, 100), (texts.sensitive, 200)
    ):  # fmt: skip
        assert len(group) == len(set(group)) >= fewest
    assert all(len(text.split()) <= 70 for text in texts.prose)
    assert all(len(text.split()) <= 20 for text in (*texts.open, *texts.sensitive, *asks))
    # As many harmless requests as it takes to call a loss of nothing "within 1 point".
    willing = np.ones(len(texts.sensitive), bool)
    assert paired_tests.judged(paired_tests.paired_share(willing, willing)) == NO_WORSE
    assert set(lessons.asks) < set(texts.asks) and set(lessons.asks) <= set(GENERAL)


@pytest.mark.parametrize(
    ("text", "bare_number"),
    [("3", True), (" 3.\n", True), ("(10)", True), ("−2", True), ("2,5", True), ("3 eggs", False),
     ("Three", False), ("1. Wash it", False), ("", False), ("3\n4", False)],
)  # fmt: skip
def test_a_bare_number_is_a_number_and_nothing_else(text, bare_number):
    assert is_bare_number(text) is bare_number


# -- reading -------------------------------------------------------------------------------------


def tuned(tmp_path, kind="llama", scale=0.5):
    """A tiny model with an adapter on, as the slot gives it, and its folder."""
    base = tiny.save(tmp_path / kind, kind)
    adapter = tiny.save_adapter(tmp_path / f"{kind}-adapter", base, scale=scale)
    return ModelSlot().get(ModelSpec(str(base), precision="fp32", adapter=str(adapter)))


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_an_adapter_set_aside_leaves_the_base_bit_for_bit(tmp_path, kind):
    loaded = tuned(tmp_path, kind)
    ids = torch.tensor([encode(loaded, "A person from Kenya is asked a question.")])
    alone = ModelSlot().get(replace(loaded.spec, adapter=None))
    with torch.inference_mode():
        before = loaded.model(input_ids=ids).logits
        with bare(loaded):
            within = loaded.model(input_ids=ids).logits
        after = loaded.model(input_ids=ids).logits
        base = alone.model(input_ids=ids).logits
    assert torch.equal(within, base) and torch.equal(before, after)
    assert not torch.equal(before, base)


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_readings_equal_a_plain_forward_of_each_model(tmp_path, monkeypatch, kind):
    loaded = tuned(tmp_path, kind)
    base = ModelSlot().get(replace(loaded.spec, adapter=None))
    passages = [
        abilities_drift.prose(loaded, "The options are shown in another order."),
        abilities_drift.reply(loaded, "How important is family?", "Very important."),
        abilities_drift.prose(loaded, "Yes, and the number of the option."),
    ]
    assert passages[1].ids[: passages[1].start] == tuple(
        chat(loaded, [{"role": "user", "content": "How important is family?"}])
    )
    monkeypatch.setattr(abilities_drift, "LOGITS", 700 * 40)  # batches of one and of two
    for index, reading in abilities_drift.read(loaded, passages):
        ids, start = torch.tensor([passages[index].ids]), passages[index].start
        with torch.inference_mode():
            one, other = (
                torch.log_softmax(m.model(input_ids=ids).logits[0, start - 1 : -1].double(), -1)
                for m in (base, loaded)
            )
        true = ids[0, start:, None]
        assert reading.tokens == len(true)
        kl = (one.exp() * (one - other)).sum(-1).mean()
        assert reading.kl == pytest.approx(float(kl), rel=1e-4)
        for side, nll, p in (
            (one, reading.base_nll, reading.base_p), (other, reading.tuned_nll, reading.tuned_p)
        ):  # fmt: skip
            chosen = side.gather(1, true)
            assert nll == pytest.approx(float(-chosen.mean()), rel=1e-4)
            assert p == pytest.approx(float(chosen.exp().mean()), rel=1e-4)


# -- the whole guard, on real models -------------------------------------------------------------


def told(command: MeasureAbilities) -> dict:
    """The record that the worker makes of a command."""
    stream = io.StringIO()
    Worker(Channel(stream)).run("j", command)
    events = [read_line(line)[1] for line in stream.getvalue().splitlines()]
    assert isinstance(events[-1], Finished), events[-1]
    (measured,) = (event for event in events if isinstance(event, AbilitiesMeasured))
    return measured.record


def test_adapters_that_change_nothing_cost_nothing(tmp_path):
    """One for each of two countries, measured by the worker."""
    base = tiny.save(tmp_path / "base", "llama")
    for iso3 in ("KEN", "USA"):
        tiny.save_adapter(tmp_path / "adapters" / iso3, base, scale=0.0)
    spec = ModelSpec(str(base), precision="fp32")
    record = told(MeasureAbilities(spec, tmp_path / "adapters"))
    tests = {test.name: test for test in paired_tests.outcomes(record)}
    assert set(tests) == set(guard.KINDS)
    assert all(test.difference == 0 for test in tests.values())
    assert {test.verdict for test in tests.values()} == {NO_WORSE}
    assert tests["text"].figures["kl"] == 0
    assert tests["text"].figures["perplexity_base"] == tests["text"].figures["perplexity_tuned"]
    assert tests["plain"].n == 259
    assert tests["facts_country"].n == 3  # each asked as a person of its own country alone
    assert record["verdict"] == NO_WORSE and "all 7 tests" in record["sentence"]
    assert set(record["adapters"]) == {"KEN", "USA"}


def test_a_ruinous_adapter_is_called_that(tmp_path):
    adapter = tiny.save_adapter(tmp_path / "adapter", BUILTIN, scale=2.0)
    record = told(MeasureAbilities(ModelSpec("builtin"), adapter))
    assert record["verdict"] == WORSE
    assert "less well" in record["sentence"]
    assert "its plain answers moved" in record["sentence"]
    tests = {test.name: test for test in paired_tests.outcomes(record)}
    assert tests["facts_country"].n == 3 * 18
    assert tests["replies"].base > 99  # the built-in model knows its lessons
    assert tests["replies"].tuned < 90 and tests["replies"].figures["kl"] > 0.1
    assert tests["plain"].words == "moved"


# -- tasks of the harness ------------------------------------------------------------------------


def test_without_the_harness_a_sentence_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    said = lm_eval_tasks.compare(tiny.loaded(), "mmlu")
    assert "MMLU" in said and "not tested" in said and "lm-evaluation-harness" in said
    assert "pip install" in said


def test_scores_of_single_questions_are_compared_by_their_kind():
    preset = lm_eval_tasks.PRESETS["arc"]
    right = np.array([1.0, 1.0, 0.0, 1.0])
    yes_no = lm_eval_tasks.compared("arc", preset, right, np.array([1.0, 0.0, 0.0, 1.0]))
    assert yes_no.figures["lost"] == 1 and yes_no.difference == -25
    partly = lm_eval_tasks.compared("arc", preset, right, right - [0.5, 0, 0, 0.5])
    assert "lost" not in partly.figures and partly.difference == -25


@pytest.mark.slow
def test_a_task_of_the_user_s_own_is_found_and_compared(tmp_path, monkeypatch):
    pytest.importorskip("lm_eval", reason="lm-evaluation-harness is optional")
    monkeypatch.setenv("PLURISCOPE_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "tasks"
    folder.mkdir()
    rows = [
        {"question": f"{k} + 1 =", "choices": [str(k + 1), str(k)], "answer": 0} for k in range(20)
    ]
    (folder / "sums.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "sums.yaml").write_text(
        f"""task: own_sums
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder / "sums.jsonl"}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
doc_to_choice: "{{{{choices}}}}"
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""
    )
    loaded = tuned(tmp_path, scale=0.0)
    test = lm_eval_tasks.compare(loaded, "own_sums")
    assert (test.n, test.difference, test.figures["lost"]) == (20, 0, 0)
    assert test.verdict == UNSURE  # 20 questions cannot show a loss of less than a point
    assert lm_eval_tasks.compare(loaded, "no_such_task").endswith("knows no such task.")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "questions"), [("mmlu", 57 * 2), ("arc", 2 * 2), ("gsm8k", 2)])
def test_a_preset_runs_the_harness_s_own_tasks(tmp_path, monkeypatch, name, questions):
    """Made-up rows with the columns of the published data sets, read by the harness's own tasks."""
    pytest.importorskip("lm_eval", reason="lm-evaluation-harness is optional")
    import datasets

    def rows(path: str) -> list[dict]:
        if path == "cais/mmlu":
            return [
                {"question": f"{k} + 1 =", "subject": "sums", "answer": k % 4,
                 "choices": [str(k), str(k + 1), str(k + 2), str(k + 3)]}
                for k in range(6)
            ]  # fmt: skip
        if path == "allenai/ai2_arc":
            return [
                {"id": str(k), "question": f"{k} + 1 =", "answerKey": "B",
                 "choices": {"text": [str(k), str(k + 1)], "label": ["A", "B"]}}
                for k in range(6)
            ]  # fmt: skip
        return [{"question": f"{k} + 1 = ?", "answer": f"One more. #### {k + 1}"} for k in range(6)]

    def load(path=None, *given, **named):
        made = datasets.Dataset.from_list(rows(path))
        splits = ("train", "validation", "dev", "test")
        return datasets.DatasetDict({split: made for split in splits})

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setitem(lm_eval_tasks.PRESETS, name, lm_eval_tasks.PRESETS[name]._replace(limit=2))
    test = lm_eval_tasks.compare(tuned(tmp_path, scale=0.0), name)
    assert isinstance(test, paired_tests.Outcome), test
    assert (test.n, test.difference, test.figures["lost"]) == (questions, 0, 0)
