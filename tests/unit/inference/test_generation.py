import numpy as np
import pytest
import torch

from core.asking.responses import answer_seed
from core.inference.generation import Written, choose, exponentials, generate
from core.models.load import chat, stop_tokens
from tests import tiny

pytestmark = pytest.mark.usefixtures("one_thread")

PLACES = ("Kenya", "Germany", "a country far away and high up in the mountains", "X")


def conversations():
    """Four, of unequal length."""
    return [
        [
            {"role": "system", "content": f"You live in {place}."},
            {"role": "user", "content": "How important is family? Explain."},
        ]
        for place in PLACES
    ]


@pytest.mark.parametrize("kind", list(tiny.TEMPLATES))
def test_a_text_does_not_depend_on_what_is_written_beside_it(kind):
    loaded = tiny.loaded(kind)
    together = generate(loaded, conversations(), max_new_tokens=24, seed=7)
    alone = [generate(loaded, [c], max_new_tokens=24, seed=7)[0] for c in conversations()]
    backwards = generate(loaded, conversations()[::-1], max_new_tokens=24, seed=7)[::-1]
    assert together == alone == backwards


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma3"])
def test_greedy_equals_transformers(kind):
    loaded = tiny.loaded(kind)
    for conversation, written in zip(
        conversations(),
        generate(loaded, conversations(), temperature=0, max_new_tokens=30),
        strict=True,
    ):
        ids = torch.tensor([chat(loaded, conversation)])
        plain = loaded.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=30,
            eos_token_id=list(stop_tokens(loaded)),
        )[0, ids.shape[1] :]
        assert written.text == loaded.tokenizer.decode(plain, skip_special_tokens=True)


def test_a_row_that_ends_its_turn_leaves_the_batch_and_the_others_go_on():
    loaded = tiny.loaded("llama")
    # The likeliest word of the third conversation's end becomes likelier still as the end of turn.
    end = next(iter(stop_tokens(loaded)))
    head = loaded.model.lm_head.weight.data
    plain = generate(loaded, conversations(), temperature=1.5, top_p=1, max_new_tokens=9, seed=1)
    word = loaded.tokenizer(plain[2].text, add_special_tokens=False)["input_ids"][-1]
    head[end] = head[word] * 1.5
    sizes = []
    loaded.model.register_forward_hook(
        lambda m, args, kw, out: sizes.append(out.logits.shape[0]), with_kwargs=True
    )
    written = generate(loaded, conversations(), temperature=1.5, top_p=1, max_new_tokens=60, seed=1)
    assert any(w.finished for w in written)
    assert sizes[0] == 4 and sizes == sorted(sizes, reverse=True) and sizes[-1] < 4
    again = [
        generate(loaded, [c], temperature=1.5, top_p=1, max_new_tokens=60, seed=1)[0]
        for c in conversations()
    ]
    assert written == again


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma2", "gemma3"])
def test_when_texts_end_others_take_their_places_and_nothing_else_changes(kind, monkeypatch):
    monkeypatch.setattr(
        "core.inference.generation.ENTER_TOKENS", 150
    )  # prompts are read a few at a time
    # A ninth of the vocabulary ends a turn, so texts are of all lengths.
    monkeypatch.setattr(
        "core.inference.generation.stop_tokens", lambda loaded: set(range(0, 700, 9))
    )
    loaded = tiny.loaded(kind)
    many = [
        [{"role": "user", "content": f"How important is {'very ' * (3 * n % 20)}old family?"}]
        for n in range(8)
    ]
    seeds = list(range(len(many)))
    settings = {"temperature": 2.0, "top_p": 1.0, "max_new_tokens": 32}
    alone = [generate(loaded, [c], seed=n, **settings)[0] for n, c in enumerate(many)]
    assert len({w.tokens for w in alone}) > 2 and any(w.finished for w in alone)

    done, rows = {}, []
    loaded.model.register_forward_hook(
        lambda m, args, kw, out: rows.append(out.logits.shape[0]), with_kwargs=True
    )
    written = generate(
        loaded, many, seeds=seeds, side_by_side=3,
        on_done=lambda row, text: done.setdefault(row, []).append(text), **settings,
    )  # fmt: skip
    assert written == alone
    assert done == {row: [text] for row, text in enumerate(alone)}
    assert max(rows) == 3 and len(rows) < sum(w.tokens for w in alone) / 1.5


def test_where_memory_is_short_fewer_are_written_at_once(monkeypatch):
    loaded = tiny.loaded("llama")
    together = generate(loaded, conversations(), max_new_tokens=8)
    rows = []
    loaded.model.register_forward_hook(
        lambda m, args, kw, out: rows.append(out.logits.shape[0]), with_kwargs=True
    )
    monkeypatch.setattr("core.inference.generation.MEMORY_SHARE", 1e-12)
    assert generate(loaded, conversations(), max_new_tokens=8) == together
    assert set(rows) == {1}


def test_seeds_are_repeatable_and_differ():
    loaded = tiny.loaded("llama")
    same = [conversations()[0]] * 3
    written = generate(loaded, same, seeds=[1, 1, 2], max_new_tokens=24)
    assert written[0] == written[1] != written[2]
    with pytest.raises(ValueError, match="2 seeds for 3"):
        generate(loaded, same, seeds=[1, 2])


