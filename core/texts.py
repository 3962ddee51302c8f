"""Texts that somebody gave us, made safe to show and to put into a prompt."""

from __future__ import annotations

import re
import unicodedata

_TAG = re.compile(r"<(script|style)\b[^>]*>.*?</\1\s*>|</?[a-zA-Z!][^<>]*>", re.I | re.S)
# Invisible or direction-changing characters that make a text read otherwise than it is written.
_UNSEEN = {"Cc", "Cf", "Co", "Cs", "Cn"}
_KEPT_UNSEEN = set("\t\r\n\u200c\u200d")  # space, and joiners that Persian and Indic spelling needs
# What a spreadsheet would run: OWASP, "CSV injection". A number may begin with a sign.
_FORMULA = re.compile(r"^\s*(?:[=@\t\r]|[+-](?!\d|\s|$))")


def visible(text: str) -> str:
    """A text without markup and without unseen characters; its lines stay.

    "income < 1,000 and > 500" stays as it is; "<b>Yes</b>" becomes "Yes".
    """
    text = unicodedata.normalize("NFC", str(text))
    seen = (c for c in text if c in _KEPT_UNSEEN or unicodedata.category(c) not in _UNSEEN)
    return _TAG.sub("", "".join(seen))


def clean_text(text: str, limit: int = 2_000) -> str:
    """A text safe to show: as visible(), no formula, one line, cut to `limit`."""
    text = " ".join(visible(text).split())
    while _FORMULA.match(text):
        text = text.lstrip()[1:].lstrip()
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def is_formula(text: str) -> bool:
    """True for a cell that a spreadsheet would run ("=1+1", "@SUM(A1)"); "-1" is a number."""
    return bool(_FORMULA.match(text)) and not re.fullmatch(r"\s*[+-]?[\d.,]+\s*", text)
