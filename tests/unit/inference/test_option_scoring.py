import math

import numpy as np
import pytest
import torch
from transformers import modeling_utils

from core.asking import responses
from core.asking.questionnaire import Questionnaire
from core.asking.settings import AskSettings
from core.errors import ModelError
from core.inference import option_scoring, token_tree
from core.inference.label_rules import LABEL, NOT_CONTINUED, SINGLE, TURN, WHOLE
from core.inference.labels import Request
from core.inference.option_scoring import score
from core.models.load import Loaded, chat, chat_text, encode
from core.models.spec import ModelSpec
from core.prompts.prompt_sets import load_prompt_set
from core.prompts.render import option_orders, render
from core.survey.survey import load_bundled
from tests import tiny

pytestmark = pytest.mark.usefixtures("one_thread")

SURVEY = load_bundled()
PROMPTS = load_prompt_set()


def requests(items=("Q1", "Q57", "Q164", "Q254"), countries=("KEN", "DEU"), orders="both"):
    """Plain and as-a-country prompts of items with 2 to 10 options, in several option orders."""
    made = []
    for iso3 in ("", *countries):
        for item in SURVEY.select(items):
            for order in option_orders(item, orders):
                prompt = render(
                    item,
                    PROMPTS,
                    "country" if iso3 else "plain",
                    SURVEY.culture(iso3) if iso3 else None,
                    order=order,
                )
                made.append(Request(prompt.messages, prompt.labels))
    return made


def plain_forward(
    loaded: Loaded, request: Request, labels: dict[str, list[int]], end: list[int] | None
) -> np.ndarray:
    """Log-probability of each label the slow way: one unbatched forward of prompt and label.

    labels: the tokens of each. end: tokens that must follow, None to stop after the label.
    """
    prompt = chat(loaded, request.messages)
    found = []
    for label in request.labels:
        reply = labels[label] + (end or [])
        with torch.no_grad():
            logits = loaded.model(torch.tensor([prompt + reply]), use_cache=False).logits[0]
        steps = torch.log_softmax(logits.float(), -1)[len(prompt) - 1 : -1]
        found.append(sum(float(steps[i, token]) for i, token in enumerate(reply)))
    return np.array(found)


def reference(
    loaded: Loaded, request: Request, kind: str, label_rule: str
) -> tuple[np.ndarray, str]:
    """What score must return, worked out without it. The templates write labels as they are."""
    labels = {label: encode(loaded, label) for label in request.labels}
    if all(len(tokens) == 1 for tokens in labels.values()):
        return plain_forward(loaded, request, labels, None), SINGLE
    if label_rule == TURN:
        end = encode(loaded, tiny.END_OF_TURN[kind])
        return plain_forward(loaded, request, labels, end), WHOLE
    # Of these labels only 10 continues another, 1: what is written as 10 is not a 1.
    found = np.exp(plain_forward(loaded, request, labels, None))
    if "10" in request.labels:
        found[request.labels.index("1")] -= found[request.labels.index("10")]
    return np.log(found), NOT_CONTINUED


@pytest.mark.parametrize("label_rule", [LABEL, TURN])
@pytest.mark.parametrize("digits", ["whole", "split"])
@pytest.mark.parametrize("kind", list(tiny.TEMPLATES))
def test_the_tree_equals_a_plain_forward(kind, digits, label_rule):
    # Sliding windows (24 tokens) in Gemma and Mistral are far shorter than the prompts; a budget of
    # 50 makes every prompt straddle steps, so paths are cut, kept and branched from.
    loaded = tiny.loaded(kind, digits=digits)
    asked = requests()
    found = dict(score(loaded, asked, label_rule=label_rule, token_budget=50))
    assert loaded.notes["shares"] is True
    assert sorted(found) == list(range(len(asked))) != []
    rules = set()
    for index in range(0, len(asked), 3):
        expected, rule = reference(loaded, asked[index], kind, label_rule)
        got = found[index]
        rules.add(rule)
        assert got.rule == rule
        np.testing.assert_allclose(got.logprobs, expected, atol=3e-5)
        assert got.mass == pytest.approx(np.exp(expected).sum(), rel=1e-4)
        assert got.probs.sum() == pytest.approx(1, abs=1e-12)
        np.testing.assert_allclose(got.probs, np.exp(expected) / np.exp(expected).sum(), atol=1e-5)
    several = {LABEL: NOT_CONTINUED, TURN: WHOLE}[label_rule]
    assert rules == ({SINGLE} if digits == "whole" else {SINGLE, several})


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_the_padded_way_gives_the_same(kind):
    loaded = tiny.loaded(kind, digits="split")
    asked = requests(countries=("KEN",))
    shared = dict(score(loaded, asked))
    loaded.notes["shares"] = False
    padded = dict(score(loaded, asked, token_budget=300))
    assert sorted(padded) == sorted(shared) == list(range(len(asked))) != []
    for index, plain in padded.items():
        np.testing.assert_allclose(plain.logprobs, shared[index].logprobs, atol=3e-5)


