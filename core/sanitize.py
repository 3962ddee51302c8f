"""Texts that somebody gave us, made safe to show and to put into a prompt."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path

from core.errors import PluriscopeError
from core.ordinary_files import read_ordinary

_TAG = re.compile(r"<(script|style)\b[^>]*>.*?</\1\s*>|</?[a-zA-Z!][^<>]*>", re.I | re.S)
# Invisible or direction-changing characters that make a text read otherwise than it is written.
_UNSEEN = {"Cc", "Cf", "Co", "Cs", "Cn"}
_KEPT_UNSEEN = set("\t\r\n\u200c\u200d")  # space, and joiners that Persian and Indic spelling needs
# What a spreadsheet would run: OWASP, "CSV injection". Blanks before it do not keep it from that.
_FORMULA = re.compile(r"[\t\r\n]|\s*[=@+-]")
_A_SIGN = re.compile(r"\s*[+-](?:[\d\s]|$)")  # of a label such as "-5 to 5" or "- none"


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
    while is_formula(text):
        text = text.lstrip()[1:].lstrip()
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def is_formula(text: str) -> bool:
    """True for a text that only a spreadsheet could mean ("=1+1", " @SUM(A1)", full-width "＝1");
    "-1" is a number and "- none" a label."""
    text = unicodedata.normalize("NFKC", text)
    return bool(_FORMULA.match(text)) and not _A_SIGN.match(text)


def not_a_formula(value: object) -> object:
    """A cell or a column's name for a file that spreadsheets read: what they would run, numbers
    written as text among it, gets a leading '."""
    if isinstance(value, str) and _FORMULA.match(unicodedata.normalize("NFKC", value)):
        return f"'{value}"
    return value


def json_object(path: Path, most_mb: int, what: str) -> dict:
    """The JSON object of a small file that people may have written.

    what: "a prompt set". Raises PluriscopeError with a sentence, and FileNotFoundError.
    """
    try:
        if path.stat().st_size > most_mb * 1_000_000:
            raise PluriscopeError(f"{path.name} is larger than {most_mb} MB; it is not {what}.")
        return parse_object(read_ordinary(path))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise PluriscopeError(f"{path.name} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise PluriscopeError(f"{path.name} is not {what}: {str(error)[:200]}.") from None


def parse_object(text: bytes) -> dict:
    """A JSON object from a file that anybody may have written. Raises ValueError on all else."""
    try:
        record = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(record, dict):
        raise ValueError("it has to be {…}")
    return record
