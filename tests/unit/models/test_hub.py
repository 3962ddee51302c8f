"""Models that are not here yet: what is known before a download, and what stands in its way."""

import shutil
from pathlib import Path

import pytest

from core.errors import ModelError
from core.home import home
from core.models import catalogue, hub, memory_fit
from core.models.download import _bytes_told, _download_words
from core.models.hub import NotReached
from core.models.load import ModelSlot, load
from core.models.spec import ModelSpec
from tests import tiny
from tests.hub import COMMIT, GATED, serve

SOURCE = "maker/tiny"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model with what repositories have besides: a card, other formats, settings of git."""
    made = tiny.save(tmp_path_factory.mktemp("hub") / "tiny", "llama")
    (made / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny\n")
    (made / ".gitattributes").write_text("*.safetensors filter=lfs")
    (made / "pytorch_model.bin").write_bytes(b"0" * 5000)
    (made / "consolidated.safetensors").write_bytes(b"0" * 5000)
    return made


@pytest.fixture(autouse=True)
def empty_home(tmp_path, monkeypatch):
    """No model is here, and there is room in memory for those that are offered."""
    monkeypatch.setenv("PLURISCOPE_HOME", str(tmp_path))
    monkeypatch.setattr(catalogue, "hub_caches", lambda home: [home / "models" / "hub"])
    monkeypatch.setattr(memory_fit, "free_memory", lambda: ("cpu", 64 * 1024**3))
    hub._told.clear()


@pytest.fixture
def served(folder):
    facts = {"safetensors": {"parameters": {"F32": 8_000_000_000}, "total": 8_000_000_000}}
    facts |= {"cardData": {"license": "apache-2.0"}}
    with serve({SOURCE: folder, GATED: folder}, extra=facts) as served:
        yield served


def test_size_and_licence_of_any_id_are_known_before_a_download(served, folder):
    before = memory_fit.fit(ModelSpec(SOURCE))
    assert before.fits and not before.needed_bytes
    entry = catalogue.offered(SOURCE)
    wanted = [*folder.glob("*.json"), *folder.glob("*.jinja"), folder / "model.safetensors"]
    assert entry.size_bytes == sum(p.stat().st_size for p in wanted)
    assert (entry.licence, entry.gated, entry.parameters) == ("apache-2.0", False, 8_000_000_000)
    assert catalogue.offered(GATED).gated
    # 6 billion in matrices at 2 bytes, and 2 more in the rest, are the least it can be in bf16.
    assert memory_fit.fit(ModelSpec(SOURCE, precision="bf16")).needed_bytes["bf16"] > 14.9 * 1024**3
    assert not served.downloads()


def test_a_model_too_large_for_memory_is_refused_before_the_download(served, monkeypatch, folder):
    monkeypatch.setattr(memory_fit, "free_memory", lambda: ("cpu", 4 * 1024**3))
    slot = ModelSlot()
    held = slot.get(ModelSpec(str(folder), precision="fp32"))
    with pytest.raises(ModelError, match=r"tiny needs .* only 4.0 GiB"):
        slot.get(ModelSpec(SOURCE))
    assert not served.downloads()
    assert slot.current is held  # and it stays


def test_a_model_too_large_for_the_disk_is_refused_before_the_download(served, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100_000))
    assert "Make room there" in catalogue.no_room(catalogue.offered(SOURCE))
    with pytest.raises(ModelError, match="are free on the disk"):
        load(ModelSpec(SOURCE))
    assert not served.downloads()


def test_a_download_tells_its_bytes_and_is_found_again_without_a_network(served, monkeypatch):
    served.extra.clear()
    served.slow = 0.2
    monkeypatch.setattr(_bytes_told.__wrapped__, "__defaults__", (0.02,))
    said = []
    loaded = load(ModelSpec(SOURCE, precision="fp32"), on_phase=said.append)
    assert loaded.revision == COMMIT
    told = [line for line in said if line.startswith("Downloading tiny: ")]
    assert told and all(line.endswith(" of 842 kB") or " of 842 kB, " in line for line in told)
    left_out = ("README", ".bin", "consolidated", ".gitattributes")
    assert not any(name in path for name in left_out for path in served.downloads())
    served.requests.clear()
    assert catalogue.find(ModelSpec(SOURCE)).name == COMMIT
    load(ModelSpec(SOURCE, precision="fp32"))
    assert not served.requests
    [entry] = catalogue.on_this_machine(home())
    assert entry.source == SOURCE and not entry.problem


def test_a_downloaded_model_is_handed_out_again(served):
    served.extra.clear()
    slot = ModelSlot()
    loaded = slot.get(ModelSpec(SOURCE, precision="fp32"))
    served.requests.clear()
    assert slot.get(ModelSpec(SOURCE, precision="fp32")) is loaded
    assert not served.requests


def test_the_words_of_a_download(snapshot):
    words = _download_words
    gib = 1024**3
    assert words("X", 0, 2 * gib, 0.0) == snapshot
    assert words("X", gib, 2 * gib, gib / 256) == snapshot
    assert words("X", gib, 2 * gib, gib / 41).endswith(", about 40 s left")


def test_what_stands_in_the_way_is_a_sentence(served):
    with pytest.raises(ModelError, match="no model maker/nothing"):
        load(ModelSpec("maker/nothing"))
    with pytest.raises(ModelError, match="accept its licence first"):
        load(ModelSpec(GATED))
    with pytest.raises(ModelError, match="is no Hugging Face id"):
        load(ModelSpec("maker/a--b"))


def test_only_pickles_on_the_hub_are_refused_before_the_download(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "pytorch_model.bin").write_bytes(b"0")
    with serve({"maker/old": tmp_path / "old"}) as served:
        with pytest.raises(ModelError, match="no safetensors"):
            load(ModelSpec("maker/old"))
        assert not served.downloads()


def test_no_network_is_told_apart_from_no_such_model(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nobody there
    with pytest.raises(NotReached, match="there is no connection"):
        hub.look(SOURCE, seconds=2)


def test_the_card_of_a_folder_tells_its_licence(folder, tmp_path):
    assert catalogue.at(folder).licence == "apache-2.0"
    assert catalogue._licence(tmp_path) == ""
    (tmp_path / "README.md").write_text("---\nlicense: other\nlicense_name: llama3.2\n---\n")
    assert catalogue._licence(tmp_path) == "llama3.2"
    assert catalogue.builtin().licence == "its own, see its card"
    (tmp_path / "README.md").write_text("license: mit, says the text, not the front matter\n")
    assert catalogue._licence(tmp_path) == ""
