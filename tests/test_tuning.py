import numpy as np
import pytest
import tiny
import torch
from peft import LoraConfig, get_peft_model

from core.models import chat, encode
from core.prompts import load_prompt_set, option_orders, render
from core.survey import load_bundled
from core.tuning import Engine, backward, lessons

SURVEY = load_bundled()
PROMPTS = load_prompt_set()
KINDS = {"llama": "whole", "qwen2": "split", "gemma2": "split"}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def examples(
    labels: str = "soft", items=("Q1", "Q57", "Q164", "Q254"), countries=("KEN", "DEU")
) -> list[dict]:
    """People's shares of items with 2 to 10 options, whole or only the commonest answer."""
    made = []
    for iso3 in countries:
        for item in SURVEY.select(items):
            shares = SURVEY.shares[iso3, item.id].values
            for number, order in enumerate(option_orders(item, "both")):
                prompt = render(item, PROMPTS, "country", SURVEY.culture(iso3), order=order)
                by_code = dict(zip(item.codes, shares, strict=True))
                target = np.array([by_code[code] for code in prompt.codes])
                if labels == "hard":
                    target = np.eye(len(target))[target.argmax()]
                made.append(
                    {
                        "messages": list(prompt.messages),
                        "labels": list(prompt.labels),
                        "target": target.tolist(),
                        "weight": 1.0,
                        "iso3": iso3,
                        "item": item.id,
                        "order": number,
                        "shift": None,
                    }
                )
    return made


def adapted(kind: str, digits: str | None = None, **changes):
    """A tiny model with an adapter on all linear layers that changes its answers."""
    loaded = tiny.loaded(kind, digits=digits or KINDS.get(kind), **changes)
    torch.manual_seed(3)
    model = get_peft_model(loaded.model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    loaded.model.train()
    return loaded


def gradients(loaded, loss) -> tuple[float, dict[str, np.ndarray]]:
    """What `loss` leaves in the weights that are trained."""
    weights = {n: p for n, p in loaded.model.named_parameters() if p.requires_grad}
    for weight in weights.values():
        weight.grad = None
    found = loss()
    return found, {name: weight.grad.numpy().copy() for name, weight in weights.items()}


def reply(loaded, kind: str, label: str) -> list[int]:
    """A label and the end of the turn: the tiny templates write them as they are."""
    return encode(loaded, label) + encode(loaded, tiny.END_OF_TURN[kind])


def plain_hard(loaded, kind: str, batch: list[dict]) -> float:
    """transformers' own loss on the padded batch, prompts masked: the mean over answer tokens."""
    rows = []
    for example in batch:
        prompt = chat(loaded, example["messages"])
        answer = reply(loaded, kind, example["labels"][int(np.argmax(example["target"]))])
        rows.append((prompt + answer, [-100] * len(prompt) + answer))
    longest = max(len(ids) for ids, _ in rows)
    pad = loaded.tokenizer.pad_token_id
    ids = torch.tensor([ids + [pad] * (longest - len(ids)) for ids, _ in rows])
    mask = torch.tensor([[1] * len(r) + [0] * (longest - len(r)) for r, _ in rows])
    wanted = torch.tensor([ls + [-100] * (longest - len(ls)) for _, ls in rows])
    loss = loaded.model(ids, attention_mask=mask, labels=wanted, use_cache=False).loss
    loss.backward()
    return float(loss.detach())


def plain_soft(loaded, kind: str, batch: list[dict]) -> float:
    """KL(target || labels), each label from an unbatched forward of its own."""
    total, whole = 0.0, sum(example["weight"] for example in batch)
    for example in batch:
        prompt = chat(loaded, example["messages"])
        one_token = all(len(encode(loaded, label)) == 1 for label in example["labels"])
        logprobs = []
        for label in example["labels"]:
            tail = encode(loaded, label) if one_token else reply(loaded, kind, label)
            logits = loaded.model(torch.tensor([prompt + tail]), use_cache=False).logits[0]
            steps = torch.log_softmax(logits, -1)[len(prompt) - 1 : -1]
            logprobs.append(sum(steps[i, token] for i, token in enumerate(tail)))
        target = torch.tensor(example["target"], dtype=torch.float32)
        loss = (torch.xlogy(target, target) - target * torch.stack(logprobs)).sum()
        loss = loss * example["weight"] / whole
        loss.backward()
        total += float(loss.detach())
    return total


@pytest.mark.parametrize("shared", [True, False], ids=["tree", "padded"])
@pytest.mark.parametrize("labels", ["hard", "soft"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_gradients_are_those_of_the_plain_padded_batch(kind, labels, shared):
    loaded = adapted(kind)
    batch = examples(labels)
    for place, example in enumerate(batch):
        example["weight"] = 1.0 if labels == "hard" else 0.5 + place / len(batch)
    plain = plain_hard if labels == "hard" else plain_soft
    expected, wanted = gradients(loaded, lambda: plain(loaded, kind, batch))
    # A budget of 300 tokens cuts the batch into several packs, some in the middle of a country.
    engine = Engine(loaded, 300, shared)
    found, got = gradients(loaded, lambda: backward(engine, lessons(loaded, batch)))
    assert found == pytest.approx(expected, rel=1e-5)
    largest = max(np.abs(grad).max() for grad in wanted.values())
    for name, grad in wanted.items():
        np.testing.assert_allclose(got[name], grad, atol=1e-5 * largest, err_msg=name)
