"""The entrance: what the server starts, and what leads to every page.

`streamlit run app.py` imports this file once, as "app", to find the server, and then runs it as
"__main__" for every session. No page depends on anything done here.
"""

import logging
from pathlib import Path

import streamlit as st

# Imported once more to find the server, where there is nothing to keep in: no news to anybody.
logging.getLogger("streamlit.runtime.caching.cache_data_api").setLevel(logging.ERROR)

from pages.widgets import job_status  # noqa: E402

HERE = Path(__file__).resolve().parent

PAGES = (
    # file, title, icon, what it is for
    ("home", "Home", "home", "What this is, and how close the latest run comes to people."),
    ("ask", "Ask", "forum", "Put one question to a model, plainly and as people of countries."),
    ("run", "Run", "play_circle", "Ask a model many questions, in the background."),
    ("tune", "Tune", "tune", "Teach a model from its own answers to come closer."),
    ("experiment", "Experiment", "balance", "Ways of tuning and their controls, compared."),
    ("map", "Map", "public", "How close the answers are to people's, country by country."),
    ("compare", "Compare", "compare_arrows", "Is it about the country at all? Who is like whom."),
    ("items", "Items", "list_alt", "Every question: what people answer, and what models answer."),
    ("import", "Import", "upload_file", "Bring in a survey, or answers recorded elsewhere."),
    ("library", "Library", "shelves", "Models, runs and surveys on this machine."),
    ("country", "Country", "flag", "One country: topics, best and worst questions, neighbours."),
)
HIDDEN = {"country", "experiment"}  # reached from the map, and from Tune

ABOUT = """**Pluriscope** shows how close a language model's survey answers are to real people's,
country by country.

National averages hide large differences between people. This shows patterns in survey answers,
not what any person believes."""


def main() -> None:
    # The menu is drawn only where there is something in it; with "About" it also keeps the
    # choice between light and dark. The icon comes before st.navigation: a page's own would be
    # fetched from the internet.
    st.set_page_config(
        page_icon=str(HERE / "static" / "favicon.svg"),
        layout="wide",
        menu_items={"About": ABOUT},
    )
    pages = [
        st.Page(
            HERE / "pages" / f"{name}.py",
            title=title,
            icon=f":material/{icon}:",
            url_path=name,
            default=name == "home",
            visibility="hidden" if name in HIDDEN else "visible",
            help=what,
        )
        for name, title, icon, what in PAGES
        if (HERE / "pages" / f"{name}.py").exists()
    ]
    page = st.navigation(pages, position="top")
    st.set_page_config(page_title=f"{page.title} · Pluriscope")
    dark = st.context.theme.type == "dark"
    st.logo(str(HERE / "static" / f"wordmark-{'dark' if dark else 'light'}.svg"), size="medium")
    job_status.model_status()
    page.run()


if __name__ == "__main__":
    main()
else:
    # A folder called pages/ beside the main script makes Streamlit run the file a deep link
    # names without this one, until st.navigation has run once in the process (Streamlit 1.67,
    # runtime/pages_manager.py). Said before the first session starts, it never happens.
    from streamlit.runtime.pages_manager import PagesManager

    PagesManager.uses_pages_directory = False
    app = st.App(__file__)
