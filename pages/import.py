"""Bring in a survey, or answers recorded elsewhere: choose a file, check it, match it, import it.

What is being worked on lies on the desk of core/importers/desk.py, not in the session: it goes on
while the tab is closed, and is still there after a refresh.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from core import wording
from core.asking import languages
from core.errors import PluriscopeError
from core.importers import IMPORTERS, culturespa, globalopinionqa, importer, places, table, wvs
from core.importers.desk import Desk, open_imports
from core.importers.imported import Check
from pages.widgets import session, surveys, text

STEPS = {"empty": "Choose", "looked": "Check", "importing": "Import", "done": "Done"}

COLUMN_WORDS = {
    "country": "Country", "country_number": "Country, as a number", "weight": "Weight",
    "year": "Year", "wave": "Wave", "sex": "Sex", "age": "Age", "education": "Education",
}  # fmt: skip
NONE = "—"
MANY = 40  # answers in words that are listed; a file in another language would have thousands

imports = open_imports(session.store())


# -- choosing --------------------------------------------------------------------------------------


def choose(desk: Desk) -> None:
    if desk.error:
        st.error(text.plain(desk.error))
    left, right = st.columns(2, gap="large")
    with left:
        uploaded = st.file_uploader(
            "A file from your computer",
            key=f"import_upload_{desk.turn}",
            max_upload_size=500,
            help="It is deleted once it was imported.",
        )
        if uploaded:
            imports.look_at_upload(uploaded.name, uploaded)
            st.rerun()
    with right, st.form("import_path", border=False):
        path = st.text_input(
            "Or its path on this machine",
            key="import_typed",
            placeholder="/home/me/WVS_Cross-National_Wave_7_csv.zip",
            max_chars=1000,
            help="Of a file, a zip or a folder. Nothing is copied, and large files are no trouble.",
        )
        if st.form_submit_button("Check it", type="primary") and path.strip():
            imports.look_at(path)
            st.rerun()
    st.subheader("What can be brought in", anchor=False)
    with st.grid(2, min_column_width=330, gap=("medium", "large")) as grid:
        for kind, one in IMPORTERS.items():
            with grid.cell(), st.container(gap="xsmall"):
                st.markdown(f"**{one.name}**")
                st.markdown(one.looks)
                st.caption(text.plain(one.source))
                if kind == "table":
                    st.download_button(
                        "Download the template",
                        table.TEMPLATE.read_bytes(),
                        file_name="survey.csv",
                        mime="text/csv",
                        icon=":material/download:",
                        type="tertiary",
                        on_click="ignore",
                        key="import_template",
                    )
    translation()


def translation() -> None:
    """Bring in a translation of a survey's questions; it is small and done at once."""
    shelf = surveys.on_shelf(session.store())
    with (
        st.expander("A translation of the questions", icon=":material/translate:"),
        st.form("import_translation", border=False),
    ):
        st.markdown(
            "One file that ends in .jsonl, a question on each line, in the layout of "
            "`data/survey/translations`. For a language that is new, add prompts.json and, if you "
            "like, countries.json.",
            width=session.READING,
        )
        key = next(iter(shelf))
        if len(shelf) > 1:
            key = st.selectbox("Of which survey", shelf, format_func=shelf.get, key="import_of")
        uploads = st.file_uploader(
            "Files of the translation",
            ["jsonl", "json"],
            accept_multiple_files=True,
            key="import_translated",
            max_upload_size=20,
        )
        if st.form_submit_button("Add the translation") and uploads:
            survey = session.store().survey(key)
            try:
                there = languages.bring_in_uploads(survey, {u.name: u.getvalue() for u in uploads})
            except PluriscopeError as error:
                st.error(text.plain(str(error)))
            else:
                said = languages.imported_words(there, survey)
                st.markdown(f":material/check: {text.plain(said)}")
                st.page_link(
                    "pages/run.py",
                    label="Ask a model in this language",
                    query_params={"survey": key, "language": there.language},
                )


# -- while it is worked on -------------------------------------------------------------------------


def under_way() -> None:
    desk = imports.desk
    if not desk.busy:
        st.rerun()
    st.subheader(text.plain(desk.name), anchor=False)
    st.markdown(
        f":material/hourglass_top: {text.plain(desk.phase or 'Beginning')} · "
        f"{text.clock(desk.elapsed)}"
    )
    if desk.elapsed > 10:
        st.caption("Half a gigabyte takes about a minute. Leaving this page does not stop it.")
    st.button(
        "Cancel", key="import_cancel", on_click=imports.clear, disabled=desk.step == "storing"
    )


