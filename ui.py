"""The one door between Streamlit and core: cached store and jobs, and small shared widgets."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from urllib.parse import urlencode

import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler

from core import catalogue, comparing, export, languages, runs, scores, views, words
from core.catalogue import PRECISIONS, AdapterEntry, Entry, ModelSpec
from core.errors import PluriscopeError, StoreBusy
from core.figures import CONFIG, Figure, palette
from core.hub import NotReached
from core.jobs import RESUMABLE, UNFINISHED, Jobs, Live, open_jobs
from core.metrics import HEADLINE, METRICS
from core.prompts import METHODS, PROMPTS, templates
from core.responses import texts_of
from core.settings import AskSettings, home
from core.store import Run, Store

READING = 800  # pixels: a line of text that is pleasant to read
TEACHING = catalogue.TEACHING


@st.cache_resource(show_spinner=False)
def _jobs() -> Jobs:
    jobs = open_jobs(home())
    runs.ensure_demo(jobs)
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


# -- text ------------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """Text of unknown origin for a place that reads Markdown: shown as it is, never obeyed.

    Use st.text or st.code where a whole block is shown.
    """
    escaped = re.sub(r"([\\`*_{}\[\]()#+\-.!|<>~$:&=\"'^@/])", r"\\\1", text)
    # Addresses become links even when escaped; a word joiner, which nobody sees, prevents it.
    return re.sub(r"(?i)(\\:(?=\\/)|www(?=\\\.)|\\@)", "\\1\u2060", escaped)


def clock(seconds: float) -> str:
    """Time gone by: 0:08, 12:40, 1:02:03."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def about(seconds: float) -> str:
    """Time to come: "about 20 seconds"."""
    spoken = words.duration(seconds)
    return spoken if spoken.startswith(("about", "under")) else f"about {spoken}"


# -- what is in memory, what is being done ---------------------------------------------------------


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


def _held_words(held: dict | None) -> str:
    if held is None:
        return "No model in memory"
    name = plain(catalogue.describe(ModelSpec.from_json(held["spec"])))
    precision = catalogue.precision_words(held["precision"])
    where = "on the graphics card" if "cuda" in held["device"] else "of memory"
    return f"**{name}** · {precision} · {catalogue.words(held['memory_bytes'])} {where}"


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
        whole = f", {words.percent(live.share)} of the tuning" if live.share else ""
        left = f", {about(live.eta)} left" if live.eta else ""
        return f"{live.stage}{whole}{left}"
    if live.phase == "starting":
        return "Getting ready"
    if live.phase == "loading":
        return f"{live.doing}, {clock(live.elapsed)}"
    if live.phase == "comparing":
        return "Comparing with people"
    if live.phase == "merging":
        return f"{live.doing}, {clock(live.elapsed)}"
    done = words.percent(live.done / live.total) if live.total else ""
    said = f"Asking {words.count(live.total, 'question')}, {done}"
    return f"{said}, {about(live.eta)} left" if live.eta else said


# -- where a number comes from ---------------------------------------------------------------------


def provenance(*of: Run, label: str = "Where this comes from", key: str | None = None) -> None:
    """A small button beside a figure that says where its numbers come from.

    Of several runs, what they share is said once and what tells them apart under each name.
    """
    with st.popover(label, icon=":material/info:", type="tertiary", key=key):
        facts = [export.provenance(store(), run) for run in of]
        shared = [fact for fact in facts[0] if all(fact in others for others in facts)]
        if len(of) > 1:
            _fact_table(shared)
        for run, mine in zip(of, facts, strict=True):
            st.markdown(f"**{plain(run.name)}**")
            _fact_table(mine if len(of) == 1 else [fact for fact in mine if fact not in shared])
            with st.expander("The wording, with blanks"):
                st.code(_wording(run), language=None, wrap_lines=True)
        with st.expander("All of it as text, to copy"):
            told = [export.provenance_text(store(), run) for run in of]
            st.code("\n\n".join(told), language=None, wrap_lines=True)


