import gc
import json
import shutil
import weakref

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from core.errors import ModelError
from core.inference.labels import Request
from core.inference.option_scoring import score
from core.models import memory_fit
from core.models.chat_template import folds_system
from core.models.load import (
    ModelSlot,
    chat,
    chat_text,
    compute_dtype,
    load,
    memory_in_words,
    stop_tokens,
)
from core.models.spec import PRECISIONS, ModelSpec
from tests import tiny

pytestmark = pytest.mark.usefixtures("one_thread")

ASK = [
    {"role": "system", "content": "You grew up in Kenya."},
    {"role": "user", "content": "Rate it from 1 to 3."},
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two small models and two adapters of the first."""
    home = tmp_path_factory.mktemp("models")
    llama = tiny.save(home / "llama", "llama")
    tiny.save(home / "gemma", "gemma2")
    tiny.save_adapter(home / "first", llama, seed=1)
    tiny.save_adapter(home / "second", llama, seed=2)
    return home


def answers(loaded) -> np.ndarray:
    return dict(score(loaded, [Request(ASK, ("1", "2", "3"))]))[0].logprobs


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_model_loads_in_each_precision(folders, precision, bf16):
    loaded = load(ModelSpec(str(folders / "llama"), precision=precision))
    layer = loaded.model.model.layers[0].self_attn.q_proj
    kinds = {"nf4": "Linear4bit", "int8": "Linear8bitLt", "bf16": "Linear", "fp32": "Linear"}
    assert type(layer).__name__ == kinds[precision]
    assert loaded.precision == memory_fit.loaded_as(precision)
    if precision == "nf4":
        assert layer.weight.quant_state.quant_type == "nf4"
        assert layer.weight.quant_state.nested  # double quantisation
        assert layer.compute_dtype == compute_dtype()
    assert np.isfinite(answers(loaded)).all()


def test_the_precision_that_is_estimated_is_the_one_that_is_loaded(folders, bf16):
    here, dtype = ("bf16", torch.bfloat16) if bf16 else ("fp32", torch.float32)
    assert memory_fit.computes_in() == here and compute_dtype() is dtype
    said = []
    loaded = load(ModelSpec(str(folders / "llama"), precision="bf16"), on_phase=said.append)
    assert loaded.precision == memory_fit.loaded_as("bf16") == here
    assert loaded.model.dtype is dtype
    assert said[-1] == f"Loading llama in {'16-bit (bf16)' if bf16 else '32-bit'}"


def test_automatic_precision_is_four_bit(folders):
    assert load(ModelSpec(str(folders / "llama"))).precision == "nf4"


def test_lower_precision_takes_less_memory(folders, bf16):
    spec = [ModelSpec(str(folders / "llama"), precision=p) for p in ("nf4", "int8", "bf16", "fp32")]
    nf4, int8, half, whole = (load(s).memory_bytes for s in spec)
    assert nf4 < int8 < half
    assert half < whole if bf16 else half == whole  # held in what is computed in


def test_phases_are_told_in_words(folders):
    said = []
    load(
        ModelSpec(str(folders / "llama"), precision="fp32", adapter=str(folders / "first")),
        on_phase=said.append,
    )
    assert said == ["Looking for the model", "Loading llama in 32-bit", "Adding the adapter"]


def test_the_revision_of_a_folder_changes_with_its_weights(folders, tmp_path):
    spec = ModelSpec(str(folders / "llama"), precision="fp32")
    one, again = load(spec), load(spec)
    other = load(ModelSpec(str(tiny.save(tmp_path / "llama", seed=5)), precision="fp32"))
    assert one.revision == again.revision != other.revision
    assert one.revision.startswith("sha256:")


def test_a_model_without_a_system_role_gets_the_text_in_the_first_turn():
    gemma, llama = tiny.loaded("gemma2"), tiny.loaded("llama")
    assert gemma.folds_system and not llama.folds_system
    text = chat_text(gemma, ASK)
    assert "<start_of_turn>user\nYou grew up in Kenya.\n\nRate it from 1 to 3.<end_of_turn>" in text
    assert text.endswith("<start_of_turn>model\n")
    assert "<|start_header_id|>system" in chat_text(llama, ASK)


def test_a_template_that_drops_the_system_text_is_noticed():
    loaded = tiny.loaded("qwen2")
    silent = "{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] }}{% endif %}"
    loaded.tokenizer.chat_template = silent + "{% endfor %}"
    assert folds_system(loaded.tokenizer, "silent")


def test_special_tokens_are_written_once():
    loaded = tiny.loaded("llama")
    ids = chat(loaded, ASK)
    assert ids.count(loaded.tokenizer.bos_token_id) == 1
    assert ids[0] == loaded.tokenizer.bos_token_id


def test_a_template_that_writes_the_date_writes_the_same_one_tomorrow():
    loaded = tiny.loaded("llama")
    loaded.tokenizer.chat_template = (
        "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}"
        "{% endif %}Today: {{ date_string }} {{ messages[0]['content'] }}"
    )
    assert chat_text(loaded, ASK[1:]).startswith("Today: 26 Jul 2024")


@pytest.mark.parametrize("kind", list(tiny.TEMPLATES))
def test_the_end_of_turn_of_the_template_stops_writing(kind):
    loaded = tiny.loaded(kind)
    loaded.tokenizer.eos_token = "<|end_of_text|>"  # as on models that name another one
    loaded.model.generation_config.eos_token_id = None
    ends = {loaded.tokenizer.decode([token]) for token in stop_tokens(loaded)}
    assert ends == {tiny.END_OF_TURN[kind], "<|end_of_text|>"}


# -- adapters --------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "nf4"])
def test_an_adapter_leaves_no_trace(folders, precision):
    slot = ModelSlot()
    base = ModelSpec(str(folders / "llama"), precision=precision)

    def on(name):
        return ModelSpec(base.source, precision=precision, adapter=str(folders / name))

    bare = answers(slot.get(base))
    first = answers(slot.get(on("first")))
    second = answers(slot.get(on("second")))
    assert np.abs(bare - first).max() > 0.01
    assert np.abs(first - second).max() > 0.01
    np.testing.assert_array_equal(answers(slot.get(base)), bare)
    np.testing.assert_array_equal(answers(slot.get(on("first"))), first)
    np.testing.assert_array_equal(answers(load(on("second"))), second)  # as if loaded afresh


def test_changing_the_adapter_reads_no_weights_again(folders):
    slot = ModelSlot()
    spec = ModelSpec(str(folders / "llama"), precision="fp32")
    before = slot.get(spec).model.get_input_embeddings().weight
    tuned = slot.get(ModelSpec(spec.source, precision="fp32", adapter=str(folders / "first")))
    assert tuned.model.get_input_embeddings().weight is before
    assert tuned.adapter_sha256 and slot.get(spec).adapter_sha256 is None


def test_a_stale_reference_fails_in_words(folders):
    slot = ModelSlot()
    spec = ModelSpec(str(folders / "llama"), precision="fp32")
    stale = slot.get(spec)
    slot.get(ModelSpec(spec.source, precision="fp32", adapter=str(folders / "first")))
    with pytest.raises(ModelError, match="unloaded"):
        answers(stale)


def test_an_adapter_of_another_model_is_refused(folders, tmp_path):
    with pytest.raises(ModelError, match="tuned on llama, not on gemma"):
        load(ModelSpec(str(folders / "gemma"), precision="fp32", adapter=str(folders / "first")))
    # The same name, but other shapes.
    wide = tiny.save(tmp_path / "llama", "llama", hidden_size=128)
    slot = ModelSlot()
    bare = answers(slot.get(ModelSpec(str(wide), precision="fp32")))
    with pytest.raises(ModelError, match="does not fit"):
        slot.get(ModelSpec(str(wide), precision="fp32", adapter=str(folders / "first")))
    kept = slot.get(ModelSpec(str(wide), precision="fp32"))
    np.testing.assert_array_equal(answers(kept), bare)


def test_an_adapter_of_another_version_is_refused(folders, tmp_path):
    adapter = shutil.copytree(folders / "first", tmp_path / "old")
    config = json.loads((adapter / "adapter_config.json").read_text())
    base = ModelSpec(str(folders / "llama"), precision="fp32")
    for revision, fits in ((load(base).revision, True), ("sha256:" + "0" * 64, False)):
        (adapter / "adapter_config.json").write_text(json.dumps({**config, "revision": revision}))
        spec = ModelSpec(base.source, precision="fp32", adapter=str(adapter))
        if fits:
            assert load(spec).adapter_sha256
        else:
            with pytest.raises(ModelError, match="another version"):
                load(spec)


def test_a_folder_that_is_no_adapter_is_refused(folders):
    spec = ModelSpec(str(folders / "llama"), precision="fp32", adapter=str(folders / "gemma"))
    with pytest.raises(ModelError, match="not an adapter"):
        load(spec)


# -- the model held ------------------------------------------------------------------------------


def test_the_old_model_is_gone_before_the_next_is_read(folders, monkeypatch):
    slot = ModelSlot()
    held = slot.get(ModelSpec(str(folders / "llama"), precision="fp32"))
    weights = weakref.ref(held.model.model.layers[0].mlp.up_proj.weight)
    alive = []
    read = AutoModelForCausalLM.from_pretrained

    def watched(*args, **kwargs):
        alive.append(weights() is not None)
        return read(*args, **kwargs)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", watched)
    slot.get(ModelSpec(str(folders / "gemma"), precision="fp32"))  # `held` is still in our hands
    assert alive == [False]
    assert slot.current.name == "gemma"


def test_the_same_spec_is_handed_out_again(folders):
    slot = ModelSlot()
    spec = ModelSpec(str(folders / "llama"), precision="fp32")
    assert slot.get(spec) is slot.get(spec)
    slot.unload()
    assert slot.current is None


def test_another_adapter_of_the_same_folder_name_is_the_one_that_answers(folders, tmp_path):
    place = shutil.copytree(folders / "first", tmp_path / "mine")
    base = ModelSpec(str(folders / "llama"), precision="fp32")
    spec = ModelSpec(base.source, precision="fp32", adapter=str(place))
    slot = ModelSlot()
    weights = slot.get(base).model.get_input_embeddings().weight
    first = slot.get(spec).adapter_sha256
    shutil.rmtree(place)
    with pytest.raises(ModelError, match="not an adapter"):  # and the deleted one does not answer
        slot.get(spec)
    shutil.copytree(folders / "second", place)
    retrained = slot.get(spec)
    assert retrained.adapter_sha256 != first
    np.testing.assert_array_equal(answers(retrained), answers(load(spec)))
    assert slot.get(spec) is retrained
    assert retrained.model.get_input_embeddings().weight is weights  # the base is not read again


@pytest.mark.parametrize("then", [None, "first"])
def test_weights_replaced_in_their_folder_are_read_anew(folders, tmp_path, then):
    place = shutil.copytree(folders / "llama", tmp_path / "llama")
    spec = ModelSpec(str(place), precision="fp32")
    slot = ModelSlot()
    before = slot.get(spec).revision
    other = tiny.save(tmp_path / "other", "llama", seed=5)
    shutil.copy(other / "model.safetensors", place)  # as many bytes as before
    wanted = ModelSpec(spec.source, precision="fp32", adapter=then and str(folders / then))
    now = slot.get(wanted)
    assert now.revision != before
    np.testing.assert_array_equal(answers(now), answers(load(wanted)))
    assert slot.get(wanted) is now


def test_another_chat_template_in_the_folder_is_read_anew(folders, tmp_path):
    place = shutil.copytree(folders / "llama", tmp_path / "llama")
    spec = ModelSpec(str(place), precision="fp32")
    slot = ModelSlot()
    slot.get(spec)
    (place / "chat_template.jinja").write_text(tiny.CHATML)
    assert "<|im_start|>user" in chat_text(slot.get(spec), ASK)


def test_a_model_deleted_from_its_folder_answers_no_more(folders, tmp_path):
    place = shutil.copytree(folders / "llama", tmp_path / "llama")
    slot = ModelSlot()
    slot.get(ModelSpec(str(place), precision="fp32"))
    shutil.rmtree(place)
    with pytest.raises(ModelError, match="There is no folder"):
        slot.get(ModelSpec(str(place), precision="fp32"))


def test_a_model_that_is_not_there_leaves_the_one_held(folders):
    slot = ModelSlot()
    held = slot.get(ModelSpec(str(folders / "llama"), precision="fp32"))
    with pytest.raises(ModelError):
        slot.get(ModelSpec(str(folders / "nowhere")))
    assert slot.current is held
    assert np.isfinite(answers(held)).all()


def test_unloading_frees_the_weights_of_a_tuned_model(folders):
    slot = ModelSlot()
    held = slot.get(
        ModelSpec(str(folders / "llama"), precision="fp32", adapter=str(folders / "first"))
    )
    weights = weakref.ref(held.model.get_input_embeddings().weight)
    slot.unload()
    del held
    gc.collect()
    assert weights() is None


# -- failures in words -----------------------------------------------------------------------------


def test_no_network_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("PLURISCOPE_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nobody there
    with pytest.raises(ModelError, match="there is no connection to"):
        load(ModelSpec("pluriscope-test/does-not-exist"))


def test_a_damaged_shard_is_named(folders, tmp_path):
    copy = shutil.copytree(folders / "llama", tmp_path / "cut")
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=r"model.safetensors in cut is damaged"):
        load(ModelSpec(str(copy)))


def test_no_chat_template_is_said(tmp_path):
    folder = tiny.save(tmp_path / "base", "llama", template="")
    with pytest.raises(ModelError, match="no chat template"):
        load(ModelSpec(str(folder)))


def test_pickle_weights_are_refused(folders, tmp_path):
    copy = shutil.copytree(folders / "llama", tmp_path / "old")
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors only"):
        load(ModelSpec(str(copy)))


def test_code_that_comes_with_a_model_needs_consent(folders, tmp_path):
    copy = shutil.copytree(folders / "llama", tmp_path / "own")
    config = json.loads((copy / "config.json").read_text())
    config |= {
        "model_type": "own",
        "auto_map": {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"},
    }
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "own.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelError, match="run this model's own code"):
        load(ModelSpec(str(copy), precision="fp32"))


def test_running_out_of_memory_is_said():
    with pytest.raises(ModelError, match="not enough memory for X"), memory_in_words("X"):
        torch.empty(1 << 60, dtype=torch.uint8)


def test_a_model_too_large_is_refused_before_it_is_read(folders, monkeypatch):
    monkeypatch.setattr(memory_fit, "free_memory", lambda: ("cpu", 1000))
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", None)  # must not be called
    with pytest.raises(ModelError, match=r"needs about .* but only 1 KiB are free"):
        load(ModelSpec(str(folders / "llama")))