def test_the_draw_follows_the_probabilities():
    logits = torch.tensor([[1.0, 0.5, 0.0, -1.0]])
    n = 4000
    drawn = choose(logits.expand(n, -1), range(n), [5] * n, 0.7, 1.0)
    expected = torch.softmax(logits[0] / 0.7, -1)
    for token in range(4):
        share, p = drawn.count(token) / n, float(expected[token])
        assert abs(share - p) < 4 * (p * (1 - p) / n) ** 0.5


def test_the_nucleus_holds_the_fewest_tokens_that_reach_top_p():
    # 0.5, 0.3, 0.15, 0.05: a nucleus of 0.7 is the first two, of 0.5 the first alone.
    logits = torch.log(torch.tensor([[0.15, 0.5, 0.05, 0.3]]))
    draw = lambda top_p: choose(logits.expand(300, -1), range(300), [0] * 300, 1.0, top_p)  # noqa: E731
    assert set(draw(0.7)) == {1, 3}
    assert set(draw(0.5)) == {1}


def test_a_flat_vocabulary_is_not_cut_short():
    logits = torch.zeros(1, 5000)
    drawn = choose(logits.expand(600, -1), range(600), [0] * 600, 1.0, 1.0)
    assert len(set(drawn)) > 500  # 256 likeliest would give at most 256


def test_random_numbers_are_exponential_and_independent():
    draws = torch.stack([exponentials(seed, 3, torch.arange(4000)) for seed in range(20)])
    assert float(draws.mean()) == pytest.approx(1, abs=0.015)
    assert float(draws.var()) == pytest.approx(1, abs=0.04)
    assert (draws > 0).all()
    between = torch.corrcoef(draws) - torch.eye(20)
    assert float(between.abs().max()) < 0.07  # 4000 draws: standard error 0.016
    steps = torch.stack([exponentials(1, step, torch.arange(4000)) for step in range(20)])
    assert float((torch.corrcoef(steps) - torch.eye(20)).abs().max()) < 0.07


def test_streamed_texts_grow_and_end_with_the_whole():
    loaded = tiny.loaded("llama")
    seen = []
    written = generate(loaded, conversations(), max_new_tokens=40, on_text=seen.append)
    assert [w.text for w in written] == seen[-1]
    assert all(len(texts) == 4 for texts in seen)


def test_a_character_in_two_tokens_is_never_shown_broken(monkeypatch):
    monkeypatch.setattr("core.inference.generation.SECONDS_BETWEEN_TEXTS", 0)
    loaded = tiny.loaded("llama")
    wanted = loaded.tokenizer("Ñandú 日本 é", add_special_tokens=False)["input_ids"]
    assert any("\ufffd" in loaded.tokenizer.decode(wanted[: i + 1]) for i in range(len(wanted)))
    script = iter([*wanted, next(iter(stop_tokens(loaded)))])
    monkeypatch.setattr("core.inference.generation.choose", lambda *args: [next(script)])
    seen = []
    [written] = generate(loaded, conversations()[:1], on_text=seen.append)
    assert written == Written("Ñandú 日本 é", len(wanted) + 1, True)
    assert not any("\ufffd" in text for texts in seen for text in texts)


def test_a_stop_keeps_what_was_written():
    loaded = tiny.loaded("llama")
    polls = []

    def stop():
        polls.append(1)
        return len(polls) > 5

    written = generate(loaded, conversations(), max_new_tokens=50, stop=stop)
    assert [w.tokens for w in written] == [5] * 4 or any(w.finished for w in written)
    assert max(w.tokens for w in written) == 5


def test_answers_of_a_run_are_draws_of_their_own_and_sides_of_a_question_are_not():
    """One label would win wherever options are about as likely, if a survey shared one seed."""
    keys = [(iso3, f"Q{n}", 0) for iso3 in ("", "KEN") for n in range(1000)]
    even = torch.zeros(len(keys), 4)
    for seed in (1, 42):
        drawn = choose(even, [answer_seed(seed, key) for key in keys], [0] * len(keys), 1.0, 1.0)
        counts = np.bincount(drawn, minlength=4) / len(keys)
        assert (abs(counts - 0.25) < 0.05).all()
        plain, kenya = np.array(drawn[:1000]), np.array(drawn[1000:])
        assert abs((plain == kenya).mean() - 0.25) < 0.05  # as two samples of the same one
        again = choose(
            even, [answer_seed(seed, (*k[:2], 1)) for k in keys], [0] * len(keys), 1.0, 1.0
        )
        assert abs((np.array(drawn) == np.array(again)).mean() - 0.25) < 0.05
    assert answer_seed(42, ("", "Q1", 0), shared=True) == answer_seed(
        42, ("KEN", "Q1", 0), shared=True
    )
    # The second sample of one seed is not the first of the next.
    assert answer_seed(42, ("KEN", "Q1", 1)) != answer_seed(43, ("KEN", "Q1", 0))
