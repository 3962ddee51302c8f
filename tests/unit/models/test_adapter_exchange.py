import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from streamlit.testing.v1 import AppTest
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.errors import ImportRefused, ModelError
from core.inference.labels import Request
from core.inference.option_scoring import score
from core.jobs.choices import AskChoices
from core.jobs.plan import plan_survey
from core.jobs.queue import Jobs, open_jobs
from core.models import adapters, catalogue, memory_fit
from core.models import files as models_files
from core.models import load as models_load
from core.models.adapter_exchange import bring_in, export_zip, write_index
from core.models.adapters import by_adapter
from core.models.files import problem
from core.models.load import ModelSlot, load
from core.models.spec import BUILTIN, ModelSpec
from core.store.store import Store
from core.tuning.merge import merge
from core.tuning.settings import Lora
from core.tuning.train import train
from tests import tiny
from tests.training_examples import examples, write

pytestmark = pytest.mark.usefixtures("one_thread")

COUNTRIES = ("DEU", "KEN")
LORA = Lora(rank=4, alpha=8, batch=4, epochs=2, learning_rate=0.02)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, tiny_model) -> Path:
    """A home with an adapter for all countries ("joint") and one for each of two ("each")."""
    home = tmp_path_factory.mktemp("tuned")
    spec = ModelSpec(str(tiny_model), precision="fp32")
    path = write(home, examples())
    train(spec, path, LORA, home / "adapters" / "joint", seed=1, title="All: *one*")
    for iso3 in COUNTRIES:
        path = write(home, examples(countries=(iso3,)), f"{iso3}.jsonl")
        train(spec, path, LORA, home / "adapters" / "each" / iso3, seed=1)
    write_index(home / "adapters" / "each", "One for each")
    return home


def ask(loaded) -> np.ndarray:
    request = examples(items=("Q164",), countries=("KEN",))[0]
    return next(score(loaded, [Request(request["messages"], request["labels"])]))[1].logprobs


# -- what an adapter is ----------------------------------------------------------------------------