# -- checked: what it is, what is wrong with it, and what to make of it ----------------------------


def checked(desk: Desk) -> None:
    looked, check = desk.looked, desk.looked.check
    st.subheader(text.plain(check.what), anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = st.selectbox(
            f"{text.plain(desk.name)}, read as",
            list(IMPORTERS),
            index=list(IMPORTERS).index(desk.kind),
            format_func=lambda kind: IMPORTERS[kind].name,
            key=f"import_kind_{desk.turn}_{desk.kind}",
            width=420,
        )
        st.button("Choose another file", key="import_other", on_click=imports.clear)
    if kind != desk.kind:
        imports.look_again(kind)
        st.rerun()
    if desk.error:
        st.error(text.plain(desk.error))
    troubles(desk)
    if not (check.can_import or check.partly or looked.columns):
        return  # nobody can make anything of it
    if check.facts:
        left, right = st.columns([3, 2], gap="large")
        with left:
            what_it_is(check)
    else:
        right = st.container(width=session.READING)
    with right:
        st.markdown("##### What to make of it")
        options = MATCHING.get(desk.kind, match_name)(desk)
        matched = getattr(options, "columns", {}) == getattr(looked.options, "columns", {})
        if matched:
            bring(check, options)
        elif st.button("Check again with these columns", type="primary", key="import_again"):
            imports.look_again(desk.kind, options)
            st.rerun()
    first_rows(looked.preview)


def troubles(desk: Desk) -> None:
    check, problems = desk.looked.check, desk.looked.problems
    if not check.problems:
        return
    if problems is None or problems.empty:
        for problem in check.problems:
            st.markdown(f":material/error: :red[{text.plain(problem)}]", width=session.READING)
        return
    st.markdown(
        f":material/error: :red[{wording.capital(wording.count(len(problems), 'problem'))}.] Mend "
        "the lines and choose the file again, or import the good rows alone.",
        width=session.READING,
    )
    st.dataframe(
        problems,
        hide_index=True,
        height="content" if len(problems) < 8 else 280,
        column_config={
            "line": st.column_config.NumberColumn("Line", format="%d", width=60),
            "column": st.column_config.TextColumn("Column", width=100),
            "problem": st.column_config.TextColumn("Problem", width=900),
        },
        alt="What is wrong, line by line",
    )


def bring(check: Check, options) -> None:
    if check.partly and not check.can_import:
        if st.button("Import the good rows alone", key="import_good"):
            imports.bring_in(replace(options, accept_good_rows=True))
            st.rerun()
        st.caption(
            "Where a line is left out, the other lines of the same country and question go as "
            "well, since the rest would no longer add up."
        )
        return
    if st.button("Import", type="primary", key="import_do", disabled=not check.can_import):
        imports.bring_in(options)
        st.rerun()
    if not check.can_import:
        st.caption("Nothing is imported while something is wrong.")


def what_it_is(check: Check) -> None:
    st.markdown("##### What it is")
    st.table(
        {"": list(check.facts), " ": [text.plain(str(fact)) for fact in check.facts.values()]},
        hide_index=True,
        hide_header=True,
        border="horizontal",
        alt="What is in the file",
    )
    for note in check.notes:
        st.caption(f":material/info: {text.plain(note)}")
    left_out(check.dropped, "Would be left out")


def left_out(dropped: Mapping[str, int], title: str) -> None:
    if dropped:
        st.markdown(f"##### {title}")
        st.dataframe(
            pd.DataFrame(dropped.items(), columns=["Why", "How many"]),
            hide_index=True,
            height="content",
            column_config={
                "Why": st.column_config.TextColumn(width=280),
                "How many": st.column_config.NumberColumn(width=90),
            },
            alt=f"{title}, by reason",
        )


def first_rows(preview: pd.DataFrame | None) -> None:
    if preview is not None and len(preview):
        st.markdown("##### The first rows")
        st.dataframe(
            preview.astype("string"),
            hide_index=True,
            height="content" if len(preview) < 8 else 280,
            alt="The first rows of the file",
        )


# -- matching, by the kind of file -----------------------------------------------------------------


def name_of_it(desk: Desk) -> str:
    return st.text_input(
        "Name of the survey",
        key=f"import_name_{desk.turn}",
        placeholder="Made from what is in it",
        max_chars=100,
    ).strip()


def pick_columns(desk: Desk, wanted: dict[str, str], found: dict[str, str]) -> dict[str, str]:
    """Which column is which. Gives those that differ from what was found by itself."""
    columns = [column for column in desk.looked.columns if column]
    chosen = {}
    with st.grid(4, min_column_width=200) as grid:
        for use, label in wanted.items():
            with grid.cell():
                known = desk.looked.options.columns.get(use) or found.get(use, NONE)
                one = st.selectbox(
                    label,
                    [NONE, *columns],
                    index=columns.index(known) + 1 if known in columns else 0,
                    key=f"import_column_{desk.turn}_{use}",
                )
            if one != NONE and one != found.get(use):
                chosen[use] = one
    return chosen


def match_name(desk: Desk) -> Any:
    """Options of an importer that asks for nothing but a name."""
    return importer(desk.kind).Options(name=name_of_it(desk))


def match_wvs(desk: Desk) -> wvs.Options:
    check = desk.looked.check
    name = name_of_it(desk)
    weighted = True
    if "weight" in check.found:
        weighted = st.checkbox(
            "Use the survey’s weights",
            True,
            key=f"import_weighted_{desk.turn}",
            help="W_WEIGHT makes a sample stand for its country. Shares in which every person "
            "counts the same are kept beside.",
        )
    keep = st.checkbox(
        "Keep each person’s answers on this machine",
        key=f"import_keep_{desk.turn}",
        help="Off: people are counted, and their rows stay in the file. On: they lie in "
        "Pluriscope’s folder as well, and in no export.",
    )
    with st.expander("Which column is which", expanded=not check.can_import):
        short = {wvs.short_name(column): column for column in reversed(desk.looked.columns)}
        found = {
            use: next((short[name] for name in names if name in short), NONE)
            for use, names in wvs.COLUMNS.items()
        }
        columns = pick_columns(desk, COLUMN_WORDS, found)
    return wvs.Options(
        columns=columns, weighted=weighted, keep_rows=keep, words=match_words(desk), name=name
    )


def match_words(desk: Desk) -> dict[str, dict[str, int]]:
    """Which code each answer in words stands for, where the importer could not tell."""
    unknown = desk.looked.words
    if unknown is None or unknown.empty:
        return {}
    items = unknown["item"].nunique()
    found: dict[str, dict[str, int]] = {}
    with st.expander(
        f"Answers in words that are not understood, in {wording.count(items, 'question')}",
        expanded=True,
    ):
        st.caption(
            "Say which answer each stands for. Questions in which more than one in a hundred "
            "answers is not understood are left out."
        )
        for row in unknown.head(MANY).itertuples():
            item = places.bundled().item(row.item)
            codes = {None: "Not an answer", **{o.code: f"{o.code} {o.label}" for o in item.options}}
            codes |= {-2: "No answer", -1: "Do not know"}
            code = st.selectbox(
                f"“{text.plain(row.answer)}” · {item.id}, {item.label} · "
                f"{wording.count(row.n, 'person', 'people')}",
                list(codes),
                format_func=codes.get,
                key=f"import_word_{desk.turn}_{row.item}_{row.answer}",
            )
            if code is not None:
                found.setdefault(row.item, {})[row.answer] = code
        if len(unknown) > MANY:
            st.caption(f"And {len(unknown) - MANY:,} more. Use the file with codes instead.")
    return found


def match_opinions(desk: Desk) -> globalopinionqa.Options:
    name = name_of_it(desk)
    others = st.checkbox(
        "Also samples that stand for a part of a country only",
        key=f"import_samples_{desk.turn}",
        help="“Non-national” samples, where there is no national one.",
    )
    orders = desk.looked.orders
    if orders is None or orders.empty:
        return globalopinionqa.Options(other_samples=others, name=name)
    with st.expander("Which answers have an order"):
        st.caption(
            "Answers in an order run from one end of a scale to the other, and being one step off "
            "counts less than being four. Two answers are always comparable and not listed."
        )
        edited = st.data_editor(
            orders.assign(answers=[" · ".join(answers) for answers in orders["answers"]]),
            key=f"import_orders_{desk.turn}",
            hide_index=True,
            disabled=["answers", "questions", "example"],
            column_order=["ordered", "answers", "questions", "example"],
            column_config={
                "ordered": st.column_config.CheckboxColumn("In order", width=100),
                "answers": st.column_config.TextColumn("Answers", width=260),
                "questions": st.column_config.NumberColumn("Questions", width=95),
                "example": st.column_config.TextColumn("One of them", width="large"),
            },
            alt="Lists of answers and whether they have an order",
        )
    changed = edited["ordered"].to_numpy() != orders["ordered"].to_numpy()
    lists, now = orders["answers"][changed], edited["ordered"][changed]
    return globalopinionqa.Options(
        other_samples=others,
        ordered=tuple(answers for answers, yes in zip(lists, now, strict=True) if yes),
        unordered=tuple(answers for answers, yes in zip(lists, now, strict=True) if not yes),
        name=name,
    )


def match_study(desk: Desk) -> culturespa.Options:
    name = name_of_it(desk)
    every = st.checkbox(
        "Also countries that the study leaves out (Mexico)", key=f"import_every_{desk.turn}"
    )
    model = st.text_input(
        "Which model answered",
        culturespa.MODEL,
        key=f"import_model_{desk.turn}",
        max_chars=200,
        help="The recorded answers do not say. The study’s own are those of Llama 3; a name or a "
        "Hugging Face id stands beside every score of them.",
    )
    return culturespa.Options(model.strip(), all_countries=every, name=name)


def match_table(desk: Desk) -> table.Options:
    check = desk.looked.check
    name = name_of_it(desk)
    citation = st.text_input(
        "Where it is from, to cite", key=f"import_citation_{desk.turn}", max_chars=1000
    ).strip()
    missing = [column for column in table.REQUIRED if column in check.missing]
    unread = not check.found
    columns: dict[str, str] = {}
    if desk.looked.columns:
        with st.expander("Which column is which", expanded=unread or bool(missing)):
            found = table.named_columns(desk.looked.columns)
            wanted = {
                ours: f"{ours} {'(needed)' if ours in table.REQUIRED else ''}".strip()
                for ours in (*table.REQUIRED, *table.OPTIONAL)
            }
            columns = pick_columns(desk, wanted, found)
    return table.Options(name=name, columns=columns, citation=citation)


MATCHING = {
    "wvs": match_wvs,
    "globalopinionqa": match_opinions,
    "culturespa": match_study,
    "table": match_table,
}


# -- done ------------------------------------------------------------------------------------------


def done(desk: Desk) -> None:
    result = desk.result
    survey = session.store().survey(result["survey"], result["version"])
    st.subheader(text.plain(survey.name), anchor=False)
    made = wording.listed(
        [
            wording.count(result["items"], "question"),
            wording.count(len(result["countries"]), "country", "countries"),
            *([wording.count(len(result["runs"]), "recorded run")] if result["runs"] else []),
        ]
    )
    if result["new"]:
        st.markdown(f":material/check: {wording.capital(made)} are in the store.")
    else:
        st.markdown(
            f":material/check: {wording.capital(made)}. This very survey was there already."
        )
    with st.container(horizontal=True):
        recorded = bool(result["runs"])
        if recorded and st.button(
            "See the recorded answers on the map", type="primary", key="import_to_map"
        ):
            st.switch_page("pages/map.py", query_params={"run": result["runs"][0]["id"]})
        if st.button(
            "Ask a model this survey",
            type="secondary" if recorded else "primary",
            key="import_to_run",
        ):
            st.switch_page("pages/run.py", query_params={"survey": surveys.key_of(survey)})
        st.button("Bring in another", key="import_other", on_click=imports.clear)
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.markdown("##### Countries")
        countries_table(survey, result)
    with right:
        left_out(result["dropped"], "Left out")
        for note in result["notes"]:
            st.caption(f":material/info: {text.plain(note)}")
    with st.expander("Citation, to copy", type="compact"):
        st.code(survey.citation or "None was given.", language=None, wrap_lines=True)


def countries_table(survey, result: dict) -> None:
    rows = [
        (survey.culture(iso3).name, facts["respondents"], facts["items"])
        for iso3, facts in result["countries"].items()
    ]
    countries = pd.DataFrame(rows, columns=["Country", "People", "Questions"])
    if countries["People"].isna().all():  # not published
        countries = countries.drop(columns="People")
    st.dataframe(
        countries.sort_values("Country"),
        hide_index=True,
        height="content" if len(countries) <= 12 else 420,
        alt="Countries with how many people and questions each",
    )


# -- the page --------------------------------------------------------------------------------------

desk = imports.desk
step = {"looking": "looked", "storing": "importing"}.get(desk.step, desk.step)
st.title("Bring in a survey")
st.write(
    "Questions with the answers of real people, or answers that a model gave elsewhere. Nothing is "
    "stored before the last step, and the file itself stays as it is."
)
st.caption(
    " → ".join(f"**{name}**" if one == step else name for one, name in STEPS.items()),
)
if desk.busy:
    st.fragment(under_way, run_every=0.5)()
elif desk.step == "looked":
    checked(desk)
elif desk.step == "done":
    done(desk)
else:
    choose(desk)
