"""Whatever is wrong with a model's files, it is said of the model and before anything is asked."""

import re
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from core.errors import ModelError
from core.inference.chat_frames import frames_of
from core.inference.option_scoring import Request, score
from core.models import catalogue, memory_fit
from core.models.embedding import embed
from core.models.load import ModelSlot, load
from core.models.spec import ModelSpec
from tests import tiny
from tests.unit.models.damage import DAMAGES, WEIGHTS, value, without

pytestmark = pytest.mark.usefixtures("one_thread")

ASK = [{"role": "user", "content": "Rate it from 1 to 3."}]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("sound") / "sound", "llama")


@pytest.fixture
def folder(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "broken")


def answers(loaded) -> np.ndarray:
    return dict(score(loaded, [Request(ASK, ("1", "2", "3"))]))[0].logprobs


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_folder_is_refused_in_a_sentence(folder, kind):
    damage, words = DAMAGES[kind]
    damage(folder)
    catalogue.at(folder)  # what a list of models and the form show does not fail either
    with pytest.raises(ModelError) as refused:
        frames_of(load(ModelSpec(str(folder), precision="fp32")))
    said = str(refused.value)
    assert words in said and ("broken" in said or "config.json" in said)
    assert len(said) < 600 and "Traceback" not in said and "Resume" not in said


@pytest.mark.parametrize("precision", ["nf4", "int8", "bf16"])
def test_values_that_are_no_numbers_are_found_in_each_precision(folder, precision):
    value(folder, "model.layers.0.self_attn.q_proj.weight", float("nan"))
    with pytest.raises(ModelError, match=r"self_attn\.q_proj\.weight"):
        load(ModelSpec(str(folder), precision=precision))


@pytest.mark.parametrize("kind", ["llama", "gemma2", "qwen2"])
def test_an_output_head_that_is_the_embeddings_need_not_be_stored(tmp_path, kind):
    folder = tiny.save(tmp_path / kind, kind, tie_word_embeddings=True)
    assert "lm_head.weight" not in load_file(folder / WEIGHTS)
    spec = ModelSpec(str(folder), precision="fp32")
    np.testing.assert_array_equal(answers(load(spec)), answers(load(spec)))


def test_parts_that_are_not_asked_may_lie_in_the_files(folder):
    spec = ModelSpec(str(folder), precision="fp32")
    before = answers(load(spec))
    weights = load_file(folder / WEIGHTS)
    weights |= {
        "vision_tower.patch.weight": torch.zeros(2, 2),
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(8),
    }
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    np.testing.assert_array_equal(answers(load(spec)), before)


def test_a_broken_model_leaves_nothing_half_loaded(folder, sound):
    slot = ModelSlot()
    good = ModelSpec(str(sound), precision="fp32")
    before = answers(slot.get(good))
    DAMAGES["a matrix missing"][0](folder)
    with pytest.raises(ModelError):
        slot.get(ModelSpec(str(folder), precision="fp32"))
    assert slot.current is None
    np.testing.assert_array_equal(answers(slot.get(good)), before)


def test_weights_mended_in_their_place_are_read_again(folder, sound):
    spec = ModelSpec(str(folder), precision="fp32")
    value(folder, "model.norm.weight", float("nan"))
    with pytest.raises(ModelError):
        load(spec)
    shutil.copy(sound / WEIGHTS, folder / WEIGHTS)
    assert np.isfinite(answers(load(spec))).all()


def test_what_does_not_fit_in_memory_is_still_said_so(folder, monkeypatch):
    monkeypatch.setattr(memory_fit, "free_memory", lambda: ("cpu", 1000))
    with pytest.raises(ModelError, match="needs about"):
        load(ModelSpec(str(folder)))


@pytest.mark.parametrize(
    ("part", "words"), [("encoder.layer.1.", "encoder.layer.1."), ("pooler", "")]
)
def test_an_encoder_for_meanings_has_all_its_layers(tmp_path, part, words):
    folder = tiny.encoder(tmp_path / "encoder")
    before = embed(folder, ["family", "work"])
    without(folder, part)
    if words:
        with pytest.raises(ModelError, match=re.escape(words)):
            embed(folder, ["family", "work"])
    else:
        np.testing.assert_array_equal(embed(folder, ["family", "work"]), before)
