"""The shelf of adapters: what each is, its card, export, import, merging, and delete."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from core import wording
from core.errors import PluriscopeError
from core.home import home
from core.jobs.queue import RESUMABLE
from core.models import adapter_exchange, catalogue
from core.models.adapters import AdapterEntry, adapters, delete_adapter, fits_base
from core.models.catalogue import Entry
from core.models.spec import ModelSpec, typed_path
from pages.widgets import job_status, model_picker, run_history, session, text

MOST_UPLOAD_MB = 1024


def shelf() -> None:
    known = adapters(home())
    if not known:
        st.write("There are no adapters yet.")
        st.caption(
            "An adapter (LoRA) is a small set of trained weights that is put on top of a model. "
            "Tuning makes one; one made elsewhere can be brought in."
        )
    with st.container(horizontal=True):
        if not known and st.button("Tune a model", type="primary", key="tune_one"):
            st.switch_page("pages/tune.py")
        if st.button("Import an adapter", key="import_adapter", icon=":material/upload:"):
            st.dialog("Import an adapter")(choose)()
    if done := st.session_state.pop("adapter_said", None):
        st.success(text.plain(done))
    failed_merges()
    for adapter in known:
        row(adapter)


def failed_merges() -> None:
    """Merges that did not come to their end, and why, until they are tried again or put away."""
    queue = session.jobs()
    for job in queue.store.jobs(RESUMABLE):
        if job.kind != "merge":
            continue
        with st.container(horizontal=True, vertical_alignment="center"):
            with st.container(gap=None):
                st.markdown(text.plain(job.title))
                st.caption(job_status.STATE_WORDS[job.state])
            st.button("Try again", key=f"merge_{job.id}", on_click=queue.resume, args=(job.id,))
            st.button(
                "Dismiss", key=f"dismiss_{job.id}", type="tertiary", on_click=queue.remove,
                args=(job.id,),
            )  # fmt: skip
        job_status.job_trouble(job, key=f"merge_trouble_{job.id}")


def row(adapter: AdapterEntry) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        with st.container(gap=None):
            st.markdown(text.plain(adapter.name))
            st.caption(text.plain(facts(adapter)))
        if st.button("Details", key=f"details_{adapter.path}", type="tertiary"):
            st.dialog(text.plain(adapter.name), width="large")(details)(adapter)
        st.download_button(
            "Export", lambda: adapter_exchange.export_zip(adapter), on_click="ignore",
            type="tertiary",
            file_name=f"{adapter_exchange.file_name(adapter)}.zip", mime="application/zip",
            icon=":material/download:", key=f"export_{adapter.path}",
            help="A zip of safetensors and a card, in PEFT's format: usable without Pluriscope.",
        )  # fmt: skip
        if st.button(
            "Delete", key=f"delete_{adapter.path}", type="tertiary", icon=":material/delete:"
        ):
            ask_to_delete(adapter)


def facts(adapter: AdapterEntry) -> str:
    """Base, countries and size in one line."""
    parts = [f"Tuned on {adapter.base_name or 'an unnamed model'}"]
    if adapter.countries:
        count = wording.count(len(adapter.countries), "country", "countries")
        parts.append(f"one for each of {count}")
    if not adapter.complete:
        parts.append("not trained to the end")
    parts.append(wording.size(adapter.size_bytes))
    return " · ".join(parts)


def details(adapter: AdapterEntry) -> None:
    st.caption(text.plain(facts(adapter)))
    if adapter.countries:
        st.caption(text.plain(", ".join(country_name(iso3) for iso3 in adapter.countries)))
    st.code(str(adapter.path), language=None, wrap_lines=True)
    merging(adapter)
    card = adapter_exchange.read_card(adapter.path)
    if not card:
        st.caption("It has no model card.")
        return
    st.markdown("**Model card**")
    # Anybody may have written it, so it is shown as text and not as Markdown.
    st.code(card, language=None, wrap_lines=True, height=420)


def country_name(iso3: str) -> str:
    known = {culture.iso3: culture.name for culture in session.store().survey().cultures}
    return known.get(iso3, iso3)


def merging(adapter: AdapterEntry) -> None:
    """Save the model with the adapter in its weights, as a model of its own."""
    base = base_here(adapter)
    if base is None:
        st.caption(
            text.plain(
                f"{adapter.base_name or 'Its model'} is not on this machine; with it, the two "
                "could be merged into one model."
            )
        )
        another_name(adapter)
        return
    with st.form("merge", border=False):
        country = None
        if adapter.countries:
            country = st.selectbox(
                "Country", adapter.countries, format_func=country_name, key="merge_country"
            )
        name = st.text_input(
            "Save both as one model",
            value=f"{adapter_exchange.file_name(adapter)}-merged",
            key="merge_name",
            max_chars=80,
            help="The adapter is added into the model's own weights (merged) and saved in the "
            "models folder. It takes as much disk as the model.",
        )
        if not st.form_submit_button("Merge and save", icon=":material/merge:"):
            return
    folder = adapter_exchange.merged_folder(home(), name)
    put_on = adapter.path / country if country else adapter.path
    spec = ModelSpec(base.source, base.revision, adapter=str(put_on))
    session.jobs().start_merge(spec, folder)
    model_picker.look_again()
    st.session_state["adapter_said"] = (
        f"It is being merged, in line with other work. When done it is among the models as "
        f"{folder.name}."
    )
    st.rerun()


def base_here(adapter: AdapterEntry) -> Entry | None:
    """The model here that an adapter can be put on."""
    every: Sequence[Entry] = [catalogue.builtin(), *model_picker.models_here()]
    return next((e for e in every if adapter.base and fits_base(adapter, e.source)), None)


def choose() -> None:
    st.caption(
        "A LoRA adapter in PEFT's format with safetensors weights. It is checked against its "
        "model before anything is kept; nothing in it is run."
    )
    with st.form("import_adapter_form", border=False):
        uploaded = st.file_uploader(
            "A zip", type="zip", key="adapter_upload", max_upload_size=MOST_UPLOAD_MB
        )
        typed = st.text_input(
            "Or a folder or zip on this machine",
            key="adapter_path",
            placeholder="/home/me/adapters/my-adapter",
            max_chars=500,
        ).strip()
        if not st.form_submit_button("Import", type="primary", key="adapter_go"):
            return
    if not uploaded and not typed:
        st.error("Choose a zip, or give the path of an adapter's folder.")
    elif uploaded:
        bring_in(uploaded.getvalue(), Path(uploaded.name).stem)
    else:
        bring_in(typed_path(typed), "")


def bring_in(file: bytes | Path, name: str) -> None:
    try:
        brought = adapter_exchange.bring_in(file, home(), name=name)
    except PluriscopeError as error:
        st.error(text.plain(str(error)))
        return
    fits = [] if brought.base else adapter_exchange.fitting(brought.adapter, home())
    st.session_state["adapter_said"] = adapter_exchange.imported_words(brought, fits)
    st.rerun()


def another_name(adapter: AdapterEntry) -> None:
    """One question where its base is not here by name, and models here have its layers."""
    fits = adapter_exchange.fitting(adapter, home())
    if not fits:
        return
    with st.form("another_name", border=False):
        st.caption(
            text.plain(
                f"It says that it was tuned on {adapter.base_name or 'no model by name'}, which is "
                "not on this machine under that name. Its layers and their sizes fit a model that "
                "is; only you can know whether it is the same one."
            )
        )
        base = st.selectbox("Model", fits, format_func=lambda one: one.name, key="named_base")
        if not st.form_submit_button("It is this model", icon=":material/check:"):
            return
    adapter_exchange.take_for(adapter, base)
    st.session_state["adapter_said"] = (
        f"“{adapter.name}” is for {base.name} from now on: choose it under Adapter when you ask "
        "that model."
    )
    st.rerun()


def ask_to_delete(adapter: AdapterEntry) -> None:
    run_history.confirm(
        f"Delete the adapter {adapter.name}?",
        f"Its files ({wording.size(adapter.size_bytes)}) are removed for good. "
        "Runs that asked with it stay.",
        "Delete",
        delete_adapter,
        adapter,
        home(),
    )