def test_an_adapter_loads_with_plain_peft_and_answers_the_same(tuned, tiny_model):
    folder = tuned / "adapters" / "joint"
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_model)
    ours = load(ModelSpec(str(tiny_model), precision="fp32", adapter=str(folder)))
    assert config["revision"] == ours.revision
    assert (
        ours.adapter_sha256
        == hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()
    )
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype="float32")
    theirs = PeftModel.from_pretrained(base, folder).eval()
    request = examples(items=("Q57",), countries=("KEN",))[0]
    words = AutoTokenizer.from_pretrained(tiny_model)
    ids = words.apply_chat_template(
        request["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    with torch.no_grad():
        logprobs = torch.log_softmax(theirs(ids).logits[0, -1], -1)
    found = next(score(ours, [Request(request["messages"], request["labels"])]))[1].logprobs
    tokens = [words.convert_tokens_to_ids(label) for label in request["labels"]]
    np.testing.assert_allclose(found, logprobs[tokens].numpy(), atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "nf4"])
def test_adapters_never_leak_into_the_base_or_into_one_another(tuned, tiny_model, precision):
    slot = ModelSlot()
    base = ModelSpec(str(tiny_model), precision=precision)
    home = tuned / "adapters"
    specs = [
        ModelSpec(base.source, precision=precision, adapter=str(folder))
        for folder in (home / "joint", home / "each" / "KEN", home / "each" / "DEU")
    ]
    bare = ask(slot.get(base))
    weights = slot.get(base).model.get_input_embeddings().weight
    first = [ask(slot.get(spec)) for spec in specs]
    np.testing.assert_array_equal(ask(slot.get(base)), bare)
    assert slot.get(base).model.get_input_embeddings().weight is weights  # never loaded again
    again = [ask(slot.get(spec)) for spec in reversed(specs)][::-1]
    np.testing.assert_array_equal(ask(slot.get(base)), bare)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.abs(one - bare).max() > 1e-3
    assert np.abs(first[1] - first[2]).max() > 1e-3


def test_a_model_merged_from_the_built_in_one_stays_a_teaching_model(tuned, tiny_model, tmp_path):
    folders = [tmp_path / name for name in ("merged", "again", "other")]
    first = tiny.save_adapter(tmp_path / "first", BUILTIN)
    merge(ModelSpec("builtin", adapter=str(first)), folders[0])
    second = tiny.save_adapter(tmp_path / "second", folders[0])
    merge(ModelSpec(str(folders[0]), adapter=str(second)), folders[1])
    merge(ModelSpec(str(tiny_model), adapter=str(tuned / "adapters" / "joint")), folders[2])
    told = [catalogue.is_teaching(ModelSpec(str(folder))) for folder in folders]
    assert told == [True, True, False]


def test_a_merged_model_answers_as_the_adapter_does(tuned, tiny_model, tmp_path):
    spec = ModelSpec(str(tiny_model), adapter=str(tuned / "adapters" / "joint"))
    folder = tmp_path / "models" / "merged"
    folder.parent.mkdir()
    merge(spec, folder)
    assert sorted(p.name for p in folder.parent.iterdir()) == ["merged"]
    weights = tuned / "adapters" / "joint" / "adapter_model.safetensors"
    assert catalogue.merged_sha256(ModelSpec(str(folder))) == (
        hashlib.sha256(weights.read_bytes()).hexdigest()
    )
    assert catalogue.merged_sha256(spec) is None
    merged = load(ModelSpec(str(folder), precision="fp32"))
    with_adapter = load(ModelSpec(str(tiny_model), precision="fp32", adapter=spec.adapter))
    np.testing.assert_allclose(ask(merged), ask(with_adapter), atol=1e-4)
    assert problem(folder) == ""


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("here", [torch.bfloat16, torch.float16, torch.float32])
def test_merged_weights_are_rounded_once_to_the_precision_they_are_stored_in(
    tiny_model, tmp_path, monkeypatch, dtype, here
):
    """Whatever precision this machine computes in."""
    monkeypatch.setattr(models_load, "compute_dtype", lambda: here)
    base = shutil.copytree(tiny_model, tmp_path / "tiny-chat")
    AutoModelForCausalLM.from_pretrained(base, dtype=dtype).save_pretrained(base)
    adapter = tiny.save_adapter(tmp_path / "adapter", base, scale=0.1)
    merge(ModelSpec(str(base), adapter=str(adapter)), tmp_path / "merged")
    before, after = (load_file(f / "model.safetensors") for f in (base, tmp_path / "merged"))
    lora = load_file(adapter / "adapter_model.safetensors")
    assert after.keys() == before.keys()
    changed = 0
    for name, weight in before.items():
        layer = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{layer}.lora_A.weight" in lora:
            a, b = (lora[f"{layer}.lora_{side}.weight"].float() for side in "AB")
            changed += 1
            weight = (weight.float() + b @ a).to(dtype)  # its alpha is its rank: scale 1
        assert after[name].dtype is dtype
        torch.testing.assert_close(after[name], weight, rtol=0, atol=0)
    assert changed == 3 * 3
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config["dtype"] == str(dtype).removeprefix("torch.")


def test_what_cannot_be_held_as_it_is_stored_is_not_merged(
    tuned, tiny_model, tmp_path, monkeypatch
):
    spec = ModelSpec(str(tiny_model), adapter=str(tuned / "adapters" / "joint"))
    stored = models_files.weights(tiny_model).stored_bytes
    monkeypatch.setattr(memory_fit, "free_memory", lambda: ("cpu", stored // 2))
    with pytest.raises(ModelError, match="Merging into tiny-chat needs about"):
        merge(spec, tmp_path / "merged")
    monkeypatch.setattr(memory_fit, "free_memory", lambda: ("cpu", 2 * stored))
    merge(spec, tmp_path / "merged")
    assert models_files.problem(tmp_path / "merged") == ""


# -- one for each country --------------------------------------------------------------------------


def test_each_country_is_answered_by_its_own_adapter_and_plain_by_the_base(
    tuned, tiny_model, tmp_path
):
    spec = ModelSpec(str(tiny_model), precision="fp32", adapter=str(tuned / "adapters" / "each"))
    own = by_adapter(spec, ("", "BRA", *COUNTRIES))
    assert {Path(s.adapter).name if s.adapter else "": whom for s, whom in own.items()} == {
        "": ("", "BRA"),
        "DEU": ("DEU",),
        "KEN": ("KEN",),
    }
    store = Store(tmp_path)
    jobs = Jobs(store)
    try:
        asked = {}
        for name, model in {
            "each": spec,
            "bare": ModelSpec(str(tiny_model), precision="fp32"),
            **{
                iso3: ModelSpec(spec.source, precision="fp32", adapter=f"{spec.adapter}/{iso3}")
                for iso3 in COUNTRIES
            },
        }.items():
            plan = plan_survey(store, AskChoices(model, cultures="KEN,DEU,BRA", items="Q57,Q164"))
            job = jobs.wait(jobs.start(plan))
            assert job.state == "done", job.error
            runs = {store.run(run_id).method: store.run(run_id) for run_id in job.runs}
            asked[name] = {
                method: store.answers(run.no).set_index(["iso3", "item", "number"])["probs"]
                for method, run in runs.items()
            }
            if name == "each":
                facts = runs["country"].facts
        assert facts["adapter_sha256"] == adapters.adapters_sha256(Path(spec.adapter))
        furthest: dict[str, float] = {}
        same = {"KEN": "KEN", "DEU": "DEU", "BRA": "bare"}
        for key, probs in asked["each"]["country"].items():
            # The same prompts in another company: equal but for the order of additions.
            np.testing.assert_allclose(probs, asked[same[key[0]]]["country"][key], atol=1e-5)
            apart = np.abs(probs - asked["bare"]["country"][key]).max()
            furthest[key[0]] = max(furthest.get(key[0], 0.0), apart)
        assert furthest["BRA"] < 1e-5 and min(furthest["KEN"], furthest["DEU"]) > 1e-3
        for key, probs in asked["each"]["plain"].items():
            np.testing.assert_array_equal(probs, asked["bare"]["plain"][key])
    finally:
        jobs.close()
        store.close()


def test_both_kinds_are_listed_once(tuned):
    found = {entry.path.name: entry for entry in adapters.adapters(tuned)}
    assert set(found) == {"joint", "each"}
    assert found["joint"].countries == () and found["joint"].name == "All: *one*"
    assert found["each"].countries == COUNTRIES and found["each"].name == "One for each"
    assert found["each"].complete and found["each"].size_bytes > found["joint"].size_bytes
    assert found["each"].base_name == "tiny-chat"


# -- out and in ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["joint", "each"])
def test_an_export_comes_back_the_same(tuned, tiny_model, tmp_path, name):
    entry = next(e for e in adapters.adapters(tuned) if e.path.name == name)
    data = export_zip(entry)
    assert data == export_zip(entry)
    back = bring_in(data, tmp_path).adapter
    assert back.path.parent == tmp_path / "adapters"
    assert (back.name, back.countries) == (entry.name, entry.countries)
    for iso3 in entry.countries or ("",):
        spec = ModelSpec(str(tiny_model), precision="fp32", adapter=str(back.path / iso3))
        there = ModelSpec(str(tiny_model), precision="fp32", adapter=str(entry.path / iso3))
        np.testing.assert_array_equal(ask(load(spec)), ask(load(there)))
    second = bring_in(data, tmp_path).adapter
    assert second.path != back.path and back.path.exists()
    assert not list((tmp_path / "tmp").iterdir())


def test_a_folder_made_by_plain_peft_is_brought_in_and_its_base_found(tmp_path, tiny_model):
    home = tmp_path / "home"
    shutil.copytree(tiny_model, home / "models" / "tiny-chat")
    made = tiny.save_adapter(tmp_path / "from elsewhere", tiny_model)
    brought = bring_in(made, home)
    assert brought.adapter.path.name == "from-elsewhere"
    assert brought.base and brought.base.name == "tiny-chat"
    assert (made / "adapter_config.json").exists()  # a copy; what was there stays
    loaded = load(ModelSpec(str(tiny_model), precision="fp32", adapter=str(brought.adapter.path)))
    assert np.isfinite(ask(loaded)).all()


def test_an_adapter_named_by_three_capitals_stays_one_among_others(tuned, tiny_model, tmp_path):
    home = tmp_path / "home"
    made = tiny.save_adapter(tmp_path / "SPA", tiny_model)
    shutil.copytree(tuned / "adapters" / "joint", home / "adapters" / "joint")
    kept = bring_in(made, home).adapter
    assert not adapters.ISO3.fullmatch(kept.path.name) and "SPA" in kept.name
    assert kept.countries == ()
    shutil.copytree(made, home / "adapters" / "ABC")  # put there by hand
    found = {entry.path for entry in adapters.adapters(home)}
    assert found == {home / "adapters" / "joint", home / "adapters" / "ABC", kept.path}
    assert all(entry.countries == () for entry in adapters.adapters(home))


def test_an_adapter_called_by_three_capitals_is_exported_as_one(tuned, tmp_path):
    made = shutil.copytree(tuned / "adapters" / "joint", tmp_path / "mine")
    record = json.loads((made / "training.json").read_text())
    (made / "training.json").write_text(json.dumps({**record, "title": "SPA"}))
    back = bring_in(export_zip(adapters.adapter_entry(made)), tmp_path / "home").adapter
    assert (back.name, back.countries) == ("SPA", ())


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.fixture
def parts(tmp_path, tiny_model) -> dict[str, bytes]:
    """The two files of a good adapter."""
    made = tiny.save_adapter(tmp_path / "good", tiny_model)
    return {
        name: (made / name).read_bytes()
        for name in ("adapter_config.json", "adapter_model.safetensors")
    }


def changed(parts: dict[str, bytes], **config) -> dict[str, bytes]:
    record = {**json.loads(parts["adapter_config.json"]), **config}
    return {**parts, "adapter_config.json": json.dumps(record).encode()}


def test_what_is_not_a_sound_lora_is_refused_and_nothing_kept(parts, tmp_path, tiny_model):
    weights = load_file(tmp_path / "good" / "adapter_model.safetensors")
    first = next(iter(weights))

    def with_weights(some: dict) -> dict[str, bytes]:
        save_file(some, tmp_path / "w.safetensors")
        return {**parts, "adapter_model.safetensors": (tmp_path / "w.safetensors").read_bytes()}

    home = tmp_path / "home"
    shutil.copytree(tiny_model, home / "models" / "tiny-chat")
    wide = {n: torch.cat([w, w], dim=1) if "lora_A" in n else w for n, w in weights.items()}
    bad = {
        "outside its own folder": zipped({**parts, "../../evil.txt": b"x"}),
        "pickle": zipped({"adapter_config.json": parts["adapter_config.json"],
                          "adapter_model.bin": b"\x80\x04."}),
        "no adapter in it": zipped({"README.md": b"hello"}),
        "cannot be read as a zip": b"PK\x03\x04 not really",
        "not a LoRA adapter": zipped(changed(parts, peft_type="PREFIX_TUNING")),
        "whole layers": zipped(changed(parts, modules_to_save=["lm_head"])),
        "not those of a LoRA": zipped(changed(parts, target_modules="(a+)+$")),
        "damaged": zipped({**parts, "adapter_model.safetensors": b"\xff" * 90}),
        "not LoRA's": zipped(with_weights({**weights, "lm_head.weight": torch.zeros(2, 2)})),
        "do not fit each other": zipped(
            with_weights({**weights, first: torch.zeros(3, weights[first].shape[1])})
        ),
        "does not fit tiny-chat": zipped(with_weights(wide)),
        "several adapters": zipped({f"{a}/{n}": d for a in "xy" for n, d in parts.items()}),
    }  # fmt: skip
    for words, data in bad.items():
        with pytest.raises(ImportRefused, match=words):
            bring_in(data, home)
    with pytest.raises(ImportRefused, match="There is no file"):
        bring_in(tmp_path / "nowhere", home)
    assert not list((home / "adapters").iterdir())
    assert not (tmp_path / "evil.txt").exists() and not list((home / "tmp").iterdir())


def test_settings_that_name_code_or_files_are_left_out(parts, tmp_path):
    data = zipped(
        changed(
            parts,
            auto_mapping={"parent_library": "os", "base_model_class": "system"},
            megatron_config={"a": 1},
            megatron_core="os",
            loftq_config={"x": "y"},
        )
    )
    kept = bring_in(data, tmp_path).adapter
    config = json.loads((kept.path / "adapter_config.json").read_text())
    assert not {"auto_mapping", "megatron_core", "megatron_config", "loftq_config"} & set(config)


def test_a_link_in_a_folder_is_not_followed(parts, tmp_path):
    folder = tmp_path / "linked"
    folder.mkdir()
    (folder / "adapter_config.json").write_bytes(parts["adapter_config.json"])
    (folder / "adapter_model.safetensors").symlink_to(
        tmp_path / "good" / "adapter_model.safetensors"
    )
    with pytest.raises(ImportRefused):
        bring_in(folder, tmp_path / "home")


def test_an_adapter_outside_the_shelf_is_never_deleted(tuned, tmp_path):
    entry = next(e for e in adapters.adapters(tuned) if e.path.name == "joint")
    with pytest.raises(ModelError, match="it stays"):
        adapters.delete_adapter(entry, tmp_path)
    assert entry.path.exists()


# -- on the shelf of the library -------------------------------------------------------------------


def import_page():
    from pages.widgets import adapters

    adapters.choose()


def details_page():
    from core.home import home
    from core.models import adapters
    from pages.widgets.adapters import details

    details(adapters.adapters(home())[0])


def test_an_adapter_is_imported_or_refused_in_words(tuned, tiny_model, home, app):
    shutil.copytree(tiny_model, home / "models" / "tiny-chat")
    entry = next(e for e in adapters.adapters(tuned) if e.path.name == "joint")
    (home / "mine.zip").write_bytes(export_zip(entry))
    at = AppTest.from_function(import_page).run()
    at.button(key="adapter_go").click().run()
    assert "Choose a zip" in at.error[0].value
    for nothing in (str(home / "nothing.zip"), "~nosuchuser/x", "/" + "x" * 300):
        at.text_input(key="adapter_path").set_value(nothing)
        at.button(key="adapter_go").click().run()
        assert not at.exception and "There is no file" in at.error[0].value
    at.text_input(key="adapter_path").set_value(str(home / "mine.zip"))
    at.button(key="adapter_go").click().run()
    assert not at.exception and not at.error
    assert "It fits tiny-chat" in at.session_state["adapter_said"]
    assert [e.name for e in adapters.adapters(home)] == ["All: *one*"]


def test_the_library_shows_an_adapter_with_its_card_and_merges_it(tuned, tiny_model, home, app):
    shutil.copytree(tiny_model, home / "models" / "tiny-chat")
    shutil.copytree(tuned / "adapters" / "each", home / "adapters" / "each")
    (home / "adapters" / "each" / "README.md").write_text("# <b>A card</b>")
    at = app("library", shelf="Adapters")
    assert not at.exception
    assert any("one for each of 2 countries" in caption.value for caption in at.caption)
    at.button(key=f"details_{home / 'adapters' / 'each'}").click().run()
    assert not at.exception and "# <b>A card</b>" in [code.value for code in at.code]
    at = AppTest.from_function(details_page).run()
    at.text_input(key="merge_name").set_value("mine merged")
    at.selectbox(key="merge_country").set_value("KEN")
    next(b for b in at.button if b.label == "Merge and save").click().run()
    assert not at.exception and "mine-merged" in at.session_state["adapter_said"]
    jobs = open_jobs(home)
    job = jobs.wait(jobs.store.jobs()[0].id)
    assert (job.kind, job.state) == ("merge", "done"), job.error
    assert models_files.problem(home / "models" / "mine-merged") == ""
    assert not app("run").exception


def test_only_adapters_of_the_model_are_offered_with_it(tuned, home, app):
    shutil.copytree(tuned / "adapters" / "joint", home / "adapters" / "joint")
    config = home / "adapters" / "joint" / "adapter_config.json"

    def offered() -> list[str]:
        at = app("run")
        boxes = [box for box in at.selectbox if box.label == "Adapter"]
        return boxes[0].options if boxes else []

    assert offered() == []  # tuned on another model than the built-in one
    record = json.loads(config.read_text()) | {"base_model_name_or_path": "/x/builtin"}
    config.write_text(json.dumps(record))
    assert offered() == ["None", "All: *one*"]
