"""Choose a model, its precision and its adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from core import wording
from core.errors import PluriscopeError
from core.home import home
from core.models import catalogue, memory_fit
from core.models.adapters import AdapterEntry, adapters, fits_base
from core.models.catalogue import Entry
from core.models.hub import NotReached
from core.models.spec import HUB_ID, PRECISIONS, ModelSpec, resolve_precision
from pages.widgets.session import jobs, store
from pages.widgets.text import plain

KINDS = ("Built in", "On this machine", "To download")


def model_picker(key: str = "model") -> ModelSpec | None:
    """Choose a model, its precision and an adapter. None while the choice cannot be used.

    Says size, licence and whether it fits before anything is loaded. The choice follows the user
    from page to page, and stands in the address (?model=, ?precision=, ?adapter=) unless it is the
    built-in model as it is.
    """
    _from_address(key)
    spec = _pick_model(key)
    if spec:
        _to_address(spec, key)
    return spec


# Why: docs/decisions.md, "A link can name a model, never consent."
MODEL_IN_ADDRESS = ("model", "precision", "adapter")


def _from_address(key: str) -> None:
    """Set the picker to the model a link names. Consent to its own code is never in a link.

    An address that names none leaves the choice alone, so that going Back never undoes it.
    """
    here = tuple(st.query_params.get(name, "") for name in MODEL_IN_ADDRESS)
    if any(here) and here != st.session_state.get(f"{key}_seen"):
        source, precision, adapter = here
        source, _, revision = (source or "builtin").partition("@")
        precision = precision if precision in PRECISIONS else "auto"
        set_picker(ModelSpec(source, revision or None, precision, adapter or None), key)


def _to_address(spec: ModelSpec, key: str) -> None:
    """Write a model that was just chosen, here or on the page before, into the address.

    Not again on every run: it would put back what Back has taken away, and Back would lead nowhere.
    """
    usual = resolve_precision(replace(spec, precision="auto"))
    precision = resolve_precision(spec)
    source = f"{spec.source}@{spec.revision}" if spec.revision else spec.source
    said = (source, "" if precision == usual else precision, spec.adapter or "")
    if said == ("builtin", "", ""):
        said = ("", "", "")
    page = (st.context.url or "").partition("?")[0]
    if (page, said) == st.session_state.get(f"{key}_written"):
        return
    for name, value in zip(MODEL_IN_ADDRESS, said, strict=True):
        if value:
            st.query_params[name] = value
        else:
            st.query_params.pop(name, None)
    st.session_state[f"{key}_seen"] = said
    st.session_state[f"{key}_written"] = (page, said)


def _pick_model(key: str) -> ModelSpec | None:
    st.session_state.setdefault(f"{key}_kind", KINDS[0])
    kind = st.segmented_control(
        "Where the model is",
        KINDS,
        required=True,
        key=f"{key}_kind",
        persist_state="session",
        label_visibility="collapsed",
    )
    entry, source, revision = _pick_entry(kind or KINDS[0], key)
    problem, spec = "Choose a model first.", None
    if source:
        if entry:
            _describe_entry(entry)
        try:
            problem = entry.problem or catalogue.no_room(entry) if entry else ""
            spec = None if problem else _pick_details(source, revision, key)
        except PluriscopeError as error:
            problem = str(error)
        if problem:
            st.error(plain(problem))
    st.session_state[f"{key}_problem"] = problem
    return spec


def set_picker(spec: ModelSpec, key: str = "model") -> None:
    """Set model_picker to a model, before it is drawn: when a stored answer is opened."""
    precision = resolve_precision(spec)
    st.session_state[f"{key}_precision_{spec.source == 'builtin'}"] = precision
    st.session_state[f"{key}_adapter"] = spec.adapter
    st.session_state[f"{key}_trust_{spec.source}"] = spec.trust_remote_code
    if spec.source == "builtin":
        st.session_state[f"{key}_kind"] = KINDS[0]
        return
    name = f"{spec.source}@{spec.revision}" if spec.revision else spec.source
    here = any(_name(entry) == name for entry in models_here())
    listed = any(entry.source == name for entry in catalogue.to_download())
    kind = KINDS[1] if here or not HUB_ID.fullmatch(spec.source) else KINDS[2]
    st.session_state[f"{key}_kind"] = kind
    if here or listed:
        st.session_state[f"{key}_{kind}_entry"] = name
    st.session_state[f"{key}_{kind}_typed"] = "" if here or listed else name


def same_model(one: ModelSpec, other: ModelSpec) -> bool:
    """The same weights at the same precision, however that was said."""
    return replace(one, precision=resolve_precision(one)) == replace(
        other, precision=resolve_precision(other)
    )


def picker_problem(key: str = "model") -> str:
    """Why model_picker gave None, in a sentence."""
    return st.session_state.get(f"{key}_problem", "")


def model_words(spec: ModelSpec) -> str:
    """A model inside a sentence."""
    return "the built-in model" if spec == ModelSpec("builtin") else catalogue.describe(spec)


def picked_model(key: str = "model") -> ModelSpec:
    """What model_picker was last set to; the built-in model before it was ever shown."""
    return st.session_state.get(f"{key}_spec") or ModelSpec("builtin")


def _pick_entry(kind: str, key: str) -> tuple[Entry | None, str | None, str | None]:
    """The entry chosen, and its source and revision; a source without entry was typed."""
    if kind == KINDS[0]:
        return catalogue.builtin(), "builtin", None
    if kind == KINDS[1]:
        known = {_name(entry): entry for entry in models_here()}
        hint, example = "Or the folder of a model", "/home/me/models/my-model"
    else:
        here = {entry.source for entry in models_here()}
        known = {e.source: e for e in catalogue.to_download() if e.source not in here}
        hint, example = "Or any Hugging Face id", "owner/name, or owner/name@revision"
    chosen = None
    if known:
        chosen = st.selectbox(
            "Model",
            known,
            format_func=lambda name: _entry_words(known[name]),
            key=f"{key}_{kind}_entry",
            persist_state="session",
        )
    else:
        st.caption(
            "No model was found in Pluriscope's models folder or in the Hugging Face cache. "
            "Give the folder of one, or choose one to download."
        )
    typed = st.text_input(
        hint,
        key=f"{key}_{kind}_typed",
        placeholder=example,
        persist_state="session",
        max_chars=500,
    ).strip()
    if kind == KINDS[1]:
        st.button(
            "Look again",
            key=f"{key}_again",
            type="tertiary",
            icon=":material/refresh:",
            on_click=look_again,
        )
    if typed:
        source, _, revision = typed.partition("@") if kind == KINDS[2] else (typed, "", "")
        source, revision = source.strip(), revision.strip() or None
        return _typed_entry(source, revision), source, revision
    entry = known.get(chosen)
    return (entry, entry.source, entry.revision) if entry else (None, None, None)


def _typed_entry(source: str, revision: str | None) -> Entry:
    """What there is to know of a model that was typed: from its folder, or from Hugging Face."""
    try:
        folder = catalogue.find(ModelSpec(source, revision))
    except PluriscopeError as error:
        return Entry("here", source, source, problem=str(error))
    return catalogue.at(folder) if folder else _offered(source, revision)


@st.cache_data(ttl=120, max_entries=64, show_spinner="Asking Hugging Face …")
def _offered(source: str, revision: str | None) -> Entry:
    try:
        return catalogue.offered(source, revision)
    except NotReached:
        said = "Hugging Face cannot be reached, so size and licence of this model are not known."
        return Entry("download", source, source, note=said)
    except PluriscopeError as error:
        return Entry("download", source, source, problem=str(error))


def _name(entry: Entry) -> str:
    return f"{entry.source}@{entry.revision}" if entry.revision else entry.source


def models_here() -> list[Entry]:
    """Models on this machine. Looks again once a job has ended: it may have brought one."""
    done = store().jobs(("done",), limit=1)
    held = jobs().model
    return _models_here(done[0].id if done else "", held.name if held else None)


@st.cache_data(ttl=60, max_entries=8, show_spinner="Looking for models …")
def _models_here(last_done: str, held: str | None) -> list[Entry]:
    return catalogue.on_this_machine(home())


def look_again() -> None:
    """Have models_here look at the disk again."""
    _models_here.clear()


def model_fit(spec: ModelSpec) -> memory_fit.Fit:
    """Memory needed against what is free once the model held now has made room.

    Raises ModelError on a source that cannot be one.
    """
    return _model_fit(spec, jobs().held_bytes())


@st.cache_data(ttl=10, max_entries=64, show_spinner=False)
def _model_fit(spec: ModelSpec, held_bytes: int) -> memory_fit.Fit:
    catalogue.find(spec)
    return memory_fit.fit(spec, held_bytes=held_bytes)


def _entry_words(entry: Entry) -> str:
    parts = [entry.name]
    if entry.parameters:
        parts.append(parameter_words(entry.parameters))
    if entry.gated:
        parts.append("needs permission")
    return " · ".join(parts)


def parameter_words(parameters: int) -> str:
    """Parameters for people: 8.0 billion, 494 million."""
    if parameters >= 1e9:
        return f"{parameters / 1e9:.1f} billion"
    return f"{parameters / 1e6:.{0 if parameters >= 1e7 else 1}f} million"


def entry_facts(entry: Entry) -> str:
    """Size, licence and languages of a model, in one line."""
    facts = []
    if entry.parameters:
        facts.append(f"{parameter_words(entry.parameters)} parameters")
    if entry.size_bytes:
        size = wording.size(entry.size_bytes)
        facts.append(f"{size} to download" if entry.kind == "download" else f"{size} on disk")
    if entry.kind == "builtin":
        facts.append("comes with Pluriscope")
    if entry.licence:
        facts.append(f"licence: {entry.licence}")
    if entry.languages:
        facts.append(entry.languages)
    return plain(" · ".join(facts))


def _describe_entry(entry: Entry) -> None:
    if facts := entry_facts(entry):
        st.caption(facts)
    if entry.note:
        st.caption(plain(entry.note))
    if entry.gated:
        st.caption(
            "Gated: accept its licence on its Hugging Face page, then sign in on this machine "
            "with `hf auth login`."
        )


def _pick_details(source: str, revision: str | None, key: str) -> ModelSpec:
    fit = model_fit(ModelSpec(source, revision))
    usual = resolve_precision(ModelSpec(source))
    st.session_state.setdefault(f"{key}_precision_{source == 'builtin'}", usual)
    precision = st.segmented_control(
        "Precision",
        list(PRECISIONS),
        required=True,
        format_func=PRECISIONS.get,
        key=f"{key}_precision_{source == 'builtin'}",
        persist_state="session",
        help=(
            "How many bits each of the model's numbers takes. 4-bit (NF4 with double "
            "quantisation) needs the least memory and can change answers a little."
        ),
    )
    if fit.needed_bytes:
        st.caption(_needs_words(fit))
    adapter = _pick_adapter(source, key)
    consent = source != "builtin" and st.checkbox(
        "Let this model run code of its own",
        key=f"{key}_trust_{source}",
        help="trust_remote_code",
    )
    if source != "builtin":
        st.caption(
            "Some models bring Python code that would run on this computer with your rights. "
            "Off unless you know who made this one; most models do not need it."
        )
    spec = ModelSpec(
        source,
        revision,
        "auto" if precision in (None, usual) else precision,
        str(adapter) if adapter else None,
        bool(consent),
    )
    fit = model_fit(spec)
    if fit.fits:
        icon = "check" if fit.needed_bytes else "info"
        st.caption(f":material/{icon}: {plain(fit.sentence)}")
    else:
        st.warning(plain(fit.sentence))
    st.session_state[f"{key}_spec"] = spec
    return spec


def _needs_words(fit: memory_fit.Fit) -> str:
    """The memory each precision needs: "Needs about 2.4 GB in 4-bit (NF4), …"."""
    needs = [
        f"{wording.memory(need)} in {PRECISIONS[name]}"
        + ("" if need <= fit.free_bytes else " (more than is free)")
        for name, need in fit.needed_bytes.items()
    ]
    return plain(f"Needs about {wording.listed(needs)}.")


def _pick_adapter(source: str, key: str) -> str | None:
    """An adapter that was tuned on this model; those of other models are not offered."""
    known: Sequence[AdapterEntry] = adapters(home())
    names = {str(a.path): _adapter_words(a) for a in known if fits_base(a, source)}
    chosen = st.session_state.get(f"{key}_adapter")
    if chosen and chosen not in names:
        st.session_state[f"{key}_adapter"] = None
    if not names:
        return None
    return st.selectbox(
        "Adapter",
        [None, *names],
        format_func=lambda path: names[path] if path else "None",
        key=f"{key}_adapter",
        persist_state="session",
        help="Small trained weights (LoRA) that are put on top of the model.",
    )


def _adapter_words(adapter: AdapterEntry) -> str:
    if adapter.countries:
        count = wording.count(len(adapter.countries), "country", "countries")
        return f"{adapter.name} (one for each of {count})"
    return adapter.name
