"""What was asked before: a row each, with its menu; undo."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import streamlit as st

from core.errors import PluriscopeError
from core.jobs import askings, plan
from core.jobs.queue import RESUMABLE, UNFINISHED
from core.models import catalogue
from core.store.runs import Run
from core.views import export, provenance
from core.views.tables import TABLES, tables_of
from pages.widgets.job_status import STATE_WORDS, job_trouble
from pages.widgets.session import jobs, store
from pages.widgets.text import plain, when


def asking_facts(asking: askings.Asking) -> str:
    """Under an asking's name: how it ended, how much it holds, its model, its date."""
    first = asking.runs[0]
    held = f"{asking.answered:,} answers"
    if asking.answered < asking.planned:
        held = f"{asking.answered:,} of {asking.planned:,} answers"
    parts = [
        STATE_WORDS.get(asking.state, asking.state),
        held,
        plain(catalogue.describe(first.settings.model)),
        when(first.created),
    ]
    return " · ".join(parts)


Also = Mapping[str, Callable[[askings.Asking], None]]


def asking_row(asking: askings.Asking, also: Also | None = None) -> None:
    """One line of a history: what it is, Resume where that helps, its map, and more.

    also: what else its menu offers, once it has ended: label -> what to do with it.
    """
    job = asking.job
    with st.container(horizontal=True, vertical_alignment="center"):
        with st.container(gap=None):
            st.markdown(plain(asking.name))
            st.caption(asking_facts(asking))
        if job and job.state in RESUMABLE:
            st.button("Resume", key=f"resume_{job.id}", on_click=jobs().resume, args=(job.id,))
        if asking.runs[0].kind == "question":
            st.page_link("pages/ask.py", label="Open", query_params={"ask": asking.group})
        elif asking.answered:
            st.page_link("pages/map.py", label="Map", query_params={"run": asking.group})
        _asking_menu(asking, also or {})
    if job:
        job_trouble(job, key=f"trouble_{job.id}")


def _asking_menu(asking: askings.Asking, also: Also) -> None:
    """Export, rename, ask again, delete, and `also`."""
    under_way = asking.state in UNFINISHED
    chosen = st.menu_button(
        "More",
        ("Export", "Rename", "Ask again")
        if under_way
        else ("Export", *also, "Rename", "Ask again", "Delete"),
        type="tertiary",
        key=f"menu_{asking.group}",
    )
    if chosen == "Export":
        _export(asking)
    elif chosen == "Rename":
        _rename(asking)
    elif chosen in also:
        also[chosen](asking)
    elif chosen == "Ask again":
        if again(asking.runs[0]):
            st.rerun()
    elif chosen == "Delete":
        store().delete_runs([run.id for run in asking.runs])
        deleted(asking.name, [run.id for run in asking.runs])
        st.rerun()


@st.dialog("Export")
def _export(asking: askings.Asking) -> None:
    """The files of one run; made when they are asked for."""
    names = {run.id: run.way for run in asking.runs}
    if asking.runs[0].kind == "question":
        names = {run.id: run.name for run in asking.runs}
    run_id = st.radio("Which answers", names, format_func=lambda one: plain(names[one]))
    run = next(one for one in asking.runs if one.id == run_id)
    tables = {"answers": TABLES["answers"].words}
    if run.kind != "question":
        tables = tables_of(store(), run)
    what = st.selectbox("What", tables, format_func=tables.get, key="export_what")

    def make(to_bytes: Callable[[pd.DataFrame], bytes]) -> Callable[[], bytes]:
        return lambda: to_bytes(TABLES[what].make(store(), run, ""))

    def with_card(table: pd.DataFrame) -> bytes:
        return export.parquet_bytes(table, provenance.card_json(store(), run))

    for label, words_for, end, mime, data in (
        ("CSV", "A table for spreadsheets.", f"{what}.csv", "text/csv", make(export.csv_bytes)),
        ("Parquet", "The same for statistics programs; the card is inside.", f"{what}.parquet",
         "application/vnd.apache.parquet", make(with_card)),
        ("Card", "Where it all comes from: model, wording in full, questions, people, versions.",
         "card.json", "application/json", lambda: provenance.card_json(store(), run)),
        ("JSON", "The whole run: its settings, the wording, every single answer.", "json",
         "application/json", lambda: export.run_json(store(), run_id)),
    ):  # fmt: skip
        with st.container(gap="xxsmall"):
            st.download_button(
                label,
                data,
                file_name=f"pluriscope-{run_id}{'.' if end == 'json' else '-'}{end}",
                mime=mime,
                on_click="ignore",
                icon=":material/download:",
                key=f"export_{label.lower()}",
            )
            st.caption(words_for)
    st.caption("Holds answers of the model and national averages, never a single person's answers.")


def confirm(title: str, text: str, verb: str, do: Callable[..., None], *args: object) -> None:
    """Ask before something that cannot be taken back, in a dialog."""

    def body() -> None:
        st.write(plain(text))
        with st.container(horizontal=True):
            if st.button(verb, type="primary", key="confirm_yes"):
                try:
                    do(*args)
                except PluriscopeError as error:
                    st.error(plain(str(error)))
                    return
                st.rerun()
            if st.button("Cancel", key="confirm_no"):
                st.rerun()

    st.dialog(plain(title))(body)()


def empty(text: str, page: str, label: str) -> None:
    """An empty state: what is missing, and the one button that mends it."""
    st.write(text)
    if st.button(label, type="primary", key="mend"):
        st.switch_page(page)


def again(run: Run, seed: int | None = None) -> str | None:
    """Start the asking a run belongs to anew; gives the job's id, or says why not."""
    try:
        return jobs().start(plan.again(store(), run, seed))
    except PluriscopeError as error:
        st.error(plain(str(error)))
        return None


@st.dialog("Rename")
def _rename(asking: askings.Asking) -> None:
    with st.form("rename", border=False):
        name = st.text_input("Name", asking.name, max_chars=200)
        if st.form_submit_button("Rename", type="primary"):
            if name.strip():
                askings.rename(store(), asking, name)
                st.rerun()
            st.caption("Give it a name.")


def deleted(name: str, run_ids: Sequence[str], discarded: str | None = None) -> None:
    """Remember what was put in the bin last, for undo_bar. discarded: the job it was put with."""
    st.session_state["deleted"] = (name, list(run_ids), discarded)


def undo_bar() -> None:
    """After a deletion: what was deleted, and a button that takes it back."""
    if "deleted" not in st.session_state:
        return
    name, run_ids, discarded = st.session_state["deleted"]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"“{plain(name)}” is in the bin.", width="content")
        st.button("Undo", key="undo", type="tertiary", on_click=_undo,
                  args=(run_ids, discarded))  # fmt: skip


def _undo(run_ids: Sequence[str], discarded: str | None) -> None:
    store().restore_runs(run_ids)
    if discarded:
        jobs().take_back(discarded)
    del st.session_state["deleted"]
