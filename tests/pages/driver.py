"""The app's pages without a browser: opened on a home, read and clicked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from core.jobs.queue import UNFINISHED, Jobs, _open, open_jobs
from pages.widgets import session
from tests.waiting import LONG, until

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def pages_on(home: Path) -> Iterator[Callable[..., AppTest]]:
    """The app's pages on a home (which PLURISCOPE_HOME must name), until the end of the block."""

    def page(name: str, **query: str) -> AppTest:
        at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=LONG)
        at.run()
        at.query_params.clear()
        for key, value in query.items():
            at.query_params[key] = value
        return at.switch_page(f"pages/{name}.py").run()

    _forget()
    queue = open_jobs(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Jobs, "serve", lambda self: self._ensure_thread())
        try:
            yield page
        finally:
            queue.close()
            queue.store.close()
            del _open[home]
            _forget()


def _forget() -> None:
    st.cache_resource.clear()
    st.cache_data.clear()


@contextmanager
def pages_on_home(home: Path) -> Iterator[Callable[..., AppTest]]:
    """The app's pages on a home that is named PLURISCOPE_HOME until the end of the block."""
    (home / "demo-made").write_text("", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLURISCOPE_HOME", str(home))
        with pages_on(home) as page:
            yield page


def said(at) -> str:
    """The words on a page, as a reader sees them."""
    parts = [*at.title, *at.header, *at.subheader, *at.markdown, *at.caption, *at.error]
    return "\n".join(str(part.value) for part in parts).replace("\\", "")


def button(at, label: str):
    return next(one for one in at.button if one.label.startswith(label))


def choose(at, model) -> None:
    """Set the picker to a folder, as the user would by typing its path."""
    at.session_state["model_kind"] = "On this machine"
    at.session_state["model_On this machine_typed"] = str(model)
    at.session_state["model_precision_False"] = "fp32"
    at.run()


def wait(at):
    """Run the page until nothing is under way."""
    until(lambda: not session.store().jobs(UNFINISHED), "the job did not end")
    return at.run()


def spec(at, number: int = 0) -> dict:
    return json.loads(at.get("plotly_chart")[number].proto.spec)
