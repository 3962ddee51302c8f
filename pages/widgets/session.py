"""The one door between Streamlit and core: the store, the queue, and what a session remembers."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from core.errors import PluriscopeError, StoreBusy
from core.home import home
from core.jobs import askings, queue
from core.jobs.queue import Jobs, open_jobs
from core.store.runs import Run
from core.store.store import Store

READING = 800  # pixels: a line of text that is pleasant to read


@st.cache_resource(show_spinner=False)
def _jobs() -> Jobs:
    jobs = open_jobs(home())
    queue.ensure_demo(jobs)
    jobs.serve()
    return jobs


def jobs() -> Jobs:
    """The queue. Stops the page with a sentence where another process holds the store."""
    try:
        return _jobs()
    except StoreBusy as error:
        st.title("Another Pluriscope is open")
        st.write(str(error))
        st.stop()
    except PluriscopeError as error:
        st.title("The store cannot be opened")
        st.write(str(error))
        st.stop()


def store() -> Store:
    return jobs().store


def is_dark() -> bool:
    return st.context.theme.type == "dark"


def is_narrow() -> bool:
    """A telephone, by what its browser says of itself; the server is not told the width."""
    return "Mobi" in (st.context.headers.get("User-Agent") or "")


@st.cache_data(ttl=30, show_spinner=False)
def storage(changes: int) -> dict[str, int]:
    """Bytes on disk by what they are for; `changes` is store().changes."""
    return store().storage()


@st.cache_data(max_entries=256, show_spinner=False)
def _remembered(what: str, key: tuple, _make: Callable) -> object:
    return _make()


def remembered(make: Callable, *arguments: object) -> object:
    """make(store, *arguments), kept for exactly the answers its runs hold now."""
    key = tuple(_answers_of(argument) for argument in arguments)
    return _remembered(make.__name__, key, lambda: make(store(), *arguments))


def _answers_of(argument: object) -> object:
    if isinstance(argument, Run):
        return argument.id, argument.answered
    if isinstance(argument, askings.Asking):
        return tuple(_answers_of(run) for run in argument.runs)
    return argument
