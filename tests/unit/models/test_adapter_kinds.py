"""Every kind of LoRA adapter answers as in plain peft, and the base is the base again after it."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from streamlit.testing.v1 import AppTest
from transformers import AutoModelForCausalLM, AutoTokenizer

from core import __main__ as command
from core.errors import ImportRefused, ModelError
from core.inference.option_scoring import Request, score
from core.models import adapter_settings, adapters
from core.models.adapter_exchange import bring_in, export_zip, fitting, read_card, take_for
from core.models.load import ModelSlot, bare, load
from core.models.spec import ModelSpec
from tests import tiny

pytestmark = pytest.mark.usefixtures("one_thread")

ASK = [{"role": "user", "content": "Rate it from 1 to 3."}]
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# Settings of peft's LoraConfig; qwen2 has biases, gemma2 an output head that is its embeddings.
KINDS = {
    "plain": ("llama", {}),
    "rank stabilised": ("llama", {"use_rslora": True}),
    "DoRA": ("llama", {"use_dora": True}),
    "ranks by layer": (
        "llama",
        {"rank_pattern": {"layers.1.self_attn.q_proj": 2}, "alpha_pattern": {"q_proj": 9}},
    ),
    "some layers": ("llama", {"layers_to_transform": [0, 2], "layers_pattern": "layers"}),
    "all but some": ("llama", {"exclude_modules": ["layers.0.self_attn.q_proj"]}),
    "all but by a pattern": ("llama", {"exclude_modules": r".*layers\.[01]\..*"}),
    "all linear layers": ("llama", {"target_modules": "all-linear"}),
    "layers by a pattern": ("llama", {"target_modules": r".*\.(q|v)_proj"}),
    "biases of LoRA": ("llama", {"lora_bias": True}),
    "the output head": ("llama", {"target_modules": ["q_proj", "lm_head"]}),
    "the embeddings": ("llama", {"target_modules": ["q_proj", "embed_tokens"]}),
    "a whole output head": ("llama", {"modules_to_save": ["lm_head"]}),
    "whole embeddings": ("llama", {"modules_to_save": ["embed_tokens"]}),
    "whole norms": ("llama", {"modules_to_save": ["input_layernorm", "norm"]}),
    "some tokens": ("llama", {"trainable_token_indices": [15, 16, 17, 300]}),
    "all biases": ("qwen2", {"bias": "all"}),
    "biases of its layers": ("qwen2", {"bias": "lora_only"}),
    "a whole head that is the embeddings": ("gemma2", {"modules_to_save": ["embed_tokens"]}),
    "tokens of a head that is the embeddings": ("gemma2", {"trainable_token_indices": [15, 16]}),
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    home = tmp_path_factory.mktemp("bases")
    for kind in ("llama", "qwen2", "gemma2"):
        tiny.save(home / kind, kind)
    tiny.save_adapter(home / "other", home / "llama")
    return home


def adapter(folder, base, **settings):
    """An adapter of a kind that changes every weight that it may change."""
    torch.manual_seed(3)
    wanted = {"r": 4, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"]} | settings
    tuned = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(**wanted))
    with torch.no_grad():
        for weight in tuned.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight) * 0.3)
    tuned.save_pretrained(folder, save_embedding_layers=False)
    return folder


@pytest.fixture
def some(bases, tmp_path):
    """A plain adapter of the llama, to be changed."""
    return adapter(tmp_path / "some", bases / "llama")


def settings(folder, **changes):
    said = json.loads((folder / CONFIG).read_text()) | changes
    (folder / CONFIG).write_text(json.dumps(said))
    return folder


def answers(loaded) -> np.ndarray:
    return dict(score(loaded, [Request(ASK, ("1", "2", "3"))]))[0].logprobs


def plain(base, folder) -> np.ndarray:
    """The same in plain peft: one forward, the three labels among each other."""
    words = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, folder).eval()
    ids = words.apply_chat_template(
        ASK, add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    with torch.inference_mode():
        last = model(ids).logits[0, -1].log_softmax(-1)
    return np.array([last[words.encode(n, add_special_tokens=False)[0]] for n in "123"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_base_is_the_base_after_it(bases, tmp_path, kind):
    model, changes = KINDS[kind]
    folder = adapter(tmp_path / "kind", bases / model, **changes)
    base = ModelSpec(str(bases / model), precision="fp32")
    on = ModelSpec(base.source, precision="fp32", adapter=str(folder))
    slot = ModelSlot()
    before = answers(slot.get(base))
    tuned = answers(slot.get(on))
    np.testing.assert_allclose(tuned, plain(base.source, folder), atol=1e-4)
    assert np.abs(tuned - before).max() > 0.05
    np.testing.assert_array_equal(answers(slot.get(base)), before)
    np.testing.assert_array_equal(answers(slot.get(on)), tuned)
    if model == "llama":
        other = ModelSpec(base.source, precision="fp32", adapter=str(bases / "other"))
        np.testing.assert_array_equal(answers(slot.get(other)), answers(load(other)))
    np.testing.assert_array_equal(answers(slot.get(base)), before)


@pytest.mark.parametrize("kind", KINDS)
def test_within_bare_it_is_the_base_or_it_is_said_why_not(bases, tmp_path, kind):
    model, changes = KINDS[kind]
    folder = adapter(tmp_path / "kind", bases / model, **changes)
    before = answers(load(ModelSpec(str(bases / model), precision="fp32")))
    tuned = load(ModelSpec(str(bases / model), precision="fp32", adapter=str(folder)))
    if tuned.leaves_base:
        with bare(tuned):
            np.testing.assert_array_equal(answers(tuned), before)
    else:
        with pytest.raises(ModelError, match="one after the other"), bare(tuned):
            pass


@pytest.mark.parametrize("changes", [{}, {"modules_to_save": ["lm_head"]}], ids=["plain", "whole"])
def test_an_adapter_that_fails_half_way_leaves_the_base(bases, tmp_path, changes):
    folder = adapter(tmp_path / "broken", bases / "llama", **changes)
    weights = load_file(folder / WEIGHTS)
    weights.pop(next(name for name in weights if "layers.2" in name and "lora_B" in name))
    weights.pop(next(name for name in weights if "layers.2" in name and "lora_A" in name))
    save_file(weights, folder / WEIGHTS)
    slot = ModelSlot()
    base = ModelSpec(str(bases / "llama"), precision="fp32")
    before = answers(slot.get(base))
    with pytest.raises(ModelError):
        slot.get(ModelSpec(base.source, precision="fp32", adapter=str(folder)))
    np.testing.assert_array_equal(answers(slot.get(base)), before)


# -- settings --------------------------------------------------------------------------------------

WRONG = {
    "r": [0, -1, 1.5, "4", True, 10**9, 8],  # the tensors have 4
    "lora_alpha": [float("nan"), 1e308, float("inf"), -1, "many", True, [4]],
    "lora_dropout": [5, 1, -0.1, float("nan"), "much"],
    "bias": ["evil", True, ["none"]],
    "target_modules": ["(a+)+$", {"q_proj": 1}],
    "exclude_modules": ["(.*a+)*b", {"a": 1}],
    "layers_pattern": ["(l+)+", ["([a-z]+)*"]],
    "rank_pattern": [{"(a+)+": 2}, {"q_proj": 0}, ["q_proj"], {"q_proj": 9}, {"\\": 4}],
    "alpha_pattern": [{"q_proj": float("nan")}, {"(a|a)*": 1}],
    "use_dora": ["yes", True],  # the tensors are not DoRA's
    "modules_to_save": [[1], "(a+)+"],
    "trainable_token_indices": [[-1], "all", {"(a+)+": [1]}],
    "layer_replication": [[[0, 2], [1, 3]]],
    "kasa_config": [{"rank": 2}],
    "use_qalora": [True],
    "alora_invocation_tokens": [[1, 2]],
    "init_lora_weights": ["pissa", "pissa_niter_16", "olora", "loftq", "corda", "made up"],
    "a_new_setting": [{"that": "changes"}],
    "peft_type": ["IA3", "PREFIX_TUNING", 3, None],
}


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, values in WRONG.items() for v in values])
def test_a_setting_that_is_not_sound_is_refused_with_its_reason(bases, some, tmp_path, key, value):
    settings(some, **{key: value})
    with pytest.raises(ModelError) as refused:
        load(ModelSpec(str(bases / "llama"), precision="fp32", adapter=str(some)))
    with pytest.raises(ImportRefused) as not_kept:
        bring_in(some, tmp_path / "home")
    for said in (str(refused.value), str(not_kept.value)):
        assert "tuned on another model" not in said and len(said) < 500
    assert not list((tmp_path / "home" / "adapters").iterdir())


def test_every_setting_of_peft_is_one_that_is_known_here():
    known = {*adapter_settings.USED, *adapter_settings.RULES, *adapter_settings.HARMLESS}
    known |= {"init_lora_weights"}
    left = set(LoraConfig().to_dict()) - known
    assert left == {
        *("use_qalora", "use_bdlora", "layer_replication", "alora_invocation_tokens"),
        *("arrow_config", "kasa_config", "monteclora_config"),
    }  # those that compute otherwise, and are refused where they are set


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind][0] == "llama"])
def test_what_is_imported_answers_as_what_was_given(bases, tmp_path, kind):
    home = tmp_path / "home"
    shutil.copytree(bases / "llama", home / "models" / "llama")
    folder = adapter(tmp_path / "kind", bases / "llama", **KINDS[kind][1])
    if "modules_to_save" in KINDS[kind][1] or "trainable_token_indices" in KINDS[kind][1]:
        with pytest.raises(ImportRefused, match="whole layers"):
            bring_in(folder, home)
        return
    kept = bring_in(folder, home)
    assert kept.base.name == "llama"
    source = str(bases / "llama")
    ours = load(ModelSpec(source, precision="fp32", adapter=str(kept.adapter.path)))
    np.testing.assert_allclose(answers(ours), plain(source, folder), atol=1e-4)


def test_values_that_are_no_numbers_are_found(bases, some):
    weights = load_file(some / WEIGHTS)
    name = next(iter(weights))
    weights[name][0, 0] = float("nan")
    save_file(weights, some / WEIGHTS)
    with pytest.raises(ModelError, match=re.escape(name)):
        load(ModelSpec(str(bases / "llama"), precision="fp32", adapter=str(some)))


# -- the name of the base --------------------------------------------------------------------------

SAME = (
    "llama", "meta/llama", "unsloth/llama-bnb-4bit", "unsloth/Llama-unsloth-bnb-4bit",
    "C:\\Users\\me\\models\\llama", "C:/models/llama/", "/data/models/llama", "x/llama-GPTQ", "",
)  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_another_copy_of_the_base_is_the_base(bases, some, name):
    settings(some, base_model_name_or_path=name)
    assert load(ModelSpec(str(bases / "llama"), precision="fp32", adapter=str(some))).adapter_sha256
    assert adapters.fits_base(adapters.adapter_entry(some), str(bases / "llama"))


def test_an_adapter_of_another_name_is_taken_once_somebody_says_so(bases, some, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(bases / "llama", home / "models" / "llama")
    shutil.copytree(bases / "qwen2", home / "models" / "qwen2")
    settings(some, base_model_name_or_path="maker/theirs", revision="a" * 40)
    brought = bring_in(some, home)
    assert brought.base is None
    spec = ModelSpec(
        str(home / "models" / "llama"), precision="fp32", adapter=str(brought.adapter.path)
    )
    with pytest.raises(ModelError, match="tuned on theirs, not on llama"):
        load(spec)
    fits = {entry.name: entry for entry in fitting(brought.adapter, home)}
    assert "llama" in fits and "Built-in model" not in fits
    take_for(brought.adapter, fits["llama"])
    np.testing.assert_allclose(answers(load(spec)), plain(spec.source, some), atol=1e-4)


@pytest.fixture
def named_otherwise(bases, some, home):
    """A home with the llama, and an adapter of it that calls its base by another name."""
    shutil.copytree(bases / "llama", home / "models" / "llama")
    return settings(some, base_model_name_or_path="maker/theirs")


def test_a_command_takes_it_with_a_flag(named_otherwise, home, capsys):
    def said(*flags: str) -> dict:
        capsys.readouterr()
        assert command.main(["import", "adapter", str(named_otherwise), *flags, "--json"]) == 0
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    assert said()["model"] is None
    model = str(home / "models" / "llama")
    kept = said("--for", model)
    assert kept["model"] == kept["tuned_on"] == model
    assert load(ModelSpec(model, precision="fp32", adapter=kept["folder"])).adapter_sha256
    assert command.main(["import", "adapter", str(named_otherwise), "--for", "builtin"]) != 0
    assert "does not fit Built-in model" in capsys.readouterr().err


def details_page():
    from core.home import home
    from core.models import adapters
    from pages.widgets.adapters import details

    details(adapters.adapters(home())[0])


def test_the_page_asks_once(named_otherwise, home, app):
    kept = bring_in(named_otherwise, home).adapter
    at = AppTest.from_function(details_page).run()
    assert any("under that name" in caption.value for caption in at.caption)
    assert [box.options for box in at.selectbox] == [["llama"]]
    next(b for b in at.button if b.label == "It is this model").click().run()
    assert not at.exception and "is for llama from now on" in at.session_state["adapter_said"]
    model = str(home / "models" / "llama")
    assert load(ModelSpec(model, precision="fp32", adapter=str(kept.path))).adapter_sha256
    assert "Merge and save" in [b.label for b in AppTest.from_function(details_page).run().button]


def test_an_adapter_of_other_shapes_is_never_taken(bases, tmp_path):
    home = tmp_path / "home"
    tiny.save(home / "models" / "wide", "llama", hidden_size=128)
    folder = adapter(tmp_path / "narrow", bases / "llama")
    brought = bring_in(folder, home)
    assert [entry.name for entry in fitting(brought.adapter, home)] == []
    wide = ModelSpec(str(home / "models" / "wide"), precision="fp32", adapter=str(folder))
    settings(folder, base_model_name_or_path="wide")
    with pytest.raises(ModelError, match="does not fit wide: its layer"):
        load(wide)


# -- only ordinary files ---------------------------------------------------------------------------


def test_only_ordinary_files_are_read(some, bases, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (Path("/dev/zero"), pipe):
        with pytest.raises(ImportRefused, match="not an ordinary file"):
            bring_in(path, tmp_path / "home")
        with pytest.raises(ModelError, match="is not an adapter"):
            load(ModelSpec(str(bases / "llama"), precision="fp32", adapter=str(path)))
    shutil.copytree(some, tmp_path / "home" / "adapters" / "some")
    for name in ("README.md", "training.json"):
        (tmp_path / "home" / "adapters" / "some" / name).unlink(missing_ok=True)
        os.mkfifo(tmp_path / "home" / "adapters" / "some" / name)
    (entry,) = adapters.adapters(tmp_path / "home")
    assert entry.name == "some" and read_card(entry.path) == "" and export_zip(entry)
