"""The same verbs without a browser: python -m core ask, derive, runs, score, references, export, …

With --json the last line on standard output is one JSON record; everything else goes to standard
error.
"""

from __future__ import annotations

import argparse
import sys

from core.commands import asking, exporting, importing, models, results, tuning
from core.commands.verbs import own_jobs
from core.errors import PluriscopeError
from core.strict_json import strict_json


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    try:
        with own_jobs() as jobs:
            result, said = arguments.run(jobs, arguments)
    except PluriscopeError as error:
        print(str(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. What was answered is saved.", file=sys.stderr)
        return 130
    print(said, file=sys.stderr if arguments.json else sys.stdout)
    if arguments.json:
        print(strict_json(result))
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m core",
        description="Ask a model survey questions as people of different countries, and score it.",
    )
    verbs = top.add_subparsers(
        required=True, metavar="ask|derive|runs|score|signal|robustness|references|export|import"
    )
    for family in (asking, results, importing, tuning, models, exporting):
        family.add(verbs)
    return top


if __name__ == "__main__":
    raise SystemExit(main())