@pytest.mark.parametrize("precision", ["nf4", "int8"])
@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma2"])
def test_a_quantised_model_equals_its_own_plain_forward(tmp_path, kind, precision):
    from core.models.load import load
    from core.models.spec import ModelSpec

    folder = tiny.save(tmp_path / "m", kind)
    loaded = load(ModelSpec(str(folder), precision=precision))
    asked = requests(countries=("KEN",), orders="given")
    found = dict(score(loaded, asked))
    assert loaded.notes["shares"] is True
    gaps = []
    for index, request in enumerate(asked):
        expected, _ = reference(loaded, request, kind, LABEL)
        gaps.append(np.abs(found[index].logprobs - expected).max())
    # bf16 keeps 8 bits: logits of size 10 are rounded to 0.06; labels of a few tokens add up.
    assert np.mean(gaps) < 0.15


@pytest.mark.parametrize("label_rule", [LABEL, TURN])
def test_one_and_ten_never_share_mass(label_rule):
    # A model that always writes "1", then "0", then ends its turn: a ten, never a one.
    loaded = tiny.loaded("qwen2", digits="split")
    one, zero = encode(loaded, "10")
    end = encode(loaded, "<|im_end|>")[0]

    class Ten(torch.nn.Module):
        def forward(self, hidden):
            logits = torch.full((*hidden.shape[:-1], 700), -20.0)
            logits[..., one] = 0.0
            for row, after in enumerate(self.after):
                logits[0, row, :] = -20.0
                logits[0, row, {one: zero, zero: end}.get(after, one)] = 20.0
            return logits

    head = Ten()
    loaded.model.lm_head = head
    loaded.notes["shares"] = True
    inner = loaded.model.model

    def remember(module, args, kwargs, output):
        keep = seen["logits_to_keep"].tolist()
        head.after = [int(seen["input_ids"][0, place]) for place in keep]

    seen = {}
    loaded.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(kwargs), with_kwargs=True
    )
    inner.register_forward_hook(remember, with_kwargs=True)
    item = SURVEY.item("Q164")  # importance of God, 1 to 10
    prompt = render(item, PROMPTS)
    request = Request(prompt.messages, prompt.labels)
    [(_, found)] = score(loaded, [request], label_rule=label_rule, token_budget=4096)
    assert found.rule == {LABEL: NOT_CONTINUED, TURN: WHOLE}[label_rule]
    assert prompt.labels[int(found.probs.argmax())] == "10"
    assert found.probs[prompt.labels.index("1")] < 1e-6
    assert found.mass == pytest.approx(1, abs=1e-5)


def test_labels_of_one_token_need_no_end_of_turn():
    loaded = tiny.loaded("llama", digits="whole")
    item = SURVEY.item("Q164")
    prompt = render(item, PROMPTS)
    assert all(len(encode(loaded, label)) == 1 for label in prompt.labels)
    [(_, found)] = score(loaded, [Request(prompt.messages, prompt.labels)])
    assert found.rule == SINGLE


def test_a_thought_the_template_writes_first_belongs_to_the_prompt():
    loaded = tiny.loaded("qwen3")
    loaded.tokenizer.chat_template = tiny.THINKING
    request = Request([{"role": "user", "content": "Rate it."}], ("1", "2"))
    [(_, found)] = score(loaded, [request])
    ids = encode(loaded, chat_text(loaded, request.messages) + "<think>\n\n</think>\n\n")
    with torch.no_grad():
        expected = torch.log_softmax(loaded.model(torch.tensor([ids])).logits[0, -1], -1)
    labels = [encode(loaded, label)[0] for label in request.labels]
    np.testing.assert_allclose(found.logprobs, expected[labels].numpy(), atol=1e-5)


def test_each_distinct_beginning_is_computed_once_and_one_path_is_kept(monkeypatch):
    loaded = tiny.loaded("llama")
    asked = requests(items=("Q1", "Q57", "Q254"), countries=("KEN", "DEU", "BRA"))
    loaded.notes["shares"] = True
    computed, alive = [], []
    step = option_scoring._Walk.step

    def counted(walk):
        computed.append(walk.size)
        answers = step(walk)
        alive.append(walk.cache.get_seq_length())
        return answers

    monkeypatch.setattr(option_scoring._Walk, "step", counted)
    list(score(loaded, asked, token_budget=64))
    prompts = [chat(loaded, request.messages) for request in asked]
    distinct = {tuple(ids[: i + 1]) for ids in prompts for i in range(len(ids))}
    assert sum(computed) == len(distinct) < 0.6 * sum(map(len, prompts))
    assert max(computed) <= 64
    assert max(alive) <= max(map(len, prompts))  # never more than one path, however many prompts


def test_identical_requests_are_answered_each():
    loaded = tiny.loaded("qwen2")
    request = requests(items=("Q57",), countries=(), orders="given")[0]
    found = dict(score(loaded, [request] * 5))
    assert len({tuple(found[i].logprobs) for i in range(5)}) == 1


