import io
import json
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    get_cosine_schedule_with_warmup,
)

from core.errors import ModelError, PluriscopeError
from core.inference.label_rules import LABEL, TURN
from core.inference.labels import Request
from core.inference.option_scoring import score
from core.jobs.messages import Finished, ModelChanged, Phase, read_line
from core.jobs.worker import Channel, Worker
from core.models import catalogue, memory_fit
from core.models.load import chat, encode, load
from core.models.memory_fit import TrainingRoom
from core.models.spec import BUILTIN, ModelSpec
from core.prompts.prompt_sets import load_prompt_set
from core.prompts.render import render
from core.survey.survey import load_bundled
from core.tuning.lessons import lessons, read_examples
from core.tuning.messages import Stepped, Train
from core.tuning.settings import Lora
from core.tuning.train import (
    Engine,
    backward,
    chosen,
    learning_rate,
    load_base,
    lora_config,
    train,
)
from tests import tiny
from tests.training_examples import examples, write

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[3]
SURVEY = load_bundled()
PROMPTS = load_prompt_set()
KINDS = {"llama": "whole", "qwen2": "split", "gemma2": "split"}


def adapted(kind: str, digits: str | None = None, **changes):
    """A tiny model with an adapter on all linear layers that changes its answers."""
    loaded = tiny.loaded(kind, digits=digits or KINDS.get(kind), **changes)
    torch.manual_seed(3)
    model = get_peft_model(loaded.model, lora_config(Lora(rank=4, alpha=8)))
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


def plain_soft(loaded, kind: str, batch: list[dict], label_rule: str = LABEL) -> float:
    """KL(target || labels), each label from an unbatched forward of its own."""
    total, whole = 0.0, sum(example["weight"] for example in batch)
    for example in batch:
        prompt = chat(loaded, example["messages"])
        one_token = all(len(encode(loaded, label)) == 1 for label in example["labels"])
        logprobs = []
        for label in example["labels"]:
            ends = label_rule == TURN and not one_token
            tail = reply(loaded, kind, label) if ends else encode(loaded, label)
            logits = loaded.model(torch.tensor([prompt + tail]), use_cache=False).logits[0]
            steps = torch.log_softmax(logits, -1)[len(prompt) - 1 : -1]
            logprobs.append(sum(steps[i, token] for i, token in enumerate(tail)))
        if label_rule == LABEL and not one_token and "10" in example["labels"]:
            one, ten = (example["labels"].index(label) for label in ("1", "10"))
            logprobs[one] = torch.log(logprobs[one].exp() - logprobs[ten].exp())
        target = torch.tensor(example["target"], dtype=torch.float32)
        loss = (torch.xlogy(target, target) - target * torch.stack(logprobs)).sum()
        loss = loss * example["weight"] / whole
        loss.backward()
        total += float(loss.detach())
    return total


