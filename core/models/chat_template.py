"""Render chat templates, which are programs that came with somebody's model, in bounds."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import jinja2
from transformers import PreTrainedTokenizerBase

from core.errors import ModelError
from core.home import ROOT

# Given to every chat template; one that does not know a name ignores it. Thinking models answer
# at once. Llama 3.1 and later write today's date into the prompt: a fixed one (their own
# fallback) keeps a run the same tomorrow.
TEMPLATE_VALUES = {"enable_thinking": False, "thinking": False, "date_string": "26 Jul 2024"}
LONGEST_WAIT = 60  # seconds, on a busy machine; the processor's time is bounded by the process


def render(
    tokenizer: PreTrainedTokenizerBase,
    turns: Sequence[dict[str, str]],
    generation_prompt: bool,
    name: str,
) -> str:
    """The text of some messages by a model's own chat template. Raises ModelError.

    name: the model's, for people.
    """
    if type(tokenizer).apply_chat_template is not PreTrainedTokenizerBase.apply_chat_template:
        return _by_own_code(tokenizer, turns, generation_prompt, name)
    try:
        template = tokenizer.get_chat_template()
    except ValueError:
        named = ", ".join(sorted(map(str, tokenizer.chat_template or ())))
        raise ModelError(
            f"{name} has several chat templates ({named[:200]}), and none is "
            "called default. Save the one to use as chat_template.jinja in its folder."
        ) from None
    request = {
        "template": template,
        "messages": list(turns),
        "generation_prompt": generation_prompt,
        "values": {**tokenizer.special_tokens_map, **TEMPLATE_VALUES},
    }
    answer = TEMPLATE_PROCESS.answer(request)
    if "refused" in answer:
        raise ModelError(f"The chat template of {name} refuses this prompt: {answer['refused']}")
    if "fault" in answer:
        raise ModelError(f"The chat template of {name} cannot be used: {answer['fault']}")
    return answer["text"]


def _by_own_code(
    tokenizer: PreTrainedTokenizerBase, turns: Sequence[dict], generation_prompt: bool, name: str
) -> str:
    """By a tokenizer that does not use templates; it is code that somebody consented to."""
    try:
        return tokenizer.apply_chat_template(
            list(turns), tokenize=False, add_generation_prompt=generation_prompt, **TEMPLATE_VALUES
        )
    except (jinja2.TemplateError, ValueError, TypeError) as error:
        raise ModelError(f"The chat template of {name} refuses this prompt: {error}") from error


def folds_system(tokenizer: PreTrainedTokenizerBase, name: str) -> bool:
    """True where the template raises on a system message or leaves it out."""
    probe = [
        {"role": "system", "content": "Sunflower"},
        {"role": "user", "content": "Marigold"},
    ]
    try:
        render(tokenizer, probe[1:], True, name)
    except ModelError as error:  # of no use
        raise ModelError(f"{name} could not be loaded: {error}") from error
    try:
        return "Sunflower" not in render(tokenizer, probe, True, name)
    except ModelError:
        return True


# Why: docs/decisions.md, "Chat templates are rendered in a process of their own."
class _TemplateProcess:
    """core/models/template_process.py, started when it is first needed, and anew if it died.

    endless: templates it died of, which are not tried again.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None
        self._turn = threading.Lock()
        self._endless: set[str] = set()

    def get_ready(self) -> None:
        """Start the process, which takes it a second, while something else is done."""
        with self._turn:
            self._start()

    def _start(self) -> None:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "core.models.template_process"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
            )

    def answer(self, request: dict) -> dict:
        with self._turn:
            if request["template"] not in self._endless:
                self._start()
                if (
                    line := self._line(json.dumps(request, default=str).encode() + b"\n")
                ) is not None:
                    return json.loads(line)
                self._endless.add(request["template"])
                self._end()
        return {"fault": "it does not come to an end, or takes too much memory"}

    def _line(self, line: bytes) -> bytes | None:
        """What comes back for a line; None where the process dies or takes too long."""
        until = time.monotonic() + LONGEST_WAIT
        try:
            self._process.stdin.write(line)
        except BrokenPipeError:
            return None
        answer = b""
        while not answer.endswith(b"\n"):
            out = self._process.stdout
            ready, _, _ = select.select([out], [], [], max(0.0, until - time.monotonic()))
            block = os.read(out.fileno(), 1 << 16) if ready else b""
            if not block:
                return None
            answer += block
        return answer

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._process = None


TEMPLATE_PROCESS = _TemplateProcess()
