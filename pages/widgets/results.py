"""What pages of results share: which asking, which metric, figures with their tables, notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler

from core import wording
from core.analysis import option_mass, scores
from core.errors import PluriscopeError
from core.figures.base import CONFIG, Figure, palette
from core.jobs import askings, plan
from core.jobs.choices import AskChoices
from core.jobs.queue import UNFINISHED
from core.metrics.metrics import HEADLINE, METRICS, offered
from core.models import spec
from core.prompts import translations as prompts_translations
from core.prompts.render import templates
from core.store.runs import Run
from core.store.wordings import questionnaire_of
from core.views import export, runs
from core.views import provenance as views_provenance
from pages.widgets.address import linked, unknown_in_address
from pages.widgets.job_status import STATE_WORDS, job_progress
from pages.widgets.session import is_dark, jobs, remembered, store
from pages.widgets.text import plain

TEACHING = spec.TEACHING


# -- where a number comes from ---------------------------------------------------------------------


def provenance(*of: Run, label: str = "Where this comes from", key: str | None = None) -> None:
    """A small button beside a figure that says where its numbers come from.

    Of several runs, what they share is said once and what tells them apart under each name.
    """
    with st.popover(label, icon=":material/info:", type="tertiary", key=key):
        facts = [views_provenance.provenance(store(), run) for run in of]
        shared = [fact for fact in facts[0] if all(fact in others for others in facts)]
        if len(of) > 1:
            _fact_table(shared)
        for run, mine in zip(of, facts, strict=True):
            st.markdown(f"**{plain(run.name)}**")
            _fact_table(mine if len(of) == 1 else [fact for fact in mine if fact not in shared])
            with st.expander("The wording, with blanks"):
                st.code(_wording(run), language=None, wrap_lines=True)
        with st.expander("All of it as text, to copy"):
            told = [views_provenance.provenance_text(store(), run) for run in of]
            st.code("\n\n".join(told), language=None, wrap_lines=True)


def _fact_table(facts: Sequence[views_provenance.Fact]) -> None:
    st.table(
        {"": [fact.name for fact in facts], " ": [plain(fact.value) for fact in facts]},
        hide_index=True,
        hide_header=True,
        border="horizontal",
    )


def _wording(run: Run) -> str:
    """The wording of a run with its blanks, in every language it was asked in."""
    settings = run.settings
    explain = settings.answering == "written" and settings.explain
    try:
        asked = questionnaire_of(store(), settings)
    except PluriscopeError as error:
        return str(error)
    every = [asked.prompts, *(there.prompts for there in asked.translations.values())]
    told = {one.language: templates(one, settings.asked_method, explain) for one in every}
    if len(told) == 1:
        return "\n\n".join(*told.values())
    names = {language: prompts_translations.name(language) for language in told}
    return "\n\n".join("\n\n".join([f"[{names[one]}]", *told[one]]) for one in told)


@st.cache_data(max_entries=256, show_spinner=False)
def _so_far(run_id: str, answered: int) -> float:
    return scores.so_far(store(), store().run(run_id))


def score_so_far(run: Run) -> float:
    """How close a run's answers are to people's by now; NaN while it holds none."""
    return _so_far(run.id, run.answered) if run.answered else float("nan")


# -- results ---------------------------------------------------------------------------------------


def pick_asking(page: str, known: Sequence[askings.Asking], label: str = "Run") -> askings.Asking:
    """Choose one of the askings that have answers. In the address: ?run= and the id of any run."""
    names = {one.group: dated_name(one) for one in known}

    def read(run_id: str) -> str:
        found = runs.find_asking(known, run_id)
        return found.group if found else run_id

    chosen = linked(
        label,
        names,
        name="run",
        page=page,
        default=runs.headline_asking(known).group,
        read=read,
    )
    unknown_in_address("run", {run.id for one in known for run in one.runs} | set(names), "run")
    return next(one for one in known if one.group == chosen)


def dated_name(asking: askings.Asking) -> str:
    """An asking in a list of askings: its name, when it was asked, its state unless complete."""
    day = f"{asking.runs[0].created:%-d %b %Y, %H:%M}"
    state = "" if runs.is_complete(asking) else f" · {STATE_WORDS.get(asking.state, '').lower()}"
    return f"{asking.name} · {day}{state}"


def pick_measure(page: str) -> str:
    """Choose the metric; what its numbers mean is a caption of the figure (Metric.meaning)."""
    return linked(
        "Measure",
        {name: METRICS[name].label for name in offered()},
        name="measure",
        page=page,
        default=HEADLINE,
        help="  \n".join(
            f"**{METRICS[name].label}**: {METRICS[name].definition} *{METRICS[name].source}*"
            for name in offered()
        ),
    )


def teaching_note(*of: Run) -> None:
    """Wherever results of the built-in model are shown."""
    if any(runs.is_builtin(run) for run in of):
        st.caption(f":material/school: Built-in model. {TEACHING}")


def evidence_note(*of: Run) -> None:
    """Wherever scores are shown: which of people's answers had a part in them, whether questions
    were drafts, whether options weigh little, and whether runs count them alike."""
    if said := runs.human_answers(store(), *of):
        st.caption(f":material/diversity_3: {plain(said)}")
    if said := runs.draft_words(*of):
        st.caption(f":material/translate: {plain(said)}")
    if said := remembered(option_mass.low_note, *of):
        st.caption(f":material/percent: {plain(said)}")
    if said := remembered(runs.rule_words, *of):
        st.caption(f":material/rule: {plain(said)}")


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
    signed = rows.style.format(lambda value: wording.signed(value, 0), subset=["change"])
    return signed.apply(lambda _: looks, subset=["change"])


def downloads(table: pd.DataFrame, file_name: str, run: Run, before: Run | None = None) -> None:
    """Buttons that hand over a table as shown, its numbers' origin beside every row or inside."""
    for label, end, mime, to_bytes, words_for in (
        ("Download as CSV", "csv", "text/csv", export.csv_bytes, None),
        ("Download as Parquet", "parquet", "application/vnd.apache.parquet",
         lambda rows: export.parquet_bytes(rows, views_provenance.card_json(store(), run, before)),
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


def under_way_note(asking: askings.Asking) -> None:
    """Where results of an asking are shown that is not complete."""
    if runs.is_complete(asking):
        return
    state = "Still being asked" if runs.is_under_way(asking) else "Not complete"
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
    if runs.askings(queue.store):
        st.rerun()
    at_work = queue.store.jobs(UNFINISHED, limit=1)
    if at_work:
        st.write(f"The first answers are being made: {plain(at_work[0].title)}.")
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
    queue.start(plan.plan_survey(queue.store, AskChoices()))
    st.rerun()