WAYS = {
    "tree": (True, TrainingRoom(300, False)),
    "tree, layers again": (True, TrainingRoom(300, True)),
    "padded": (False, TrainingRoom(300, False)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("labels", ["hard", "soft", "soft, end of turn"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_gradients_are_those_of_the_plain_padded_batch(kind, labels, way):
    loaded = adapted(kind)
    labels, _, ends = labels.partition(", ")
    label_rule = TURN if ends else LABEL
    batch = examples(labels, items=("Q57", "Q164"))
    for place, example in enumerate(batch):
        example["weight"] = 1.0 if labels == "hard" else 0.5 + place / len(batch)
    if labels == "hard":
        expected, wanted = gradients(loaded, lambda: plain_hard(loaded, kind, batch))
    else:
        expected, wanted = gradients(loaded, lambda: plain_soft(loaded, kind, batch, label_rule))
    # A budget of 300 tokens cuts the batch into several packs, some in the middle of a country.
    shared, room = WAYS[way]
    engine = Engine(loaded, room, shared)
    if room.again:
        loaded.model.gradient_checkpointing_enable({"use_reentrant": False})
    found, got = gradients(
        loaded, lambda: backward(engine, lessons(loaded, batch, label_rule)).loss
    )
    assert found == pytest.approx(expected, rel=1e-5)
    largest = max(np.abs(grad).max() for grad in wanted.values())
    for name, grad in wanted.items():
        np.testing.assert_allclose(got[name], grad, atol=1e-5 * largest, err_msg=name)


def test_the_shift_is_measured_against_the_world():
    # Two options. People here: 3 to 1; the world: 1 to 3. The model, whose weights are all zero,
    # gives every label the same, so its share is 1 to 1 and nothing is left of the vocabulary.
    # Shares over the world's: people 9 to 1, so 0.9 and 0.1; the model 3 to 1, so 0.75 and 0.25.
    loaded = tiny.loaded("llama", scale=1e-9)
    example = examples("soft", items=("Q57",), countries=("KEN",))[0]
    example |= {"target": [0.75, 0.25], "labels": ["1", "2"]}
    plain = lessons(loaded, [example])
    example["shift"] = {"world": [0.25, 0.75], "weight": 0.5}
    shifted = lessons(loaded, [example])
    engine = Engine(adapted("llama", scale=1e-9), TrainingRoom(500, False), True)
    gap = backward(engine, shifted).loss - backward(engine, plain).loss
    expected = 0.9 * np.log(0.9 / 0.75) + 0.1 * np.log(0.1 / 0.25)
    assert gap == pytest.approx(0.5 * expected, rel=1e-3)


@pytest.mark.parametrize("kind", list(tiny.TEMPLATES))
@pytest.mark.parametrize("digits", ["whole", "split"])
def test_only_the_answer_is_learned_whatever_the_template(kind, digits):
    # Gemma has no system role. What is learned is the label and the mark that ends the turn,
    # each after exactly the text the template writes before it.
    loaded = tiny.loaded(kind, digits=digits)
    batch = examples("hard", countries=("KEN",))
    for example, lesson in zip(batch, lessons(loaded, batch), strict=True):
        answer = reply(loaded, kind, example["labels"][int(np.argmax(example["target"]))])
        assert lesson.prompt.tolist() == chat(loaded, example["messages"])
        assert [(list(after), list(wanted)) for after, wanted in lesson.queries] == [
            (answer[:place], [token]) for place, token in enumerate(answer)
        ]
        assert lesson.count == len(answer)


def test_a_template_with_a_thought_is_learned_after_the_thought():
    loaded = tiny.loaded("qwen3")
    loaded.tokenizer.chat_template = tiny.THINKING
    example = examples("hard", items=("Q57",), countries=("KEN",))[0]
    lesson = lessons(loaded, [example])[0]
    assert loaded.tokenizer.decode(lesson.prompt.tolist()).endswith("<think>\n\n</think>\n\n")


# -- against transformers' own Trainer -------------------------------------------------------------


def trainer_losses(loaded, kind: str, batch: list[dict], lora: Lora) -> tuple[list[float], dict]:
    """The loss of each step and the weights at the end, by Trainer with PEFT, same batches."""
    rows = []
    for step in range(lora.steps(len(batch))):
        for place in chosen(len(batch), lora, 7, step):
            example = batch[place]
            prompt = chat(loaded, example["messages"])
            answer = reply(loaded, kind, example["labels"][int(np.argmax(example["target"]))])
            rows.append({"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer})

    def collate(some: list[dict]) -> dict:
        longest = max(len(row["input_ids"]) for row in some)

        def padded(name: str, filler: int) -> torch.Tensor:
            return torch.tensor([r[name] + [filler] * (longest - len(r[name])) for r in some])

        lengths = torch.tensor([[len(row["input_ids"])] for row in some])
        return {
            "input_ids": padded("input_ids", 0),
            "labels": padded("labels", -100),
            "attention_mask": (torch.arange(longest)[None] < lengths).long(),
        }

    losses = []

    class Watch(TrainerCallback):
        def on_log(self, args, state, control, logs, **_):
            losses.extend([logs["loss"]] if "loss" in logs else [])

    torch.manual_seed(7)
    model = get_peft_model(loaded.model, lora_config(lora))
    arguments = TrainingArguments(
        per_device_train_batch_size=2,
        gradient_accumulation_steps=lora.batch // 2,
        max_steps=lora.steps(len(batch)),
        learning_rate=lora.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=lora.warmup,
        train_sampling_strategy="sequential",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    Trainer(
        model, arguments, train_dataset=rows, data_collator=collate, callbacks=[Watch()]
    ).train()
    return losses, {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}


def test_steps_are_those_of_transformers_trainer(tmp_path, tiny_model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = ModelSpec(str(tiny_model), precision="fp32")
    batch = examples("hard")
    lora = Lora(rank=4, alpha=8, batch=6, epochs=2, learning_rate=0.01, warmup=0.0)
    steps = []
    train(spec, write(tmp_path, batch), lora, tmp_path / "ours", seed=7, on_step=steps.append)
    losses, weights = trainer_losses(load(spec), "llama", batch, lora)
    assert len(steps) == len(losses) == 4
    np.testing.assert_allclose([step.loss for step in steps], losses, rtol=1e-3)
    ours = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tiny_model, dtype="float32"), tmp_path / "ours"
    )
    for name, weight in ours.named_parameters():
        if "lora_" in name:
            torch.testing.assert_close(weight, weights[name], atol=1e-4, rtol=1e-3)


def test_the_rate_of_learning_is_transformers_cosine():
    lora = Lora(learning_rate=2e-4, warmup=0.1)
    # Of one step, or of few, none is at rate 0.
    for steps in (1, 2, 5, 10):
        assert all(learning_rate(lora, step, steps) > 0 for step in range(steps))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lora.learning_rate)
    schedule = get_cosine_schedule_with_warmup(optimizer, 5, 48)  # warm-up: a tenth, rounded up
    for step in range(48):
        assert learning_rate(lora, step, 48) == pytest.approx(schedule.get_last_lr()[0], abs=1e-12)
        schedule.step()


@pytest.mark.parametrize("pairs,steps", [(62_127, 485), (77_086, 602), (100, 1)])
def test_steps_are_the_studys(pairs, steps):
    assert Lora().steps(pairs) == steps  # 62,127 / 128 = 485.4; 77,086 / 128 = 602.2


def test_every_epoch_takes_each_example_once_in_another_order():
    lora = Lora(batch=5, epochs=2)
    first, second = (
        [int(i) for s in range(e * 4, e * 4 + 4) for i in chosen(20, lora, 1, s)] for e in (0, 1)
    )
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second


def test_an_adapter_of_a_large_model_has_as_many_weights_as_the_studys():
    config = LlamaConfig(
        vocab_size=128_256,
        hidden_size=4096,
        intermediate_size=14_336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
    )
    with torch.device("meta"):
        model = get_peft_model(AutoModelForCausalLM.from_config(config), lora_config(Lora()))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 20_971_520


# -- one training from beginning to end ------------------------------------------------------------


def weights(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


SHORT = Lora(
    rank=4, alpha=8, dropout=0.1, batch=4, epochs=2, learning_rate=0.01, checkpoint_every=2
)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, tiny_model):
    """A training of 8 steps, never interrupted: its folder and the file it learned from."""
    home = tmp_path_factory.mktemp("uninterrupted")
    path = write(home, examples())
    train(ModelSpec(str(tiny_model), precision="fp32"), path, SHORT, home / "adapter", seed=5)
    return home / "adapter", path


def test_the_model_that_is_trained_on_is_named_while_it_is_held(tmp_path, tiny_model):
    stream = io.StringIO()
    spec = ModelSpec(str(tiny_model), precision="fp32")
    path = write(tmp_path, examples())
    Worker(Channel(stream)).run("j", Train(spec, path, SHORT, 5, tmp_path / "a"))
    events = [read_line(line)[1] for line in stream.getvalue().splitlines()]
    kinds = [type(event) for event in events]
    held = [event.held for event in events if isinstance(event, ModelChanged)]
    assert [one and one.name for one in held] == [tiny_model.name, None]
    assert held[0].memory_bytes > 0
    assert kinds.index(ModelChanged) < kinds.index(Stepped) and kinds[-1] is Finished


def test_countries_share_a_base_until_its_files_are_others(tmp_path, tiny_model):
    place = shutil.copytree(tiny_model, tmp_path / "tiny-chat")
    path = write(tmp_path, examples(countries=("KEN",)))
    stream = io.StringIO()
    worker = Worker(Channel(stream))

    def tune(iso3: str) -> str:
        """The revision of the base that a country's adapter says it was trained on."""
        folder = tmp_path / "adapters" / "each" / iso3
        spec = ModelSpec(str(place), precision="fp32")
        worker.run(iso3, Train(spec, path, SHORT, 5, folder, iso3=iso3))
        return json.loads((folder / "adapter_config.json").read_text())["revision"]

    first = tune("DEU")
    assert tune("KEN") == first
    shutil.copy(tiny.save(tmp_path / "other", seed=5) / "model.safetensors", place)
    assert tune("BRA") != first
    events = [read_line(line) for line in stream.getvalue().splitlines()]
    loads = [job for job, event in events if event == Phase("loading")]
    assert loads == ["DEU", "BRA"]


def test_a_stop_keeps_what_was_trained_and_resume_ends_at_the_same_bits(
    tmp_path, tiny_model, uninterrupted
):
    whole, path = uninterrupted
    spec = ModelSpec(str(tiny_model), precision="fp32")
    steps = []
    first = train(
        spec, path, SHORT, tmp_path, seed=5, on_step=steps.append, stop=lambda: len(steps) == 3
    )
    assert not first.complete and first.facts["steps"] == 3
    kept = weights(tmp_path)
    assert kept != weights(whole)
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model), tmp_path)
    again = []
    second = train(spec, path, SHORT, tmp_path, seed=5, on_step=again.append)
    # The steps before are told again: whoever listened may not have lived to note them.
    assert again[:3] == steps
    assert second.complete and [step.step for step in again] == list(range(1, 9))
    assert weights(tmp_path) == weights(whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in whole.iterdir())


CHILD = """
import os, signal, sys
import torch
from pathlib import Path
from core.models.spec import ModelSpec
from core.tuning.settings import Lora
from core.tuning.train import train
torch.set_num_threads(1)
def on_step(step):
    if step.step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
lora = Lora(**{lora})
train(ModelSpec({model!r}, precision="fp32"), Path({path!r}), lora, Path({folder!r}), seed=5,
      on_step=on_step)
"""


def test_after_kill_nine_a_training_ends_at_the_same_bits(tmp_path, tiny_model, uninterrupted):
    whole, path = uninterrupted
    code = CHILD.format(
        lora=SHORT.__dict__, model=str(tiny_model), path=str(path), folder=str(tmp_path)
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [p.name for p in (tmp_path / "unfinished").iterdir()] == ["step-000004"]
    assert not (tmp_path / "adapter_model.safetensors").exists()
    # A checkpoint that was being written when the power went, and one that is damaged.
    (tmp_path / "unfinished" / "step-000006.part").mkdir()
    damaged = tmp_path / "unfinished" / "step-000006"
    damaged.mkdir()
    good = tmp_path / "unfinished" / "step-000004"
    (damaged / "place.json").write_bytes((good / "place.json").read_bytes())
    (damaged / "state.safetensors").write_bytes((good / "state.safetensors").read_bytes()[:900])
    steps = []
    train(
        ModelSpec(str(tiny_model), precision="fp32"), path, SHORT, tmp_path, seed=5,
        on_step=steps.append,
    )  # fmt: skip
    assert [step.step for step in steps] == list(range(1, 9))
    assert weights(tmp_path) == weights(whole)


def test_what_is_finished_is_not_trained_again_and_what_changed_is(
    tmp_path, tiny_model, uninterrupted
):
    whole, path = uninterrupted
    spec = ModelSpec(str(tiny_model), precision="fp32")
    steps = []
    written = (whole / "adapter_model.safetensors").stat().st_mtime_ns
    again = train(spec, path, SHORT, whole, seed=5, on_step=steps.append)
    assert again.complete and [step.step for step in steps] == list(range(1, 9))
    assert (whole / "adapter_model.safetensors").stat().st_mtime_ns == written
    steps = []
    train(spec, path, SHORT, tmp_path, seed=5, on_step=steps.append, stop=lambda: len(steps) == 2)
    train(spec, path, SHORT, tmp_path, seed=6, on_step=steps.append, stop=lambda: len(steps) == 3)
    assert [step.step for step in steps] == [1, 2, 1]  # another seed is another training


def test_fewer_tokens_at_once_change_nothing_else(tmp_path, tiny_model, uninterrupted):
    _, path = uninterrupted
    lora = Lora(**{**SHORT.__dict__, "dropout": 0.0})
    spec = ModelSpec(str(tiny_model), precision="fp32")
    found = {}
    for tokens in (4096, 200):
        small = Lora(**{**lora.__dict__, "micro_tokens": tokens})
        found[tokens] = []
        train(spec, path, small, tmp_path / str(tokens), seed=5, on_step=found[tokens].append)
    np.testing.assert_allclose(
        [step.loss for step in found[200]], [step.loss for step in found[4096]], rtol=1e-5
    )


def test_a_full_disk_is_said_and_the_last_checkpoint_stays(tmp_path, tiny_model, uninterrupted):
    whole, path = uninterrupted
    spec = ModelSpec(str(tiny_model), precision="fp32")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(step):
        if step.step == 3:  # from here on no file may grow beyond 10 KB, as on a full disk
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))

    try:
        with pytest.raises(ModelError, match="Make room on the disk"):
            train(spec, path, SHORT, tmp_path, seed=5, on_step=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [p.name for p in (tmp_path / "unfinished").iterdir()] == ["step-000002"]
    train(spec, path, SHORT, tmp_path, seed=5)
    assert weights(tmp_path) == weights(whole)


def test_running_out_of_memory_names_what_to_turn(tmp_path, tiny_model, uninterrupted):
    def gobble(step):
        torch.empty(1 << 50)

    spec = ModelSpec(str(tiny_model), precision="fp32")
    with pytest.raises(ModelError, match=r"Tokens at once.*4-bit"):
        train(spec, uninterrupted[1], SHORT, tmp_path, seed=5, on_step=gobble)


@pytest.mark.parametrize("precision", ["nf4", "bf16"])
def test_a_model_of_fewer_bits_is_tuned_and_left_as_it_was(tmp_path, tiny_model, precision, bf16):
    spec = ModelSpec(str(tiny_model), precision=precision)
    path = write(tmp_path, examples())
    lora = Lora(rank=4, alpha=16, batch=16, epochs=12, learning_rate=0.02)
    base = load_base(spec, lora)
    before = [p.detach().clone() for p in base.model.parameters()]
    steps = []
    train(spec, path, lora, tmp_path / "a", seed=5, base=base, on_step=steps.append)
    assert np.mean([s.loss for s in steps[-3:]]) < 0.7 * steps[0].loss
    after = list(base.model.parameters())
    assert len(before) == len(after)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    tuned = load(ModelSpec(str(tiny_model), precision=precision, adapter=str(tmp_path / "a")))
    assert np.isfinite(next(score(tuned, [Request(*asked())]))[1].logprobs).all()


def asked() -> tuple:
    item = SURVEY.item("Q57")
    prompt = render(item, PROMPTS, "country", SURVEY.culture("KEN"))
    return prompt.messages, prompt.labels


def test_a_loss_that_is_no_number_stops_with_a_sentence(tmp_path, tiny_model):
    lora = Lora(rank=4, batch=4, epochs=40, learning_rate=1e20, warmup=0.0, max_grad_norm=1e30)
    with pytest.raises(ModelError, match="learning rate"):
        train(
            ModelSpec(str(tiny_model), precision="fp32"),
            write(tmp_path, examples()),
            lora,
            tmp_path / "a",
            seed=5,
        )


@pytest.mark.parametrize(
    "line",
    [
        "not JSON",
        '{"messages": [], "labels": ["1", "2"], "target": [1, 0]}',
        '{"messages": [{"role": "user", "content": "?"}], "labels": ["1", "2"], "target": [1]}',
        '{"messages": [{"role": "user", "content": "?"}], "labels": ["1"], "target": [0.5]}',
        '{"messages": [{"role": "user", "content": "?"}], "labels": ["1", "2"], "target": [2, -1]}',
    ],
)
def test_a_line_that_is_no_example_is_named(tmp_path, line):
    path = tmp_path / "examples.jsonl"
    path.write_text(json.dumps(examples()[0]) + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(PluriscopeError, match="Line 2"):
        read_examples(path)


def test_no_examples_are_refused(tmp_path):
    with pytest.raises(PluriscopeError, match="no examples"):
        read_examples(write(tmp_path, []))


# -- what it takes ---------------------------------------------------------------------------------


def test_room_for_training_is_kept_then_shared_then_refused(tiny_model, monkeypatch):
    config = tiny.config("llama").to_dict()
    each = memory_fit.training_token_bytes(config, "fp32", again=False)
    gigabytes = 1024 * each / 0.8
    assert memory_fit.training_room(config, "fp32", 1024, int(2 * gigabytes)) == (1024, False)
    assert memory_fit.training_room(config, "fp32", 4096, int(gigabytes) + 9) == (1024, False)
    assert memory_fit.training_room(config, "fp32", 4096, int(gigabytes / 4)).again
    monkeypatch.setattr(memory_fit, "free_memory", lambda: ("cpu", 64 * 1024**2))
    fit = memory_fit.fit_training(ModelSpec(str(tiny_model), precision="fp32"))
    assert not fit.fits and "only 64 MiB are free" in fit.sentence
    with pytest.raises(ModelError, match="only 64 MiB"):
        load_base(ModelSpec(str(tiny_model)), Lora(precision="fp32"))


def test_a_large_model_is_tuned_in_four_bit_within_a_small_card(monkeypatch):
    monkeypatch.setattr(memory_fit, "free_memory", lambda: ("cuda", 24 * 1024**3))
    monkeypatch.setattr(memory_fit, "_card_computes_in", lambda: "bf16")
    llama = next(e for e in catalogue.to_download() if "8" in e.name and e.family == "Llama")
    fit = memory_fit.fit_training(ModelSpec(llama.source))
    assert fit.fits and fit.precision == "nf4"
    assert 5 < fit.needed_bytes["nf4"] / 1024**3 < 9 < fit.needed_bytes["bf16"] / 1024**3
    # 20,971,520 weights of 28 bytes, as the count of the adapter's weights is.
    config = {
        "num_hidden_layers": 32, "hidden_size": 4096, "intermediate_size": 14336,
        "num_attention_heads": 32, "num_key_value_heads": 8,
    }  # fmt: skip
    assert memory_fit._adapter_bytes(config, 8) == 28 * 20_971_520


# -- on the built-in model -------------------------------------------------------------------------


def closeness(spec: ModelSpec, asked: list[dict]) -> float:
    """1 - mean normalised earth mover's distance to people."""
    requests = [Request(one["messages"], one["labels"]) for one in asked]
    found = dict(score(load(spec), requests))
    gaps = [
        np.abs(np.cumsum(found[i].probs - np.array(one["target"])))[:-1].sum()
        / (len(one["labels"]) - 1)
        for i, one in enumerate(asked)
    ]
    return 100 * (1 - float(np.mean(gaps)))


def test_learning_peoples_shares_brings_the_built_in_model_closer_to_them(tmp_path):
    # Items whose answers by country the model was never shown, on a scale of 1 to 10 or 1 to 4.
    held_out = (BUILTIN / "held_out_items.txt").read_text(encoding="utf-8").split()
    items = [
        i for i in held_out
        if i in {x.id for x in SURVEY.items} and SURVEY.item(i).scale == "ordinal"
    ][:6]  # fmt: skip
    asked = examples(items=items, countries=("KEN", "DEU", "JPN"))
    spec = ModelSpec("builtin")
    lora = Lora(batch=12, epochs=15, learning_rate=5e-3)
    steps = []
    train(spec, write(tmp_path, asked), lora, tmp_path / "a", seed=5, on_step=steps.append)
    assert np.mean([s.loss for s in steps[-3:]]) < 0.5 * np.mean([s.loss for s in steps[:3]])
    before = closeness(spec, asked)
    after = closeness(ModelSpec("builtin", adapter=str(tmp_path / "a")), asked)
    assert after > before + 3
