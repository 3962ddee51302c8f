import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from core import wording
from core.errors import ModelError
from core.models import adapters, catalogue, files, memory_fit
from core.models.catalogue import describe, on_this_machine, to_download
from core.models.files import problem
from core.models.memory_fit import fit
from core.models.spec import BUILTIN, GIB, HUB_ID, MODELS, ModelSpec, resolve_precision
from tests import tiny

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("home") / "models" / "my-llama", "llama")


def test_no_torch_is_imported_and_it_is_quick():
    code = (
        "import time, sys; start = time.process_time(); import core.models.catalogue;"
        "took = time.process_time() - start;"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules; print(took)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert float(run.stdout) < 0.3


def test_a_spec_survives_json():
    spec = ModelSpec("a/b", "main", "int8", "/adapters/x", True)
    assert ModelSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert ModelSpec.from_json({"source": "a/b", "unknown": 1}) == ModelSpec("a/b")
    with pytest.raises(ModelError, match="Unknown precision"):
        ModelSpec("a/b", precision="3-bit")


def test_parameters_are_counted_by_hand(model):
    # 3 layers: q, o 64x64; k, v 64x32; gate, up, down 64x128; norms 2x64. Ends: embedding and
    # head 700x64 each, norm 64.
    facts = files.weights(model)
    assert facts.linear == 3 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128)
    assert facts.other == 3 * 2 * 64 + 2 * 700 * 64 + 64
    assert facts.stored_bytes > 4 * facts.parameters


def test_local_models_are_listed_and_damaged_ones_say_why(model, tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "hub_caches", lambda home: [])
    models = tmp_path / "models"
    shutil.copytree(model, models / "good")
    shutil.copytree(model, models / "base")
    for name in ("chat_template.jinja",):
        (models / "base" / name).unlink()
    broken = shutil.copytree(model, models / "broken") / "model.safetensors"
    broken.write_bytes(broken.read_bytes()[:-1])
    found = {entry.name: entry for entry in on_this_machine(tmp_path)}
    assert list(found) == ["base", "broken", "good"]
    assert found["good"].kind == "here" and not found["good"].problem and not found["good"].note
    assert found["good"].parameters == files.weights(model).parameters
    assert "No chat template" in found["base"].note
    assert "damaged" in found["broken"].problem


