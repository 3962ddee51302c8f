"""What is on this machine: models, adapters, runs, surveys, and the room they take."""

from __future__ import annotations

import streamlit as st

from core import wording
from core.home import home
from core.jobs.askings import askings
from core.models import catalogue
from pages.widgets import adapters, methods, model_picker, run_history, session, text
from pages.widgets.surveys import PEOPLE, key_of

SHELVES = ("Runs", "Models", "Adapters", "Surveys", "Storage")
A_PAGE = 12

store = session.store()


def delete_button(of: str) -> bool:
    return st.button("Delete", key=f"delete_{of}", type="tertiary", icon=":material/delete:")


# -- runs ------------------------------------------------------------------------------------------


def run_shelf() -> None:
    run_history.undo_bar()
    every = askings(store, kind=None)
    if not every:
        run_history.empty(
            "Nothing has been asked yet. A run asks a model many questions and keeps every answer.",
            "pages/run.py",
            "Start a run",
        )
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        search = st.text_input(
            "Search", key="find_run", placeholder="Search by name or model", type="search",
            label_visibility="collapsed", live="300ms", bind="query-params",
        )  # fmt: skip
        single = st.toggle("Single questions too", key="singles", bind="query-params")
    found = [
        asking
        for asking in every
        if asking.runs[0].kind != "tuning"  # a tuning's own questions: read on Tune
        and (single or asking.runs[0].kind != "question")
        and search.casefold() in f"{asking.name} {asking.runs[0].model}".casefold()
    ]
    if not found:
        st.caption("No run has these words in its name." if search else "No runs over a survey.")
        return
    pages = -(-len(found) // A_PAGE)
    place = st.pagination(pages, key="run_page") if pages > 1 else 1
    for asking in found[(place - 1) * A_PAGE : place * A_PAGE]:
        run_history.asking_row(asking, methods.MORE if asking.runs[0].kind != "question" else None)


# -- models ----------------------------------------------------------------------------------------


def model_shelf() -> None:
    model_row(catalogue.builtin())
    here = model_picker.models_here()
    for entry in here:
        model_row(entry)
    if not here:
        st.caption(
            "No other model is on this machine yet. Choose one under “To download” when you ask; "
            "it is kept here."
        )


def model_row(entry: catalogue.Entry) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        with st.container(gap=None):
            st.markdown(text.plain(entry.name))
            st.caption(model_picker.entry_facts(entry))
            if entry.problem or entry.note:
                st.caption(text.plain(entry.problem or entry.note))
        mine = catalogue.can_delete(entry, home())
        if mine and delete_button(f"{entry.source}_{entry.revision}"):
            ask_to_delete_model(entry)


def ask_to_delete_model(entry: catalogue.Entry) -> None:
    run_history.confirm(
        f"Delete {entry.name}?",
        f"Its files ({wording.size(entry.size_bytes or 0)}) are removed from this machine. "
        "Runs that asked it stay. It can be downloaded again.",
        "Delete",
        delete_model,
        entry,
    )


def delete_model(entry: catalogue.Entry) -> None:
    catalogue.delete(entry, home())
    model_picker.look_again()
    st.toast(f"{text.plain(entry.name)} is deleted.")


# -- surveys ---------------------------------------------------------------------------------------


def survey_shelf() -> None:
    st.page_link("pages/import.py", label="Bring in a survey", icon=":material/upload_file:")
    for survey in store.surveys().to_dict("records"):
        survey_row(survey)
    binned = store.surveys(deleted=True).to_dict("records")
    if not binned:
        return
    st.subheader("In the bin", anchor=False)
    for survey in binned:
        with st.container(horizontal=True, vertical_alignment="center"):
            with st.container(gap=None):
                st.markdown(text.plain(survey["name"]))
                st.caption(survey_words(survey))
            st.button(
                "Bring back", key=f"back_{survey['id']}_{survey['version']}", type="tertiary",
                on_click=store.restore_survey, args=(survey["id"], survey["version"]),
            )  # fmt: skip


def survey_row(survey: dict) -> None:
    key = key_of(store.survey(survey["id"], survey["version"]))
    with st.container(horizontal=True, vertical_alignment="center"):
        with st.container(gap=None):
            st.markdown(text.plain(survey["name"]))
            st.caption(survey_words(survey))
        st.page_link("pages/items.py", label="Answers", query_params={"run": f"{PEOPLE}{key}"})
        st.page_link("pages/run.py", label="Ask", query_params={"survey": key})
        if survey["source"] == "bundled":
            st.caption("Comes with Pluriscope", width="content")
        elif delete_button(f"{survey['id']}_{survey['version']}"):
            ask_to_delete_survey(survey)
    with st.expander("Citation, to copy", type="compact"):
        st.code(survey["citation"] or "None was given.", language=None, wrap_lines=True)


def survey_words(survey: dict) -> str:
    facts = [
        wording.count(survey["items"], "question"),
        wording.count(survey["countries"], "country", "countries"),
        f"asked in {wording.count(survey['runs'], 'run')}",
        f"version {survey['version']}",
    ]
    if survey["source"] not in ("bundled", ""):
        facts.append(f"from {survey['source']}, {survey['added']:%-d %b %Y}")
    return text.plain(" · ".join(facts))


def ask_to_delete_survey(survey: dict) -> None:
    run_history.confirm(
        f"Delete {survey['name']}?",
        "It can no longer be asked. Runs that asked it keep their questions and scores. It lies in "
        "the bin until that is emptied.",
        "Delete",
        store.delete_survey,
        survey["id"],
        survey["version"],
    )


# -- storage ---------------------------------------------------------------------------------------

KEPT = {
    "store": "Surveys, runs and answers",
    "models": "Downloaded models",
    "adapters": "Adapters",
    "exports": "Exports",
    "other": "Other files",
}


def storage_shelf() -> None:
    used = session.storage(store.changes)
    st.markdown(f"**{wording.size(sum(used.values()))}** in this folder:")
    st.code(str(home()), language=None, width="content")
    st.table(
        {
            "": [name for kind, name in KEPT.items() if used[kind]],
            " ": [wording.size(used[kind]) for kind in KEPT if used[kind]],
        },
        hide_index=True,
        hide_header=True,
        border="horizontal",
        width=420,
        alt="Room taken on this machine by what it is for",
    )
    st.subheader("The bin", anchor=False)
    binned, surveys = store.runs(kind=None, deleted=True), store.surveys(deleted=True)
    tunings = store.tunings(deleted=True)
    if not binned and surveys.empty and not tunings:
        st.caption(
            "The bin is empty. Deleted runs, tunings and surveys lie here until it is emptied."
        )
        return
    answers = sum(run.answered for run in binned)
    held = [
        *([f"{wording.count(len(binned), 'run')} with {answers:,} answers"] if binned else []),
        *([wording.count(len(tunings), "tuning")] if tunings else []),
        *([wording.count(len(surveys), "survey")] if len(surveys) else []),
    ]
    st.write(f"{wording.capital(wording.listed(held))}.")
    with st.container(horizontal=True):
        st.button("Take everything back", key="restore", on_click=take_back,
                  args=(binned, tunings, surveys))  # fmt: skip
        if st.button("Empty the bin", key="empty_bin", type="tertiary"):
            ask_to_empty()
    for run in binned[:20]:
        st.caption(text.plain(f"{run.name}, {run.answered:,} answers"))
    for name in [*(one["name"] for one in tunings), *surveys["name"]]:
        st.caption(text.plain(name))


def take_back(binned, tunings, surveys) -> None:
    for tuning in tunings:
        store.restore_tuning(tuning["id"])
    store.restore_runs([run.id for run in binned])
    for survey_id, version in zip(surveys["id"], surveys["version"], strict=True):
        store.restore_survey(survey_id, version)


def ask_to_empty() -> None:
    run_history.confirm(
        "Empty the bin?",
        "The runs in it and their answers are removed for good, tunings with their questions, "
        "pairs and binned adapters, and surveys that no run was asked. This cannot be undone.",
        "Remove for good",
        empty,
    )


def empty() -> None:
    gone = store.empty_bin()
    store.forget_surveys()
    st.session_state.pop("deleted", None)
    st.toast(f"{wording.capital(wording.count(gone, 'run'))} removed for good.")


# -- the page --------------------------------------------------------------------------------------

st.title("What is on this machine")
shelf = st.segmented_control(
    "Shelf",
    SHELVES,
    default=SHELVES[0],
    required=True,
    key="shelf",
    bind="query-params",
    label_visibility="collapsed",
)
{
    "Runs": run_shelf,
    "Models": model_shelf,
    "Adapters": adapters.shelf,
    "Surveys": survey_shelf,
    "Storage": storage_shelf,
}[shelf]()