def _fact_table(facts: Sequence[export.Fact]) -> None:
    st.table(
        {"": [fact.name for fact in facts], " ": [plain(fact.value) for fact in facts]},
        hide_index=True,
        hide_header=True,
        border="horizontal",
    )


def _wording(run: Run) -> str:
    """The wording of a run with its blanks, in every language it was asked in."""
    settings = AskSettings.from_json(run.settings)
    explain = settings.answering == "written" and settings.explain
    try:
        prompts, translations = texts_of(store(), settings)
    except PluriscopeError as error:
        return str(error)
    every = [prompts, *(there.prompts for there in translations.values())]
    told = {one.language: templates(one, settings.asked_method, explain) for one in every}
    if len(told) == 1:
        return "\n\n".join(*told.values())
    names = {language: languages.language_name(language) for language in told}
    return "\n\n".join("\n\n".join([f"[{names[one]}]", *told[one]]) for one in told)


# -- choosing a model ------------------------------------------------------------------------------

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


MODEL_IN_ADDRESS = ("model", "precision", "adapter")


def _from_address(key: str) -> None:
    """Set the picker to the model a link names. Consent to its own code is never in a link.

    An address that names none leaves the choice alone, so that going Back never undoes it.
    """
    here = tuple(st.query_params.get(name, "") for name in MODEL_IN_ADDRESS)
    if any(here) and here != st.session_state.get(f"{key}_seen"):
        source, precision, adapter = here
        source, _, revision = (source or "builtin").partition("@")
        precision = precision if precision in catalogue.PRECISIONS else "auto"
        set_picker(ModelSpec(source, revision or None, precision, adapter or None), key)


def _to_address(spec: ModelSpec, key: str) -> None:
    """Write a model that was just chosen, here or on the page before, into the address.

    Not again on every run: it would put back what Back has taken away, and Back would lead nowhere.
    """
    usual = catalogue.resolve_precision(replace(spec, precision="auto"))
    precision = catalogue.resolve_precision(spec)
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
    precision = catalogue.resolve_precision(spec)
    st.session_state[f"{key}_precision_{spec.source == 'builtin'}"] = precision
    st.session_state[f"{key}_adapter"] = spec.adapter
    st.session_state[f"{key}_trust_{spec.source}"] = spec.trust_remote_code
    if spec.source == "builtin":
        st.session_state[f"{key}_kind"] = KINDS[0]
        return
    name = f"{spec.source}@{spec.revision}" if spec.revision else spec.source
    here = any(_name(entry) == name for entry in models_here())
    listed = any(entry.source == name for entry in catalogue.to_download())
    kind = KINDS[1] if here or not catalogue.HUB_ID.fullmatch(spec.source) else KINDS[2]
    st.session_state[f"{key}_kind"] = kind
    if here or listed:
        st.session_state[f"{key}_{kind}_entry"] = name
    st.session_state[f"{key}_{kind}_typed"] = "" if here or listed else name


