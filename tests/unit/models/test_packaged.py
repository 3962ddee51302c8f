"""A real model from the Python package index: checked, kept as safetensors, or refused in words."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from core.errors import ModelError, PluriscopeError
from core.models import packaged
from core.models.catalogue import at
from tests import tiny


@pytest.fixture
def gguf(tmp_path) -> Path:
    """A tiny Llama as a GGUF file, written with the library that reads it."""
    return tiny.save_gguf(tmp_path / "tiny.gguf")


def made(gguf: Path, **changes) -> packaged.Packaged:
    sha256 = hashlib.sha256(gguf.read_bytes()).hexdigest()
    tiny_model = packaged.SMOLLM2._replace(
        name="tiny", title="Tiny", package="llm-tiny", version="1.0", file="llm_tiny/tiny.gguf",
        sha256=sha256, licence_file="llm_tiny-1.0.dist-info/LICENSE",
    )  # fmt: skip
    return tiny_model._replace(**changes)


@pytest.fixture
def index(tmp_path, gguf, monkeypatch):
    """A folder of wheels that pip takes for its index."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "llm_tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.write(gguf, "llm_tiny/tiny.gguf")
        for name, text in {
            "LICENSE": "Free to use.",
            "METADATA": "Metadata-Version: 2.1\nName: llm-tiny\nVersion: 1.0\n",
            "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "RECORD": "",
        }.items():
            wheel.writestr(f"llm_tiny-1.0.dist-info/{name}", text)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def left_over(home: Path) -> list[Path]:
    return [path for path in (home / "models").rglob("*")] if (home / "models").exists() else []


def test_a_packaged_model_answers_as_the_file_does(tmp_path, gguf, index):
    import torch
    from transformers import AutoModelForCausalLM

    from core.models.load import load
    from core.models.spec import ModelSpec

    home, said = tmp_path / "home", []
    folder = packaged.get(made(gguf), home, say=said.append)
    assert folder == home / "models" / "Tiny" and said
    assert at(folder).problem == "" and at(folder).licence == "apache-2.0"
    assert (folder / "LICENSE").read_text() == "Free to use."
    assert {path.name for path in (home / "models").iterdir()} == {"Tiny"}
    loaded = load(ModelSpec(str(folder), precision="fp32"))
    plain = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)
    ids = torch.tensor([[5, 7, 11, 2]])
    with torch.no_grad():
        gap = (loaded.model(ids).logits - plain(ids).logits.float()).abs().max()
    assert gap < 1e-4


def test_what_is_there_is_left_alone(tmp_path, gguf, index, monkeypatch):
    home = tmp_path / "home"
    folder = packaged.get(made(gguf), home)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert packaged.get(made(gguf), home) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "wrong, word",
    [
        ({"sha256": "0" * 64}, "checksum"),
        ({"file": "llm_tiny/other.gguf"}, "checksum"),
        ({"package": "llm-not-there"}, "index"),
        ({"version": "9.9"}, "index"),
    ],
)
def test_another_file_or_none_is_refused_and_nothing_is_kept(tmp_path, gguf, index, wrong, word):
    with pytest.raises(ModelError, match=word):
        packaged.get(made(gguf, **wrong), tmp_path / "home")
    assert left_over(tmp_path / "home") == []


def test_a_stop_keeps_nothing(tmp_path, gguf, index):
    assert packaged.get(made(gguf), tmp_path / "home", stop=lambda: True) is None
    assert left_over(tmp_path / "home") == []


def test_where_there_is_no_room_nothing_is_fetched(tmp_path, gguf, index):
    with pytest.raises(PluriscopeError, match="free"):
        packaged.get(made(gguf, disk_bytes=10**18), tmp_path / "home")
    assert left_over(tmp_path / "home") == []


def test_an_unknown_name_is_answered_with_those_there_are():
    with pytest.raises(ModelError, match="smollm2"):
        packaged.packaged("gpt-9")
