"""What tests share: a tiny model on disk, and the app's pages run without a browser."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from streamlit.testing.v1 import AppTest

from core.models import memory_fit
from core.store.store import Store
from tests import filled, tiny
from tests.pages.driver import pages_on, pages_on_home

ROOT = Path(__file__).resolve().parent.parent

# Before anything imports torch: several test processes share the cores, and threads that spin
# while they wait make each other ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Tests compute on the processor, whatever cards there are, and find none of the models, tokens and
# settings that somebody has on this machine: what is so here is so everywhere.
os.environ["CUDA_VISIBLE_DEVICES"] = ""
for name in [name for name in os.environ if name.startswith(("HF_", "TRANSFORMERS_"))]:
    del os.environ[name]
NOBODYS = tempfile.TemporaryDirectory(prefix="pluriscope-")
os.environ["HF_HOME"] = NOBODYS.name
os.environ["PLURISCOPE_HOME"] = NOBODYS.name
for name in ("NO_PROXY", "no_proxy"):  # servers of tests are reached directly
    os.environ[name] = "127.0.0.1,localhost"

hypothesis.settings.register_profile(  # facts, not timings
    "facts", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("facts")


@pytest.fixture(params=[True, False], ids=["bf16", "no bf16"])
def bf16(request, monkeypatch) -> bool:
    """Does the processor compute in bf16? A test that asks is run as on one that does and as on one
    that does not, whichever this is. Only in its own process: a worker asks the processor."""
    monkeypatch.setattr(memory_fit, "processor_has_bf16", lambda: request.param)
    return request.param


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """The folder of a tiny real chat model with random weights."""
    return tiny.save(tmp_path_factory.mktemp("models") / "tiny-chat", "llama")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty home, PLURISCOPE_HOME; the ready-made run of a first start counts as made."""
    monkeypatch.setenv("PLURISCOPE_HOME", str(tmp_path))
    (tmp_path / "demo-made").write_text("", encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="session")
def filled_store(tmp_path_factory) -> tuple[Path, filled.Filled]:
    """The file of a store that holds the runs of tests/filled.py, and the runs; copy it."""
    store = Store(tmp_path_factory.mktemp("filled"))
    made = filled.fill(store)
    store.close()
    return store.path, made


@pytest.fixture(scope="module")
def filled_runs(filled_store, tmp_path_factory):
    """A store of the module's own with the runs of tests/filled.py, and the runs."""
    path, made = filled_store
    home = tmp_path_factory.mktemp("filled-runs")
    shutil.copy(path, home)
    store = Store(home)
    yield store, made
    store.close()


@pytest.fixture(scope="module")
def filled_pages(filled_store, tmp_path_factory):
    """Pages on a home of the module's own with the runs of tests/filled.py, and the runs."""
    path, made = filled_store
    home = tmp_path_factory.mktemp("filled-pages")
    shutil.copy(path, home)
    with pages_on_home(home) as page:
        yield page, made


@pytest.fixture(scope="module")
def working(tmp_path_factory):
    """Pages on one home for all tests of a module that ask the tiny model: torch loads once."""
    with pages_on_home(tmp_path_factory.mktemp("working")) as page:
        yield page


@pytest.fixture
def filled_home(home, filled_store) -> Path:
    """A home whose store holds the runs of tests/filled.py."""
    shutil.copy(filled_store[0], home)
    return home


@pytest.fixture(scope="session")
def unpacked_home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(ROOT / "tests" / "fixtures" / "home_of_version_5.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "home"


@pytest.fixture
def earlier_home(unpacked_home, tmp_path, monkeypatch) -> Path:
    """A home as an earlier version left it (tests/fixtures/README.md), PLURISCOPE_HOME."""
    folder = shutil.copytree(unpacked_home, tmp_path / "home")
    monkeypatch.setenv("PLURISCOPE_HOME", str(folder))
    return folder


@pytest.fixture
def app(home) -> Iterator[Callable[..., AppTest]]:
    """Opens a page of the app on `home`: app("ask", item="Q57"). Queue and store end with the test.

    No worker process is started ahead of the first job; it takes seconds that most tests save.
    """
    with pages_on(home) as page:
        yield page
