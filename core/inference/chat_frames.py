"""What a chat template writes round messages, kept with a run: the prompt to the letter, no model.

A frame is the template's own rendering of messages whose texts are marks; a prompt is read by
putting its texts where the marks are. A template for which that is not exact has no frame.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING

from core.errors import ModelError

if TYPE_CHECKING:
    from core.models.load import Loaded

# From Unicode's private use area: no prompt has them, and no tokenizer is asked to read them.
_MARK = "\ue000{}\ue001"
_MARKS = re.compile("\ue000([<=>|])([0-9]+)\ue001")
_TRIM = {"=": str, "|": str.strip, "<": str.lstrip, ">": str.rstrip}

SHAPES = (("user",), ("system", "user"))  # the roles of the messages that methods send
PROBES = ("\n Rate it\n\nfrom 1 to 3. \n", "Rate it.\n\nAnswer:")


# Why: docs/decisions.md, "A prompt can be shown to the letter without its model."
def frames_of(loaded: Loaded) -> dict[str, dict[str, str]]:
    """The frames of a model: by how it answers ("probabilities", "written"), then by roles.

    With probabilities a prompt ends where a label would begin, which can be later than where
    writing begins: some templates open and close a thought first.
    """
    from core.inference.labels import lead_of
    from core.models.load import chat_text

    ways = {"written": chat_text, "probabilities": lambda *given: lead_of(*given)[0]}
    found: dict[str, dict[str, str]] = {}
    for answering, render in ways.items():
        for roles in SHAPES:
            # Templates take the spaces off all texts, off some, or off a whole turn, at the head of
            # which a system text was put.
            for trims in product(_TRIM, repeat=len(roles)):
                marks = [_MARK.format(f"{trim}{place}") for place, trim in enumerate(trims)]
                try:
                    frame = render(loaded, _messages(roles, marks))
                    exact = all(
                        _filled(frame, texts) == render(loaded, _messages(roles, texts))
                        for texts in ([probe] * len(roles) for probe in PROBES)
                    )
                except ModelError:  # a template that refuses marks or such texts
                    continue
                if exact:
                    found.setdefault(answering, {})[" ".join(roles)] = frame
                    break
    return found


def framed(
    frames: Mapping[str, Mapping[str, str]], answering: str, messages: Sequence[Mapping[str, str]]
) -> str | None:
    """The text a model read, from the frames kept with a run; None where none is kept for these."""
    frame = frames.get(answering, {}).get(" ".join(message["role"] for message in messages))
    return frame and _filled(frame, [message["content"] for message in messages])


def _messages(roles: Sequence[str], texts: Sequence[str]) -> list[dict[str, str]]:
    return [{"role": r, "content": text} for r, text in zip(roles, texts, strict=True)]


def _filled(frame: str, texts: Sequence[str]) -> str:
    """Once: a mark inside a text stays a text."""
    return _MARKS.sub(lambda mark: _TRIM[mark[1]](texts[int(mark[2])]), frame)