def test_a_stop_takes_effect_before_the_next_step():
    loaded = tiny.loaded("llama")
    asked = requests()
    polls = []

    def stop():
        polls.append(1)
        return len(polls) > 2

    found = list(score(loaded, asked, token_budget=200, stop=stop))
    assert 0 < len(found) < len(asked)
    assert len(polls) == 3


def test_progress_counts_to_the_end():
    seen = []
    asked = requests(countries=())
    list(
        score(tiny.loaded("llama"), asked, token_budget=100, on_progress=lambda *a: seen.append(a))
    )
    assert seen[-1] == (len(asked), len(asked))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_model_with_attention_of_its_own_takes_the_padded_way():
    # GPT-2 asks for positions in its own way, but attends through the interface; BLOOM's ALiBi
    # does not. Either way the answers equal a plain forward.
    from transformers import BloomConfig, BloomForCausalLM

    from core.models.load import wrap

    torch.manual_seed(0)
    model = BloomForCausalLM(
        BloomConfig(vocab_size=700, hidden_size=64, n_layer=2, n_head=4, initializer_range=0.3)
    )
    loaded = wrap(model, tiny.tokenizer("llama"), name="tiny bloom")
    asked = requests(countries=("KEN",), orders="given")
    found = dict(score(loaded, asked))
    assert loaded.notes["shares"] is False
    for index in (0, 3, 6):
        expected, _ = reference(loaded, asked[index], "llama", LABEL)
        np.testing.assert_allclose(found[index].logprobs, expected, atol=3e-5)


def test_attention_is_put_back_as_it_was():
    loaded = tiny.loaded("gemma2")
    before = loaded.model.config._attn_implementation
    steps = score(loaded, requests(), token_budget=60)
    next(steps)
    ids = torch.tensor([chat(loaded, [{"role": "user", "content": "Hello"}])])
    between = loaded.model(ids, use_cache=False).logits  # a plain forward in the middle of a run
    list(steps)
    assert loaded.model.config._attn_implementation == before
    assert token_tree.ATTENTION not in modeling_utils.ALL_ATTENTION_FUNCTIONS
    fresh = tiny.loaded("gemma2").model(ids, use_cache=False).logits
    assert torch.equal(between, fresh)


def test_labels_that_look_alike_are_refused_in_words():
    loaded = tiny.loaded("llama")
    for labels in (("1", "1"), (), ("1", "")):
        with pytest.raises(ModelError, match="distinct"):
            list(score(loaded, [Request([{"role": "user", "content": "?"}], labels)]))


def test_probabilities_survive_labels_of_tiny_mass():
    loaded = tiny.loaded("llama", scale=1.0)
    loaded.model.lm_head.weight.data.mul_(30)  # logits in the hundreds
    found = [scored for _, scored in score(loaded, requests(countries=()))]
    assert min(scored.logprobs.min() for scored in found) < -100
    for scored in found:
        assert np.isfinite(scored.logprobs).all()
        assert math.isclose(scored.probs.sum(), 1)


def always_says_one() -> Loaded:
    """A model that writes 1 whatever it is asked: it sees the last token alone, and that is the
    same at the end of every prompt."""
    loaded = tiny.loaded("llama")
    last = chat(loaded, [{"role": "user", "content": "?"}])[-1]
    (one,) = encode(loaded, "1")
    with torch.no_grad():
        for layer in loaded.model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        seen = loaded.model.model.norm(loaded.model.model.embed_tokens.weight[last])
        loaded.model.lm_head.weight.zero_()
        loaded.model.lm_head.weight[one] = 30 * seen / seen.norm() ** 2
    return loaded


@pytest.mark.parametrize("orders", ["given", "reversed", "both", "cyclic"])
def test_an_answer_is_recorded_under_its_code_whatever_the_order_it_was_shown_in(orders):
    settings = AskSettings(
        model=ModelSpec("tiny"), method="plain", cultures=(), items=("Q1", "Q57", "Q164"),
        item_set="", survey=SURVEY.id, survey_version=SURVEY.version, prompt_set=PROMPTS.id,
        prompt_sha256=PROMPTS.sha256, orders=orders,
    )  # fmt: skip
    found = {
        (answer.item, answer.number): answer
        for batch in responses.ask(
            always_says_one(), settings, Questionnaire(settings, SURVEY, PROMPTS).planned()
        )
        for answer in batch
    }
    assert len(found) == sum(len(option_orders(i, orders)) for i in SURVEY.select(settings.items))
    for (item_id, number), answer in found.items():
        item = SURVEY.item(item_id)
        order = option_orders(item, orders)[number]
        # On a number scale 1 is 1; elsewhere it stands beside the option that was shown first.
        meant = 1 if item_id == "Q164" else item.options[order[0]].code
        assert answer.chosen == meant
        assert answer.probs[item.codes.index(meant)] > 0.999
