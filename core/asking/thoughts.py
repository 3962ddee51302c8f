"""What a reasoning model writes before its answer, taken off: numbers inside a thought are none."""

from __future__ import annotations

import re

from core.inference.thought_marks import THOUGHTS

# gpt-oss writes its thought in a channel of its own; its marks are special tokens, so that only
# their names may be left.
_FINAL = re.compile(r".*(?:<\|channel\|>\s*final\s*<\|message\|>|assistantfinal)", re.DOTALL)
_ANALYSIS = re.compile(r"\s*(?:<\|channel\|>\s*analysis|analysis(?=[A-Z\s]))")


def without_thought(text: str) -> str | None:
    """What stands after a thought; the text itself where there is none; None where one never ends.

    A thought that the prompt opened has only its end in the text.
    """
    if final := _FINAL.match(text):
        return text[final.end() :]
    if _ANALYSIS.match(text):
        return None
    for opens, closes in THOUGHTS.items():
        rest = re.split(re.escape(closes), text, flags=re.IGNORECASE)[-1]
        if re.search(re.escape(opens), rest, re.IGNORECASE):
            return None
        text = rest
    return text
