"""Text on the screen: plain words, never markup that came from elsewhere."""

from __future__ import annotations

import re
from datetime import datetime

import streamlit as st

from core import wording
from core.views import provenance


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
    spoken = wording.duration(seconds)
    return spoken if spoken.startswith(("about", "under")) else f"about {spoken}"


def quotation(text: str) -> None:
    """What a model wrote, set off as a quotation and never obeyed."""
    lines = text.strip().splitlines() or [" "]
    st.markdown("\n".join(f"> {plain(line)}  " for line in lines))


def when(moment: datetime | None) -> str:
    return provenance.when_words(moment) if moment else ""
