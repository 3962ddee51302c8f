"""What the worker is doing: the line at the top, progress, trouble, price."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from core import wording
from core.jobs import estimates
from core.jobs.messages import HeldModel
from core.jobs.plan import Plan
from core.jobs.progress import Live
from core.jobs.queue import Jobs
from core.models import catalogue, spec
from core.prompts.methods import METHODS
from core.prompts.render import ORDERS
from core.store.jobs import Job
from pages.widgets.session import jobs
from pages.widgets.text import about, clock, plain


def model_status() -> None:
    """A line at the foot of every page: the model in memory, Unload, and what it is doing."""
    queue = jobs()
    busy = queue.busy()
    # A clock that only reads; none where nothing is under way.
    st.fragment(_status_line, run_every=1.0 if busy else None)(busy)


def _status_line(was_busy: bool) -> None:
    queue = jobs()
    if was_busy and not queue.busy():
        st.rerun()  # once, so that every page shows what came of it
    held = queue.model
    with (
        st.bottom,
        st.container(
            horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"
        ),
    ):
        with st.container(
            horizontal=True, vertical_alignment="center", width="content", gap="small"
        ):
            st.caption(_held_words(held), width="content")
            if held:
                st.button(
                    "Unload",
                    type="tertiary",
                    key="unload_model",
                    help="Let go of the model and free its memory. It loads again when needed.",
                    on_click=queue.unload,
                )
        st.caption(plain(work_words(queue)), width="content")


def _held_words(held: HeldModel | None) -> str:
    if held is None:
        return "No model in memory"
    name = plain(catalogue.describe(held.spec))
    precision = spec.precision_words(held.precision)
    where = "on the graphics card" if "cuda" in held.device else "of memory"
    return f"**{name}** · {precision} · {wording.memory(held.memory_bytes)} {where}"


def work_words(queue: Jobs) -> str:
    """What the worker is doing, in one line: "Asking 936 questions, 41 %, about 20 s left"."""
    live = queue.live()
    waiting = len(queue.store.jobs(("queued",)))
    line = f"{waiting} more in line" if live and waiting else ""
    if live is None:
        return f"{waiting} in line" if waiting else "Nothing is being asked"
    return f"{live_words(live)}; {line}" if line else live_words(live)


def live_words(live: Live) -> str:
    if live.state == "stopping":
        return "Stopping after what is in hand"
    if live.stage:
        whole = f", {wording.percent(live.share)} of the tuning" if live.share else ""
        left = f", {about(live.eta)} left" if live.eta else ""
        return f"{live.stage}{whole}{left}"
    if live.phase == "starting":
        return "Getting ready"
    if live.phase == "loading":
        return f"{live.doing}, {clock(live.elapsed)}"
    if live.phase == "comparing":
        return "Comparing with people"
    if live.phase in ("merging", "getting"):
        return f"{live.doing}, {clock(live.elapsed)}"
    done = wording.percent(live.done / live.total) if live.total else ""
    said = f"Asking {wording.count(live.total, 'question')}, {done}"
    return f"{said}, {about(live.eta)} left" if live.eta else said


def price(verb: str, estimate: estimates.Estimate) -> str:
    """A button that says what it costs: "Start: 1,976 questions, about 2 minutes"."""
    what = wording.count(estimate.prompts, "question")
    return f"{verb}: {what}, {about(estimate.seconds)}" if estimate.seconds else f"{verb}: {what}"


def cost(plan: Plan, estimate: estimates.Estimate) -> str:
    """What a plan asks, how long it takes and how much memory it needs."""
    first = plan.settings[0]
    ways = wording.listed(
        list(dict.fromkeys(METHODS[one.method].name.lower() for one in plan.settings))
    )
    if first.answering == "written":
        times = f"{wording.count(first.samples, 'written answer')} to each"
    else:
        times = ORDERS[first.orders].planned
    parts = [
        wording.count(len(first.items), "question"),
        wording.count(len(first.cultures), "country", "countries"),
        ways,
        times,
    ]
    if plan.more_prompts:
        parts.append(wording.count(1 + len(plan.more_prompts), "wording"))
    if estimate.seconds:
        long = f"{wording.capital(about(estimate.seconds))}, {estimate.basis}"
    else:
        long = f"How long it takes is {estimate.basis}"
    total = wording.count(estimate.prompts, "prompt")
    made = wording.listed([METHODS[wish["make"]].made for wish in plan.derive])
    after = f" Then {made} without asking again." if made else ""
    return f"{', '.join(parts)}: {total}. {long}.{after} {estimate.fit.sentence}"


STATE_WORDS = {
    "queued": "In line",
    "loading": "Getting ready",
    "running": "At work",
    "stopping": "Stopping",
    "done": "Done",
    "stopped": "Stopped",
    "failed": "Failed",
    "interrupted": "Interrupted",
}


def job_progress(job: Job) -> None:
    """How far a job is: phase, count, elapsed, time left, rate, and a thin bar."""
    live = jobs().live(job.id)
    if live is None:
        st.caption(STATE_WORDS.get(job.state, job.state))
        return
    facts = [live_words(live)]
    if live.total and (live.phase == "answering" or live.stage):
        facts.append(f"{live.done:,} of {live.total:,}")
    if live.stage or live.phase not in (
        "loading",
        "merging",
        "getting",
    ):  # there it is said already
        facts.append(f"{clock(live.elapsed)} so far")
    if live.rate:
        facts.append(
            f"{live.rate:,.0f} a second" if live.rate >= 10 else f"{live.rate:.1f} a second"
        )
    facts += training_facts(live.facts)
    of_phase = min(live.done / live.total, 1.0) if live.total else 0.0
    st.progress(of_phase if live.share is None else live.share)
    st.caption(plain(" · ".join(facts)))


def training_facts(facts: Mapping[str, float]) -> list[str]:
    """What a step of training tells: loss, tokens a second, memory."""
    said = []
    if facts.get("loss") is not None:
        said.append(f"loss {facts['loss']:.3f}")
    if facts.get("tokens_per_second"):
        said.append(f"{facts['tokens_per_second']:,.0f} tokens a second")
    if facts.get("memory_bytes"):
        said.append(f"{wording.memory(facts['memory_bytes'])} of memory")
    return said


def job_trouble(job: Job, key: str) -> None:
    """What went wrong: a sentence first, the traceback folded, the log to download."""
    if job.state == "interrupted" and job.kind in ("ask", "tune"):
        st.caption(
            "Pluriscope was closed while this was under way. What was answered is saved; "
            "Resume asks only the rest."
        )
    if not job.error:
        return
    st.markdown(f":material/error: :red[{plain(job.error)}]")
    with st.expander("For the technically minded", type="compact"):
        st.code(job.details or "No details were recorded.", language=None, wrap_lines=True)
        st.download_button(
            "Download the log",
            lambda: log_text(job),
            file_name=f"pluriscope-{job.id}.log",
            mime="text/plain",
            key=f"{key}_log",
        )


def log_text(job: Job) -> str:
    """A job's record, and what the model's process printed meanwhile."""
    printed = jobs().log_text(job.id)
    if printed is None:
        printed = "It is not kept for this job."
    return (
        f"Job {job.id}: {job.title}\n"
        f"State: {job.state}\n"
        f"Error: {job.error or 'none'}\n\n"
        f"{job.details or ''}\n\nWhat the model's process printed meanwhile:\n{printed}"
    )
