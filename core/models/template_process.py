"""The process that renders chat templates: one JSON line for each prompt, in and out.

A template is a program that came with somebody's model. Here it gets so much time and memory and no
more; if this process dies of one, whoever asked goes on. It ends when its input closes.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from datetime import datetime
from pathlib import Path

import jinja2
from transformers.utils import chat_template_utils
from transformers.utils.chat_template_utils import render_jinja_template

MOST_SECONDS = 5  # of the processor's time, for one prompt
MOST_BYTES = 512 * 1024**2  # beyond what this process has when it starts
MOST_CHARACTERS = 1_000_000  # far longer than any prompt; reading it would take minutes


class ThatDay(datetime):
    """The day that templates are told is today, as in TEMPLATE_VALUES: a run that is resumed
    tomorrow asks with the same words."""

    @classmethod
    def now(cls, tz: object = None) -> datetime:
        return datetime(2024, 7, 26, 12, tzinfo=tz)


chat_template_utils.datetime = ThatDay


def answer(request: dict) -> dict:
    """{"text"}, or {"refused"} where the template raises on purpose, or else {"fault"}."""
    try:
        (text,), _ = render_jinja_template(
            conversations=[request["messages"]],
            chat_template=request["template"],
            add_generation_prompt=request["generation_prompt"],
            **request["values"],
        )
    except jinja2.TemplateError as error:
        return {"refused": str(error)[:1000]}
    except MemoryError:
        return {"fault": "it takes too much memory"}
    except Exception as error:  # a template can divide by zero, recurse, call what is not there …
        return {"fault": f"{type(error).__name__}: {error}"[:1000]}
    if len(text) > MOST_CHARACTERS:
        return {"fault": f"it writes {len(text):,} characters for a short prompt"}
    return {"text": text}


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started this process
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    _bound_memory()
    for line in sys.stdin.buffer:
        _bound_time()
        answers.write(json.dumps(answer(json.loads(line))).encode() + b"\n")


def _bound_memory() -> None:
    try:
        import resource

        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + MOST_BYTES,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, OSError, ValueError):  # not Linux: whoever asked still ends it in time
        return


def _bound_time() -> None:
    """Have the kernel end this process when the next prompt takes too much of the processor."""
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = math.ceil(used.ru_utime + used.ru_stime) + MOST_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    main()