def same_model(one: ModelSpec, other: ModelSpec) -> bool:
    """The same weights at the same precision, however that was said."""
    return replace(one, precision=catalogue.resolve_precision(one)) == replace(
        other, precision=catalogue.resolve_precision(other)
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
    return _models_here(done[0]["id"] if done else "", (jobs().model or {}).get("name"))


@st.cache_data(ttl=60, max_entries=8, show_spinner="Looking for models …")
def _models_here(last_done: str, held: str | None) -> list[Entry]:
    return catalogue.on_this_machine(home())


def look_again() -> None:
    """Have models_here look at the disk again."""
    _models_here.clear()


def model_fit(spec: ModelSpec) -> catalogue.Fit:
    """Memory needed against what is free once the model held now has made room.

    Raises ModelError on a source that cannot be one.
    """
    return _model_fit(spec, jobs().held_bytes())


@st.cache_data(ttl=10, max_entries=64, show_spinner=False)
def _model_fit(spec: ModelSpec, held_bytes: int) -> catalogue.Fit:
    catalogue.find(spec)
    return catalogue.fit(spec, held_bytes=held_bytes)


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
        size = catalogue.words(entry.size_bytes)
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
    usual = catalogue.resolve_precision(ModelSpec(source))
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


def _needs_words(fit: catalogue.Fit) -> str:
    """The memory each precision needs: "Needs about 2.4 GB in 4-bit (NF4), …"."""
    needs = [
        f"{catalogue.words(need)} in {PRECISIONS[name]}"
        + ("" if need <= fit.free_bytes else " (more than is free)")
        for name, need in fit.needed_bytes.items()
    ]
    return plain(f"Needs about {words.listed(needs)}.")


def _pick_adapter(source: str, key: str) -> str | None:
    """An adapter that was tuned on this model; those of other models are not offered."""
    known: Sequence[AdapterEntry] = catalogue.adapters(home())
    names = {str(a.path): _adapter_words(a) for a in known if catalogue.fits_base(a, source)}
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
        count = words.count(len(adapter.countries), "country", "countries")
        return f"{adapter.name} (one for each of {count})"
    return adapter.name


def blank(name: str, otherwise: str):
    """A blank in a sentence: a popover whose label is what it was last filled with (see fill)."""
    said = plain(st.session_state.get(f"{name}_said", otherwise))
    return st.popover(said, key=f"{name}_blank")


def fill(**said: str) -> None:
    """Write into the blanks what was chosen; they are drawn before what is inside them."""
    if any(st.session_state.get(f"{name}_said") != text for name, text in said.items()):
        st.session_state.update({f"{name}_said": text for name, text in said.items()})
        st.rerun()


ORDERS = {"both": "Both ways", "given": "As given", "reversed": "Reversed", "cyclic": "Every shift"}


def pick_orders(page: str) -> str:
    return linked(
        "Order of the options",
        ORDERS,
        name="orders",
        page=page,
        default="both",
        widget=st.segmented_control,
        help="Models prefer what stands first or last. Orders are averaged to cancel that.",
    )


def set_orders(page: str, orders: str) -> None:
    """Set pick_orders, before it is drawn."""
    link_to(page, "orders", "" if orders == "both" else orders)
    st.session_state[f"{page}_orders"] = orders


def wordings() -> list[str]:
    """Prompt sets: names of Pluriscope's own, paths of the user's."""
    known = sorted(path.stem for path in PROMPTS.glob("*.json"))
    return known + sorted(str(path) for path in (home() / "prompts").glob("*.json"))


def pick_wording(key: str) -> str:
    st.session_state.setdefault(f"{key}_wording", "pluriscope")
    return st.selectbox(
        "Wording",
        wordings(),
        key=f"{key}_wording",
        accept_new_options=True,
        help="A prompt set: one of Pluriscope's, or the path of a file with your own.",
    )


def quotation(text: str) -> None:
    """What a model wrote, set off as a quotation and never obeyed."""
    lines = text.strip().splitlines() or [" "]
    st.markdown("\n".join(f"> {plain(line)}  " for line in lines))


def price(verb: str, estimate: runs.Estimate) -> str:
    """A button that says what it costs: "Start: 1,976 questions, about 2 minutes"."""
    what = words.count(estimate.prompts, "question")
    return f"{verb}: {what}, {about(estimate.seconds)}" if estimate.seconds else f"{verb}: {what}"


ORDERS_SAID = {
    "given": "options as given",
    "reversed": "options reversed",
    "both": "options in both orders",
    "cyclic": "options in every shifted order",
}


MADE_SAID = {
    "amplified": "the answers as people are amplified",
    "calibrated": "the answers as people are calibrated",
    "calibrated_plain": "the plain answers are calibrated",
}


def cost(plan: runs.Plan, estimate: runs.Estimate) -> str:
    """What a plan asks, how long it takes and how much memory it needs."""
    first = plan.settings[0]
    ways = words.listed(
        list(dict.fromkeys(METHODS[one.method].name.lower() for one in plan.settings))
    )
    if first.answering == "written":
        times = f"{words.count(first.samples, 'written answer')} to each"
    else:
        times = ORDERS_SAID[first.orders]
    parts = [
        words.count(len(first.items), "question"),
        words.count(len(first.cultures), "country", "countries"),
        ways,
        times,
    ]
    if plan.more_prompts:
        parts.append(words.count(1 + len(plan.more_prompts), "wording"))
    if estimate.seconds:
        long = f"{words.capital(about(estimate.seconds))}, {estimate.basis}"
    else:
        long = f"How long it takes is {estimate.basis}"
    total = words.count(estimate.prompts, "prompt")
    made = words.listed([MADE_SAID[wish["make"]] for wish in plan.derive])
    after = f" Then {made} without asking again." if made else ""
    return f"{', '.join(parts)}: {total}. {long}.{after} {estimate.fit.sentence}"


# -- one job ---------------------------------------------------------------------------------------

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


def job_progress(job: dict) -> None:
    """How far a job is: phase, count, elapsed, time left, rate, and a thin bar."""
    live = jobs().live(job["id"])
    if live is None:
        st.caption(STATE_WORDS.get(job["state"], job["state"]))
        return
    facts = [live_words(live)]
    if live.total and (live.phase == "answering" or live.stage):
        facts.append(f"{live.done:,} of {live.total:,}")
    if live.stage or live.phase not in ("loading", "merging"):  # there it is said already
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
        said.append(f"{catalogue.words(facts['memory_bytes'])} of memory")
    return said


def job_trouble(job: dict, key: str) -> None:
    """What went wrong: a sentence first, the traceback folded, the log to download."""
    if job["state"] == "interrupted" and job["kind"] != "merge":
        st.caption(
            "Pluriscope was closed while this was under way. What was answered is saved; "
            "Resume asks only the rest."
        )
    if not job["error"]:
        return
    st.markdown(f":material/error: :red[{plain(job['error'])}]")
    with st.expander("For the technically minded", type="compact"):
        st.code(job["details"] or "No details were recorded.", language=None, wrap_lines=True)
        st.download_button(
            "Download the log",
            lambda: log_text(job),
            file_name=f"pluriscope-{job['id']}.log",
            mime="text/plain",
            key=f"{key}_log",
        )


def log_text(job: dict) -> str:
    """A job's record, and what the model's process printed meanwhile."""
    printed = jobs().log_text(job["id"])
    if printed is None:
        printed = "It is not kept for this job."
    return (
        f"Job {job['id']}: {job['title']}\n"
        f"State: {job['state']}\n"
        f"Error: {job['error'] or 'none'}\n\n"
        f"{job['details'] or ''}\n\nWhat the model's process printed meanwhile:\n{printed}"
    )


def when(moment: datetime | None) -> str:
    return export.when_words(moment) if moment else ""


@st.cache_data(max_entries=256, show_spinner=False)
def _so_far(run_id: str, answered: int) -> float:
    return scores.so_far(store(), store().run(run_id))


def score_so_far(run: Run) -> float:
    """How close a run's answers are to people's by now; NaN while it holds none."""
    return _so_far(run.id, run.answered) if run.answered else float("nan")


# -- what was asked before: rename, ask again, delete, undo ----------------------------------------


def asking_words(asking: runs.Asking) -> str:
    """Under an asking's name: how it ended, how much it holds, its model, its date."""
    first = asking.runs[0]
    held = f"{asking.answered:,} answers"
    if asking.answered < asking.planned:
        held = f"{asking.answered:,} of {asking.planned:,} answers"
    parts = [
        STATE_WORDS.get(asking.state, asking.state),
        held,
        plain(catalogue.describe(ModelSpec.from_json(first.settings["model"]))),
        when(first.created),
    ]
    return " · ".join(parts)


Also = Mapping[str, Callable[[runs.Asking], None]]


def asking_row(asking: runs.Asking, also: Also | None = None) -> None:
    """One line of a history: what it is, Resume where that helps, its map, and more.

    also: what else its menu offers, once it has ended: label -> what to do with it.
    """
    job = asking.job
    with st.container(horizontal=True, vertical_alignment="center"):
        with st.container(gap=None):
            st.markdown(plain(asking.name))
            st.caption(asking_words(asking))
        if job and job["state"] in RESUMABLE:
            st.button(
                "Resume", key=f"resume_{job['id']}", on_click=jobs().resume, args=(job["id"],)
            )
        if asking.runs[0].kind == "question":
            st.page_link("pages/ask.py", label="Open", query_params={"ask": asking.group})
        elif asking.answered:
            st.page_link("pages/map.py", label="Map", query_params={"run": asking.group})
        _asking_menu(asking, also or {})
    if job:
        job_trouble(job, key=f"trouble_{job['id']}")


def _asking_menu(asking: runs.Asking, also: Also) -> None:
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
def _export(asking: runs.Asking) -> None:
    """The files of one run; made when they are asked for."""
    names = {run.id: run.way for run in asking.runs}
    if asking.runs[0].kind == "question":
        names = {run.id: run.name for run in asking.runs}
    run_id = st.radio("Which answers", names, format_func=lambda one: plain(names[one]))
    run = next(one for one in asking.runs if one.id == run_id)
    tables = {"answers": comparing.TABLES["answers"].words}
    if run.kind != "question":
        tables = comparing.tables_of(store(), run)
    what = st.selectbox("What", tables, format_func=tables.get, key="export_what")

    def make(to_bytes: Callable[[pd.DataFrame], bytes]) -> Callable[[], bytes]:
        return lambda: to_bytes(comparing.TABLES[what].make(store(), run, ""))

    def with_card(table: pd.DataFrame) -> bytes:
        return export.parquet_bytes(table, export.card_json(store(), run))

    for label, words_for, end, mime, data in (
        ("CSV", "A table for spreadsheets.", f"{what}.csv", "text/csv", make(export.csv_bytes)),
        ("Parquet", "The same for statistics programs; the card is inside.", f"{what}.parquet",
         "application/vnd.apache.parquet", make(with_card)),
        ("Card", "Where it all comes from: model, wording in full, questions, people, versions.",
         "card.json", "application/json", lambda: export.card_json(store(), run)),
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


@st.cache_data(ttl=30, show_spinner=False)
def storage(changes: int) -> dict[str, int]:
    """Bytes on disk by what they are for; `changes` is store().changes."""
    return store().storage()


def again(run: Run, seed: int | None = None) -> str | None:
    """Start the asking a run belongs to anew; gives the job's id, or says why not."""
    try:
        return runs.start(jobs(), runs.again(store(), run, seed))
    except PluriscopeError as error:
        st.error(plain(str(error)))
        return None


@st.dialog("Rename")
def _rename(asking: runs.Asking) -> None:
    with st.form("rename", border=False):
        name = st.text_input("Name", asking.name, max_chars=200)
        if st.form_submit_button("Rename", type="primary"):
            if name.strip():
                runs.rename(store(), asking, name)
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


# -- choices in the address ------------------------------------------------------------------------


def linked(
    label: str,
    names: Mapping[str, str],
    *,
    name: str,
    page: str,
    default: str,
    widget: Callable = st.selectbox,
    read: Callable[[str], str] = str,
    **look: object,
) -> str:
    """A choice between ids that also stands in the address, as ?name=id.

    names: id -> words. What the address holds comes first, then what was last chosen on any page,
    then `default`; an id that is not known falls back, and unknown_in_address() says so. The id ""
    stands for no choice and leaves the address clean. read: from what the address may hold to an
    id. Streamlit's own binding (bind="query-params") would put the words into the link.
    """
    key, seen = f"{page}_{name}", f"{page}_{name}_seen"
    here = st.query_params.get(name)
    if key not in st.session_state:  # just come to this page
        wanted = read(here) if here is not None else st.session_state.get(f"last_{name}")
    elif here != st.session_state.get(seen):  # Back, Forward, or a link to this page
        wanted = read(here) if here is not None else default
    else:
        wanted = st.session_state[key]
    value = wanted if wanted in names else default
    if st.session_state.get(key) != value:
        st.session_state[key] = value
    st.session_state[seen] = here
    if here is not None and wanted in names:
        st.session_state[f"last_{name}"] = wanted
    if widget is st.segmented_control:
        look = {"required": True, **look}
    return widget(
        label,
        list(names),
        format_func=lambda one: names.get(one, one),
        key=key,
        on_change=_linked_changed,
        args=(page, name),
        **look,
    )


def _linked_changed(page: str, name: str) -> None:
    link_to(page, name, st.session_state[f"{page}_{name}"])


def link_to(page: str, name: str, value: str) -> None:
    """Set what linked() shows, from a callback: previous, next, a click on a map."""
    st.session_state[f"{page}_{name}"] = value
    st.session_state[f"last_{name}"] = value
    if value:
        st.query_params[name] = value
    else:
        st.query_params.pop(name, None)
    st.session_state[f"{page}_{name}_seen"] = value or None


def linked_many(
    label: str,
    names: Mapping[str, str],
    *,
    name: str,
    page: str,
    default: Sequence[str],
    **look: object,
) -> list[str]:
    """Several ids that also stand in the address, as ?name=id,id. Unknown ids are left out.

    What was last chosen on this page comes back with it, unless the address says something else.
    """
    key, seen = f"{page}_{name}", f"{page}_{name}_seen"
    here = st.query_params.get(name)
    open_to_all = bool(look.get("accept_new_options"))
    if key not in st.session_state or here != st.session_state.get(seen):
        wanted = (here or "").split(",")
        if key not in st.session_state and here is None:  # just come to this page
            wanted = st.session_state.get(f"last_{key}", ())
        known = [one for one in wanted if one in names or (one and open_to_all)]
        st.session_state[key] = known[: look.get("max_selections")] or list(default)
        st.session_state[f"last_{key}"] = known
        st.session_state[seen] = here
    elif not open_to_all and any(one not in names for one in st.session_state[key]):
        # names of another survey
        st.session_state[key] = [one for one in st.session_state[key] if one in names]
    return st.multiselect(
        label,
        list(names),
        format_func=lambda one: names.get(one, one),
        key=key,
        on_change=lambda: link_many_to(page, name, st.session_state[key], default),
        **look,
    )


def link_many_to(page: str, name: str, values: Sequence[str], default: Sequence[str] = ()) -> None:
    """Set what linked_many() shows; what it shows without a link leaves the address clean."""
    st.session_state[f"{page}_{name}"] = st.session_state[f"last_{page}_{name}"] = list(values)
    if values and list(values) != list(default):
        st.query_params[name] = ",".join(values)
    else:
        st.query_params.pop(name, None)
    st.session_state[f"{page}_{name}_seen"] = st.query_params.get(name)


def unknown_in_address(name: str, known: Container[str], what: str) -> None:
    """Say so where a link names something that is not there (any more)."""
    asked = st.query_params.get(name)
    if asked and asked not in known:
        st.caption(
            f":material/link_off: The link asks for the {what} “{plain(asked[:40])}”, which is not "
            "here; it may have been deleted. This is shown instead."
        )


def share(page: str, **ids: str | Sequence[str]) -> None:
    """A button with the full link to what is shown. `ids` that are empty are left out; of several
    values each stands there."""
    with st.popover("Link", icon=":material/link:", type="tertiary", key=f"{page}_share"):
        asked = urlencode(
            {name: value for name, value in ids.items() if value}, doseq=True, safe=":,"
        )
        st.caption("Opens exactly this, on this machine.")
        st.code(f"{st.context.url}?{asked}", language=None, wrap_lines=True)


# -- results ---------------------------------------------------------------------------------------


def pick_asking(page: str, known: Sequence[runs.Asking], label: str = "Run") -> runs.Asking:
    """Choose one of the askings that have answers. In the address: ?run= and the id of any run."""
    names = {one.group: asking_label(one) for one in known}

    def read(run_id: str) -> str:
        found = views.find_asking(known, run_id)
        return found.group if found else run_id

    chosen = linked(
        label,
        names,
        name="run",
        page=page,
        default=views.headline_asking(known).group,
        read=read,
    )
    unknown_in_address("run", {run.id for one in known for run in one.runs} | set(names), "run")
    return next(one for one in known if one.group == chosen)


def asking_label(asking: runs.Asking) -> str:
    day = f"{asking.runs[0].created:%-d %b %Y, %H:%M}"
    state = "" if views.is_complete(asking) else f" · {STATE_WORDS.get(asking.state, '').lower()}"
    return f"{asking.name} · {day}{state}"


def pick_measure(page: str) -> str:
    """Choose the metric; what its numbers mean is a caption of the figure (views.MEASURES)."""
    return linked(
        "Measure",
        {name: METRICS[name].label for name in views.MEASURES},
        name="measure",
        page=page,
        default=HEADLINE,
        help="  \n".join(
            f"**{METRICS[name].label}**: {METRICS[name].definition} *{METRICS[name].source}*"
            for name in views.MEASURES
        ),
    )


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
    if isinstance(argument, runs.Asking):
        return tuple(_answers_of(run) for run in argument.runs)
    return argument


def teaching_note(*of: Run) -> None:
    """Wherever results of the built-in model are shown."""
    if any(views.is_builtin(run) for run in of):
        st.caption(f":material/school: Built-in model. {TEACHING}")


def evidence_note(*of: Run) -> None:
    """Wherever scores are shown: which of people's answers had a part in them, and whether the
    questions were drafts."""
    if said := views.human_answers(store(), *of):
        st.caption(f":material/diversity_3: {plain(said)}")
    if said := views.draft_words(*of):
        st.caption(f":material/translate: {plain(said)}")


def table(drawn: Figure, column_config: Mapping | None = None, height: int | str = "auto") -> None:
    """The table twin of a figure: numbers to one place, counts whole."""
    numbers = {
        name: st.column_config.NumberColumn(format="%.0f" if name == "Questions" else "%.1f")
        for name in drawn.table.select_dtypes("number")
    }
    st.dataframe(
        drawn.table,
        hide_index=True,
        height=height,
        placeholder="",
        column_config={**numbers, **(column_config or {})},
        alt=drawn.alt,
    )


CHANGE_HELP = "Points, from plainly asked. Grey: too small to call."


def grey_unclear(rows: pd.DataFrame, clear: pd.Series) -> Styler:
    """A table whose column change, where there is one, is grey where it is too small to call.

    clear: bool, one for each row. The column says its sign, with a real minus, and no sign of 0.
    """
    if "change" not in rows:
        return rows.style
    grey = f"color: {palette(is_dark()).muted}"
    looks = ["" if one else grey for one in clear]
    signed = rows.style.format(lambda value: words.signed(value, 0), subset=["change"])
    return signed.apply(lambda _: looks, subset=["change"])


def downloads(table: pd.DataFrame, file_name: str, run: Run, before: Run | None = None) -> None:
    """Buttons that hand over a table as shown, its numbers' origin beside every row or inside."""
    for label, end, mime, to_bytes, words_for in (
        ("Download as CSV", "csv", "text/csv", export.csv_bytes, None),
        ("Download as Parquet", "parquet", "application/vnd.apache.parquet",
         lambda rows: export.parquet_bytes(rows, export.card_json(store(), run, before)),
         "For statistics programs; the card that says where it all comes from is inside."),
    ):  # fmt: skip
        st.download_button(
            label,
            lambda to_bytes=to_bytes: to_bytes(table),
            file_name=f"{file_name}.{end}",
            mime=mime,
            icon=":material/download:",
            type="tertiary",
            help=words_for,
        )


def under_way_note(asking: runs.Asking) -> None:
    """Where results of an asking are shown that is not complete."""
    if views.is_complete(asking):
        return
    state = "Still being asked" if views.is_under_way(asking) else "Not complete"
    st.caption(
        f":material/hourglass_top: {state}: {asking.answered:,} of {asking.planned:,} answers. "
        "What there is so far is shown."
    )


def figure(
    drawn: Figure, key: str, *, config: Mapping = CONFIG, file_name: str = "", **more: object
) -> object:
    """Show a figure as it was drawn, with its sentence for those who cannot see it.

    file_name: offers the picture as a PNG of that name, by a camera in the figure's corner.
    """
    config = dict(config)
    muted = palette(is_dark()).muted
    drawn.figure.update_layout(
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": muted, "activecolor": muted}
    )
    if file_name:
        config |= {
            "displayModeBar": True,
            "displaylogo": False,
            "modeBarButtons": [["toImage"]],
            "toImageButtonOptions": {"format": "png", "scale": 2, "filename": file_name},
        }
    return st.plotly_chart(
        drawn.figure, theme=None, key=key, config=config, alt=drawn.alt, width="stretch", **more
    )


def raw_answers(answers: pd.DataFrame, key: str) -> None:
    """Answers as they came (views.raw_answers): how each was shown, what was read, and why."""
    written = answers["text"].ne("").any()
    columns = ["shown", "answer", *([] if written else ["share", "mass"]), "rule"]
    columns += ["text"] if written else []
    percent = st.column_config.NumberColumn
    st.dataframe(
        answers[columns].assign(
            **({} if written else {c: answers[c] * 100 for c in ("share", "mass")})
        ),
        key=key,
        hide_index=True,
        height="content",
        column_config={
            "shown": st.column_config.TextColumn("Shown"),
            "answer": st.column_config.TextColumn("Read as" if written else "Likeliest answer"),
            "text": st.column_config.TextColumn("Written", width="large"),
            "share": percent("Its share", format="%.1f%%"),
            "mass": percent(
                "On the options",
                format="%.1f%%",
                help="How much of the model's probability lay on the options at all",
            ),
            "rule": st.column_config.TextColumn("How it was read" if written else "How scored"),
        },
        alt="Answers as they came",
    )


def no_results(page: str) -> None:
    """What an empty store shows in place of results: what is missing, and the button that mends it.

    While the first answers are being made it shows how far they are, and goes on by itself.
    """
    queue = jobs()
    st.fragment(_waiting, run_every=1.0 if queue.busy() else None)(page)


def _waiting(page: str) -> None:
    queue = jobs()
    if views.askings(queue.store):
        st.rerun()
    at_work = queue.store.jobs(UNFINISHED, limit=1)
    if at_work:
        st.write(f"The first answers are being made: {plain(at_work[0]['title'])}.")
        job_progress(at_work[0])
        return
    st.write(
        "Nothing has been asked yet, so there is nothing to show. The built-in model can answer "
        "the core set of 52 questions, plainly and as a person from each of 18 countries; that "
        "takes about a minute and needs no internet."
    )
    st.caption(TEACHING)
    st.button(
        "Ask the built-in model",
        type="primary",
        key=f"{page}_first_run",
        on_click=_first_run,
    )


def _first_run() -> None:
    queue = jobs()
    runs.start(queue, runs.plan_survey(queue.store, ModelSpec("builtin")))
    st.rerun()
