"""How long a whole tuning of the built-in model takes, by the command a user would type.

    python -m bench.pipeline [--per-topic 40] [--countries study]

Questions on 13 topics, answered plainly and as people of 18 countries, one adapter, and all survey
questions asked before and after. Beside the time, the processor time of everything it started.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--per-topic", type=int, default=40)
    parser.add_argument("--countries", default="study")
    options = parser.parse_args(arguments)
    command = [
        *(sys.executable, "-m", "core", "tune", "--json"),
        *("--per-topic", str(options.per_topic), "--countries", options.countries),
    ]
    with tempfile.TemporaryDirectory() as home:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PLURISCOPE_HOME": home},
            capture_output=True,
            text=True,
        )
        minutes = (time.perf_counter() - began) / 60
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    result = {
        "minutes": minutes,
        "processor_minutes": (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        / 60,
        "tuning": json.loads(done.stdout.splitlines()[-1]),
    }
    print(json.dumps(result, indent=1))
    return result


if __name__ == "__main__":
    main()
