"""What tests of single folders share."""

import pytest

from core.store.store import Store


@pytest.fixture
def store(tmp_path):
    """An empty store, its home a folder in `tmp_path`."""
    store = Store(tmp_path / "home")
    yield store
    store.close()


@pytest.fixture(scope="module")
def one_thread():
    """Tiny matrices gain nothing from threads, and lose much when cores are busy."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