def test_the_hub_cache_is_read_without_a_network(model, tmp_path, monkeypatch):
    # The layout huggingface_hub writes: blobs, and a snapshot of links to them for each commit.
    cache = tmp_path / "hub"
    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = cache / "models--maker--Tiny-Chat"
    snapshot = repo / "snapshots" / commit
    (repo / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    for file in model.iterdir():
        shutil.copy(file, repo / "blobs" / f"blob-{file.name}")
        (snapshot / file.name).symlink_to(repo / "blobs" / f"blob-{file.name}")
    unfinished = cache / "models--maker--Unfinished" / "snapshots" / commit
    unfinished.mkdir(parents=True)
    shutil.copy(model / "config.json", unfinished)
    monkeypatch.setattr(catalogue, "hub_caches", lambda home: [cache, tmp_path / "absent"])
    [entry] = on_this_machine(tmp_path)
    assert (entry.source, entry.name, entry.revision) == ("maker/Tiny-Chat", "Tiny-Chat", None)
    assert catalogue.find(ModelSpec("maker/Tiny-Chat")) == snapshot
    assert catalogue.find(ModelSpec("maker/Tiny-Chat", revision=commit)) == snapshot
    assert catalogue.find(ModelSpec("maker/Unfinished")) is None


def test_what_is_wrong_with_a_folder_is_said(model, tmp_path):
    assert problem(model) == ""
    assert "no folder" in problem(tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no config.json" in problem(empty)

    def damaged(name: str, change) -> str:
        copy = shutil.copytree(model, tmp_path / name)
        change(copy)
        return problem(copy)

    assert "safetensors only" in damaged(
        "pickle", lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin")
    )
    assert "GGUF" in damaged("gguf", lambda f: (f / "model.safetensors").rename(f / "m.gguf"))
    assert "no tokenizer" in damaged("mute", lambda f: [p.unlink() for p in f.glob("tokenizer*")])
    assert "config.json" in damaged("words", lambda f: (f / "config.json").write_text("{"))
    assert "1 of 2 weight files are missing" in damaged(
        "half",
        lambda f: (f / "model.safetensors.index.json").write_text(
            json.dumps({"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}})
        ),
    )


@pytest.mark.parametrize("cut", [0, 5, 100, 3000])
def test_a_weight_file_cut_anywhere_is_damaged(model, tmp_path, cut):
    copy = tmp_path / "model.safetensors"
    copy.write_bytes((model / "model.safetensors").read_bytes()[:cut])
    with pytest.raises(ModelError, match="damaged"):
        files.read_header(copy)


def test_a_source_that_is_neither_folder_nor_hub_id_is_refused(tmp_path):
    for source in ("/no/such/folder", "~/nowhere-at-all", "justaname", "../x", "a/b/c"):
        with pytest.raises(ModelError, match="no folder"):
            catalogue.find(ModelSpec(source))
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")
    with pytest.raises(ModelError, match="is a file"):
        catalogue.find(ModelSpec(str(file)))


ODD_PATHS = ("~nosuchuser/x", "/" + "x" * 300, "x" * 300, "a/" + "b" * 300, "a\0b", "~nosuchuser")


@pytest.mark.parametrize("source", ODD_PATHS)
def test_an_odd_path_is_refused_in_a_sentence(source):
    with pytest.raises(ModelError):
        catalogue.find(ModelSpec(source))
    assert describe(ModelSpec("builtin", adapter=source)).startswith("Built-in model")
    assert adapters.adapter_entry(Path(source)) is None
    odd = ModelSpec("builtin", adapter=source)
    assert adapters.by_adapter(odd, ("KEN",)) == {odd: ("KEN",)}


def test_an_odd_revision_is_no_model_here(model, tmp_path, monkeypatch):
    cache = tmp_path / "hub"
    (cache / "models--maker--Tiny" / "refs").mkdir(parents=True)
    (cache / "models--maker--Tiny" / "snapshots").mkdir()
    monkeypatch.setattr(catalogue, "hub_caches", lambda home: [cache])
    for revision in ("..", "x" * 300):
        assert catalogue.find(ModelSpec("maker/Tiny", revision)) is None


def test_a_folder_that_may_not_be_entered_is_refused_in_a_sentence(model, tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "hub_caches", lambda home: [])
    shut = shutil.copytree(model, tmp_path / "models" / "shut")
    stat = os.stat

    def refusing(path, *args, **options):
        if Path(str(path)).parent == shut:
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *args, **options)

    monkeypatch.setattr(os, "stat", refusing)  # tests may run as root, who may enter all folders
    for source in (shut, shut / "inside"):
        with pytest.raises(ModelError, match="Permission denied"):
            catalogue.find(ModelSpec(str(source)))
    assert adapters.adapter_entry(shut) is None
    assert "Permission denied" in problem(shut)
    assert on_this_machine(tmp_path) == []


def headed(folder: Path, header: object) -> None:
    """Weights with this for a header and no data."""
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)


def listed(folder: Path, index: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def configured(folder: Path, **changed: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changed))


TENSOR = {"dtype": "F32", "shape": [], "data_offsets": [0, 0]}
DAMAGE = {
    "list": lambda f: headed(f, []),
    "number": lambda f: headed(f, 3),
    "deep": lambda f: (f / "model.safetensors").write_bytes(
        struct.pack("<Q", 100_000) + b"[" * 100_000
    ),
    "no offsets": lambda f: headed(f, {"a": {"dtype": "F32", "shape": [1]}}),
    "odd offsets": lambda f: headed(f, {"a": TENSOR | {"data_offsets": [0, "4"]}}),
    "one offset": lambda f: headed(f, {"a": TENSOR | {"data_offsets": [0]}}),
    "odd shape": lambda f: headed(f, {"a": TENSOR | {"shape": ["x"]}}),
    "no shape": lambda f: headed(f, {"a": {"dtype": "F32", "data_offsets": [0, 0]}}),
    "no type": lambda f: headed(f, {"a": {"shape": [], "data_offsets": [0, 0]}}),
    "no tensor": lambda f: headed(f, {"a": None}),
    "index list": lambda f: listed(f, []),
    "index null": lambda f: listed(f, {"weight_map": None}),
    "index words": lambda f: listed(f, {"weight_map": ["model.safetensors"]}),
    "index numbers": lambda f: listed(f, {"weight_map": {"a": 1, "b": []}}),
    "long name": lambda f: listed(f, {"weight_map": {"a": "x" * 300}}),
    "deep config": lambda f: (f / "config.json").write_text("[" * 100_000),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_one_damaged_folder_leaves_the_others_listed(kind, model, tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "hub_caches", lambda home: [])
    shutil.copytree(model, tmp_path / "models" / "good")
    DAMAGE[kind](shutil.copytree(model, tmp_path / "models" / "odd"))
    good, odd = on_this_machine(tmp_path)
    assert not good.problem and odd.problem.endswith(".") and "odd" in odd.problem
    with pytest.raises(ModelError):
        catalogue.find(ModelSpec(str(odd.path)))
    with pytest.raises(ModelError):
        files.weights(odd.path)
    assert not fit(ModelSpec(str(odd.path))).needed_bytes


def test_odd_settings_of_a_model_do_not_keep_it_from_being_listed(model, tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "hub_caches", lambda home: [])
    folder = shutil.copytree(model, tmp_path / "models" / "odd")
    configured(folder, quantization_config=["bitsandbytes"], architectures=3)
    (folder / "tokenizer_config.json").write_text("[]")
    [entry] = on_this_machine(tmp_path)
    assert entry.parameters == files.weights(model).parameters and not entry.problem


def test_the_download_list_is_sane():
    entries = to_download()
    records = json.loads((MODELS / "catalogue.json").read_text(encoding="utf-8"))["models"]
    embeddings = {record["source"]: record["embedding_parameters"] for record in records}
    assert len(entries) == len({entry.source for entry in entries}) >= 12
    assert len({entry.family for entry in entries}) >= 6
    for entry in entries:
        assert HUB_ID.fullmatch(entry.source), entry
        assert entry.licence and entry.languages and entry.kind == "download"
        assert 0 < embeddings[entry.source] < entry.parameters
        # The name says the size: "… 0.5B", "… 135M".
        said = [w for w in entry.name.split() if w[-1] in "BM" and w[0].isdigit()]
        if not said:
            continue
        size = float(said[0][:-1]) * {"B": 1e9, "M": 1e6}[said[0][-1]]
        assert 0.8 < entry.parameters / size < 1.5, entry.name


def test_fit_names_a_precision_that_fits(monkeypatch, bf16):
    spec = ModelSpec("Qwen/Qwen2.5-7B-Instruct", precision="bf16")
    # 7.6 billion parameters at 2 bytes are 14.2 GB before anything else, and twice that at 4.
    least, free = (14.2, 12) if bf16 else (28.4, 16)
    monkeypatch.setattr(memory_fit, "free_memory", lambda: ("cpu", free * GIB))
    tight = fit(spec)
    needed = tight.needed_bytes["bf16"]
    assert least * GIB < needed < (least + 6) * GIB and not tight.fits
    named = wording.memory(needed)
    assert tight.sentence.startswith(f"Qwen2.5 7B Instruct needs about {named} in ")
    assert "8-bit would fit" in tight.sentence
    order = [tight.needed_bytes[p] for p in ("nf4", "int8", "bf16", "fp32")]
    assert order == sorted(order)
    assert fit(spec, held_bytes=needed - free * GIB).fits
    monkeypatch.setattr(memory_fit, "free_memory", lambda: ("cpu", GIB))
    assert "Choose a smaller model" in fit(spec).sentence


def test_fit_of_a_folder_counts_its_files(model, monkeypatch, bf16):
    monkeypatch.setattr(memory_fit, "free_memory", lambda: ("cpu", 4 * GIB))
    found = fit(ModelSpec(str(model), precision="fp32"))
    facts = files.weights(model)
    assert found.fits and found.precision == "fp32"
    working = found.needed_bytes["fp32"] - 4 * facts.parameters
    each = 2 if bf16 else 4
    assert found.needed_bytes["bf16"] == pytest.approx(each * facts.parameters + working, abs=2)


def test_what_a_model_needs_is_told_for_settings_of_every_shape(model, tmp_path):
    def needed(name: str, **changed: object) -> tuple[int, int]:
        folder = shutil.copytree(model, tmp_path / name)
        configured(folder, **changed)
        spec = ModelSpec(str(folder), precision="fp32")
        return fit(spec).needed_bytes["fp32"], memory_fit.fit_training(spec).needed_bytes["fp32"]

    usual = needed("usual")
    # Gemma 3n's inner parts differ from layer to layer; the widest is 128 here as in the usual one.
    assert needed("listed", intermediate_size=[64, 128, 128]) == usual
    assert needed("empty", text_config=None) == needed("words", text_config="x") == usual
    inner = json.loads((model / "config.json").read_text())
    assert needed("inside", text_config=inner | {"intermediate_size": [128] * 3}) == usual
    unsaid = dict.fromkeys(
        ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"), None
    )
    assert needed("unsaid", **unsaid, intermediate_size=[]) > usual
    assert needed("odd", intermediate_size="wide", head_dim={}, hidden_size=-1)


def test_automatic_precision_is_four_bit_but_for_the_builtin():
    assert fit(ModelSpec("Qwen/Qwen2.5-0.5B-Instruct")).precision == "nf4"
    assert resolve_precision(ModelSpec("builtin")) in ("fp32", "bf16")
    assert resolve_precision(ModelSpec("builtin", precision="int8")) == "int8"


def test_a_small_listed_model_is_not_given_a_large_ones_working_memory(monkeypatch):
    monkeypatch.setattr(memory_fit, "free_memory", lambda: ("cpu", int(1.5 * GIB)))
    assert fit(ModelSpec("HuggingFaceTB/SmolLM2-135M-Instruct")).fits
    # Llama 2's own shape comes out of its own number of parameters.
    assert memory_fit._shape(memory_fit._usual_config(6_476_267_520)) == (32, 4096, 11_008)


def test_what_cannot_be_computed_in_bf16_is_counted_and_named_as_it_is_held(monkeypatch):
    monkeypatch.setattr(memory_fit, "free_memory", lambda: ("cpu", 40 * GIB))
    spec = ModelSpec("Qwen/Qwen2.5-7B-Instruct", precision="bf16")
    monkeypatch.setattr(memory_fit, "processor_has_bf16", lambda: True)
    half = fit(spec)
    assert memory_fit.loaded_as("bf16") == "bf16" and "in 16-bit (bf16);" in half.sentence
    monkeypatch.setattr(memory_fit, "processor_has_bf16", lambda: False)
    whole = fit(spec)
    assert memory_fit.loaded_as("bf16") == "fp32" and memory_fit.loaded_as("nf4") == "nf4"
    assert whole.needed_bytes["bf16"] == whole.needed_bytes["fp32"] > 28 * GIB
    assert whole.needed_bytes["nf4"] > half.needed_bytes["nf4"]  # embeddings stay in 32 bits
    assert "in 32-bit (this machine does not compute in bf16)" in whole.sentence


@pytest.mark.parametrize(
    ("flags", "has"),
    [("fpu avx2", False), ("fpu avx512f avx512_bf16", True), ("amx_bf16 amx_tile", True)],
)
def test_a_processor_says_whether_it_has_bf16(monkeypatch, tmp_path, flags, has):
    monkeypatch.setattr(memory_fit, "CPUINFO", tmp_path / "cpuinfo")
    asked = memory_fit.processor_has_bf16.__wrapped__  # what was said before is kept
    assert not asked()  # where there is no such file
    memory_fit.CPUINFO.write_text(f"processor\t: 0\nflags\t\t: {flags}\n", encoding="utf-8")
    assert asked() == has


@pytest.mark.parametrize(("capability", "held"), [(7.5, "fp16"), (8.0, "bf16"), (None, "")])
def test_a_card_computes_in_what_it_has_whatever_the_processor(monkeypatch, capability, held, bf16):
    card = capability and memory_fit._Card(GIB, capability)
    monkeypatch.setattr(memory_fit, "_card", lambda: card)
    said = memory_fit._card_computes_in.__wrapped__()
    monkeypatch.setattr(memory_fit, "_card_computes_in", lambda: said)
    assert memory_fit.loaded_as("bf16") == (held or ("bf16" if bf16 else "fp32"))


class Driver:
    """A stand-in for the driver of a machine with cards: index and UUID -> MiB free, capability."""

    cards = {"0": (1000, (8, 9)), "1": (70_000, (9, 0)), "GPU-5f": (500, (7, 5))}

    def __init__(self, monkeypatch, visible: str | None):
        for name in ("Init", "DeviceGetMemoryInfo", "DeviceGetCudaComputeCapability"):
            monkeypatch.setattr(memory_fit.pynvml, f"nvml{name}", getattr(self, name))
        for name in ("Index", "UUID"):
            monkeypatch.setattr(
                memory_fit.pynvml,
                f"nvmlDeviceGetHandleBy{name}",
                lambda card: self.cards[str(card)],
            )
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    def Init(self) -> None:
        pass

    def DeviceGetMemoryInfo(self, card):
        return SimpleNamespace(free=card[0] * 1024**2)

    def DeviceGetCudaComputeCapability(self, card):
        return card[1]


@pytest.mark.parametrize(
    ("visible", "free"),
    [(None, 1000), ("0", 1000), ("1,0", 70_000), ("GPU-5f", 500), ("", None), ("-1", None)],
)
def test_fit_looks_at_the_card_that_is_loaded_on(monkeypatch, visible, free):
    Driver(monkeypatch, visible)
    monkeypatch.setattr(memory_fit, "_torch_has_cuda", lambda: True)
    if free is None:
        assert memory_fit.free_memory()[0] == "cpu"
    else:
        assert memory_fit.free_memory() == ("cuda", free * 1024**2)


def test_a_machine_without_a_driver_has_no_card(monkeypatch):
    def absent():
        raise memory_fit.pynvml.NVMLError(memory_fit.pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    Driver(monkeypatch, None)
    monkeypatch.setattr(memory_fit.pynvml, "nvmlInit", absent)
    monkeypatch.setattr(memory_fit, "_torch_has_cuda", lambda: True)
    assert memory_fit.free_memory()[0] == "cpu"


def test_a_card_that_torch_cannot_use_is_not_counted(monkeypatch):
    import torch

    Driver(monkeypatch, None)
    memory_fit._torch_has_cuda.cache_clear()
    assert memory_fit._torch_has_cuda() == (torch.version.cuda is not None)
    monkeypatch.setattr(memory_fit, "_torch_has_cuda", lambda: False)
    assert memory_fit.free_memory()[0] == "cpu"


def test_a_model_of_unknown_size_is_not_refused():
    found = fit(ModelSpec("somebody/something"))
    assert found.fits and not found.needed_bytes and "not known" in found.sentence


def test_adapters_are_found_at_any_depth(model, tmp_path):
    tiny.save_adapter(tmp_path / "adapters" / "kenya", model)
    tiny.save_adapter(tmp_path / "adapters" / "group" / "joint", model)
    (tmp_path / "adapters" / "half").mkdir()
    (tmp_path / "adapters" / "half" / "adapter_config.json").write_text("{}")
    found = {entry.name: entry for entry in adapters.adapters(tmp_path)}
    assert set(found) == {"kenya", "joint"}
    assert Path(found["kenya"].base) == model
    assert found["kenya"].size_bytes > 1000


def test_a_damaged_adapter_leaves_the_others_listed(model, tmp_path):
    shelf = tmp_path / "adapters"
    tiny.save_adapter(shelf / "good", model)
    for name, file, text in (
        ("facts", "training.json", '{"facts": [1], "title": ["x"]}'),
        ("revision", "adapter_config.json", '{"revision": ["x"], "base_model_name_or_path": {}}'),
        ("settings", "adapter_config.json", "[]"),
        ("deep", "adapter_config.json", "[" * 100_000),
    ):
        tiny.save_adapter(shelf / name, model)
        (shelf / name / file).write_text(text)
    tiny.save_adapter(shelf / "links", model)
    (shelf / "links" / "inside").mkdir()
    (shelf / "links" / "inside" / "adapter_model.safetensors").symlink_to(tmp_path / "nowhere")
    found = {entry.path.name: entry for entry in adapters.adapters(tmp_path)}
    assert set(found) == {"good", "facts", "revision", "links"}
    assert found["revision"].base_revision is None and found["facts"].complete


def test_the_teaching_model_is_known_by_any_path_and_by_what_was_kept_of_it(model, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(BUILTIN)
    made = shutil.copytree(model, tmp_path / "made")
    (made / "training.json").write_text('{"merged_sha256": "x", "teaching": true}')
    for source in ("builtin", str(BUILTIN), str(link), str(made)):
        assert catalogue.is_teaching(ModelSpec(source, adapter="/adapters/kenya")), source
    for folder in (BUILTIN, made):
        assert "no evidence about language models" in catalogue.at(folder).note
    others = (str(model), "Qwen/Qwen2.5-0.5B-Instruct", "~nosuchuser/x", "/" + "x" * 300, "a\0b")
    for source in others:
        assert not catalogue.is_teaching(ModelSpec(source)), source
    gone = ModelSpec("/nowhere/merged")
    assert catalogue.is_teaching(gone, {"teaching": True}) and not catalogue.is_teaching(gone, {})
    assert not catalogue.is_teaching(ModelSpec(str(made)), {"teaching": False})
    assert catalogue.is_teaching(ModelSpec("builtin"), {"teaching": False})


def test_names_are_short():
    assert describe(ModelSpec("builtin")) == "Built-in model"
    assert describe(ModelSpec("Qwen/Qwen2.5-0.5B-Instruct")) == "Qwen2.5 0.5B Instruct"
    assert describe(ModelSpec("/models/mine", adapter="/adapters/kenya")) == "mine + kenya"


def test_an_adapter_is_called_what_it_was_called_when_it_was_made(tmp_path):
    """Its folder's name is made for a disk, not for people."""
    title = "Built-in model, tuned for Kenya: all questions"
    (tmp_path / "training.json").write_text(json.dumps({"title": title}), encoding="utf-8")
    assert describe(ModelSpec("builtin", adapter=str(tmp_path))) == title
    assert describe(ModelSpec("/models/mine", adapter=str(tmp_path))) == f"mine + {title}"
    # One of several, for a country each, says whose it is.
    (tmp_path / "KEN").mkdir()
    (tmp_path / "KEN" / "training.json").write_text(json.dumps({"title": title}), encoding="utf-8")
    (tmp_path / "adapters.json").write_text(json.dumps({"title": title}), encoding="utf-8")
    assert describe(ModelSpec("builtin", adapter=str(tmp_path / "KEN"))) == f"{title} (KEN)"
