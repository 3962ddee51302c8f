"""Writes down what the product shows of a home: every command's words, every table, every page.

    python scripts/golden.py OUT                  # of the home in tests/fixtures
    python scripts/golden.py OUT --home HOME      # of another one; it is copied and stays as it was
    python scripts/golden.py --check OLD NEW      # what differs between two such folders

Run it before and after a change that ought to change nothing. It enters by the doors users have,
`python -m core` and app.py, and knows no module behind them. What differs from one run to the next
(folders, new ids, free memory) is written as a word. No model is loaded.
"""

from __future__ import annotations

import argparse
import contextlib
import filecmp
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKED = ROOT / "tests" / "fixtures" / "home_of_version_5.tar.xz"
MEASURES = ("emd", "tv", "skill", "paper", "jsdist", "soft", "hard")  # those that pages offer
FREE = 16 << 30  # bytes of memory that every machine is said to have free
PARTS = ("commands", "pages", "compare", "exports", "writing")


class Known(NamedTuple):
    """What is in a home, as its store says."""

    runs: list[dict]
    tunings: list[dict]
    surveys: list[dict]
    others: list[str]  # ids of jobs and adapters

    def groups(self, *kinds: str) -> dict[str, list[dict]]:
        """Runs by the asking they belong to, the oldest first."""
        found: dict[str, list[dict]] = {}
        for run in self.runs:
            if run["kind"] in kinds and not run["deleted"]:
                found.setdefault(run["grp"], []).append(run)
        return found

    @property
    def first(self) -> str:
        """The asking with the most answers: it is shown in every way."""
        groups = self.groups("survey")
        return max(groups, key=lambda one: sum(run["answered"] for run in groups[one]))


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("out", type=Path, nargs="?", help="a folder to write; it may not be there")
    asked.add_argument("--home", type=Path, help="a home, or one packed as .tar.xz")
    asked.add_argument("--check", nargs=2, type=Path, metavar=("OLD", "NEW"))
    asked.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    a = asked.parse_args()
    if a.check:
        return check(*a.check)
    if not a.out:
        asked.error("give a folder to write")
    if a.part:
        parts = (commands, pages, compare, exports, writing)
        dict(zip(PARTS, parts, strict=True))[a.part](a.home, a.out)
        return 0
    return whole(a.home or PACKED, a.out)


def whole(home: Path, out: Path) -> int:
    """Every part on a copy of its own, two at a time."""
    if out.exists():
        print(f"{out} is there already.", file=sys.stderr)
        return 2
    out.mkdir(parents=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="golden-") as folder:
        started = []
        for part in PARTS:
            copy = copied(home, Path(folder) / part / "home")
            while sum(one.poll() is None for one in started) >= 2:
                time.sleep(0.2)
            started.append(subprocess.Popen(
                [sys.executable, str(Path(__file__).resolve()), str(out.resolve()), "--part", part,
                 "--home", str(copy)],
                cwd=ROOT, env=surroundings(copy), stdin=subprocess.DEVNULL,
            ))  # fmt: skip
        failed = [part for part, one in zip(PARTS, started, strict=True) if one.wait()]
    files = sum(1 for path in out.rglob("*") if path.is_file())
    print(f"{files} files in {time.monotonic() - began:.0f} s", *failed, file=sys.stderr)
    return 1 if failed else 0


def copied(home: Path, to: Path) -> Path:
    """A copy of a home, whose runs know its adapters where they now lie."""
    to.parent.mkdir(parents=True, exist_ok=True)
    if home.is_file():
        with tarfile.open(home) as archive:
            archive.extractall(to.parent, filter="data")
    else:
        shutil.copytree(home, to, symlinks=True)
    import duckdb

    with duckdb.connect(str(to / "pluriscope.duckdb")) as store:
        # Where the home stood: what stands in runs before the path of one of its adapters.
        (was,) = store.execute(
            """select coalesce((select left(settings->'model'->>'adapter',
                   strpos(settings->'model'->>'adapter', '/' || a.path) - 1)
                 from runs join adapters a
                   on contains(settings->'model'->>'adapter', '/' || a.path) limit 1), ?)""",
            [str(home.resolve())],
        ).fetchone()
        for table in ("runs", "jobs", "tunings"):
            store.execute(
                f"update {table} set settings = replace(settings::varchar, ?, ?)::json "
                "where contains(settings::varchar, ?)",
                [was, str(to), was],
            )
    return to


def surroundings(home: Path) -> dict[str, str]:
    """The same environment on every machine, as far as it can be."""
    empty = home.parent / "nothing"
    empty.mkdir(exist_ok=True)
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("STREAMLIT_")},
        "PLURISCOPE_HOME": str(home),
        "HF_HOME": str(empty),
        "HF_HUB_CACHE": str(empty / "hub"),
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "TZ": "UTC",
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "100",
        "PYTHONHASHSEED": "0",
        "PYTHONWARNINGS": "ignore",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def known(home: Path) -> Known:
    """Asked of the file itself, before anything holds it."""
    import duckdb

    with duckdb.connect(str(home / "pluriscope.duckdb"), read_only=True) as store:

        def rows(sql: str) -> list[dict]:
            return store.sql(sql).df().astype(object).to_dict("records")

        return Known(
            rows("""select no, id, grp, kind, name, method, answered,
                      deleted is not null as deleted, settings->>'survey' as survey
                    from runs order by no"""),
            rows("""select id, name, settings, deleted is not null as deleted,
                      counts::varchar = '{"emptied": true}' as emptied
                    from tunings order by created, id"""),
            rows("""select id, version, name, source, deleted is not null as deleted from surveys
                    where source <> 'written' order by added, id"""),
            [
                one
                for (one,) in store.sql(
                    "select id from jobs union all select id from adapters"
                ).fetchall()
            ],
        )


# -- what is written ------------------------------------------------------------------------------


class Book:
    """One part of the folder; every text that goes into it is made the same for all machines."""

    def __init__(self, home: Path, folder: Path, ids: set[str]):
        self.home, self.folder, self.ids = home, folder, ids
        self.new: dict[str, str] = {}
        self.began = int(time.time() * 10) - 10
        self.paths = {
            str(home): "HOME",
            str(home.parent): "BESIDE",
            str(ROOT): "ROOT",
            str(ROOT.resolve()): "ROOT",
            str(Path(sys.prefix)): "VENV",
            str(Path(sys.prefix).resolve()): "VENV",
        }

    def write(self, name: str, text: str) -> None:
        path = self.folder / f"{re.sub(r'[^A-Za-z0-9_.,=+/-]+', '-', name)[:150]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        while path.exists():
            path = path.with_name(f"again-{path.name}")
        path.write_text(self.plain(text), encoding="utf-8", newline="\n")

    def plain(self, text: str) -> str:
        for path in sorted(self.paths, key=len, reverse=True):
            escaped = re.sub(r"([^A-Za-z0-9])", r"\\\1", path)  # as Markdown, and that as JSON
            for one in (path, escaped.replace("\\", "\\\\"), escaped):
                text = text.replace(one, self.paths[path])
        text = re.sub(r'(deferredFileId": ")[0-9a-f]{32}', r"\1ID", text)
        text = re.sub(r"\$\$ID-[0-9a-f]{32}", "$$ID", text)
        return re.sub(r"\b[0-9a-f]{12}\b", self._new, text)

    def _new(self, found: re.Match) -> str:
        """An id that was not there before is told by the order in which it came."""
        one = found[0]
        if one in self.ids or not self._is_new(one):
            return one
        return self.new.setdefault(one, f"NEW-{len(self.new) + 1}")

    def _is_new(self, one: str) -> bool:
        """Ids begin with the time they were made at, in tenths of a second."""
        now = int(time.time() * 10)
        return self.began <= int(one[:8], 16) + (now >> 32 << 32) <= now + 10


def book(home: Path, out: Path, part: str, of: Known) -> Book:
    ids = {run["id"] for run in of.runs} | {tuning["id"] for tuning in of.tunings}
    ids |= set(of.others)
    return Book(home, out / part, ids)


# -- commands -------------------------------------------------------------------------------------


def command(*words: str) -> str:
    """What `python -m core …` prints, its errors and its exit code; entered in this process."""
    from core.__main__ import main as enter

    said, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
        sys.argv = ["python -m core", *words]
        try:
            code = enter(list(words))
        except SystemExit as end:
            code = end.code
        except Exception as error:  # a mistake, shown like all else
            code = f"{type(error).__name__}: {error}"
    text = said.getvalue()
    if "--json" in words and text:
        lines = text.rstrip("\n").split("\n")
        record = json.loads(lines[-1])
        text = "\n".join([*lines[:-1], json.dumps(record, indent=1, ensure_ascii=False), ""])
    return f"$ {' '.join(words)}\n-- exit {code}\n-- output\n{text}-- errors\n{errors.getvalue()}"


def commands(home: Path, out: Path) -> None:
    """Everything that `python -m core` reads, as text and as JSON."""
    of = known(home)
    to = book(home, out, "commands", of)

    def plain(*words: str) -> None:
        to.write(f"{' '.join(words)}.plain.txt", command(*words))

    def both(*words: str) -> None:  # with --json the words stand among the errors
        to.write(f"{' '.join(words)}.txt", command(*words, "--json"))

    said = command("--help")
    to.write("help.txt", said)
    verbs = re.findall(r"^    ([a-z]+) ", said, re.M)
    for verb in verbs:
        to.write(f"help {verb}.txt", command(verb, "--help"))
    metrics = re.search(r"--metric \{([a-z0-9_,]+)\}", command("score", "--help"))[1].split(",")
    runs = [run for run in of.runs if run["kind"] in ("survey", "imported") and not run["deleted"]]
    headline = [run for run in runs if run["grp"] == of.first]
    one = next(run for run in headline if run["method"] == "country")
    for verb in ("runs", "tunings"):
        both(verb)
        plain(verb)
    for metric in metrics:
        both("references", "--metric", metric)
        both("score", "--run", one["id"], "--metric", metric)
    for metric in ("emd", "paper", "jsdist"):
        both("signal", "--run", one["id"], "--metric", metric)
        both("robustness", "--run", one["id"], "--metric", metric)
    for verb in ("score", "signal"):
        both(verb, "--run", "all")
        plain(verb, "--run", "all")
    plain("robustness", "--run", one["id"])
    plain("references")
    for by in ("zone", "topic", "item"):
        for run in headline:
            both("score", "--run", run["id"], "--by", by)
    both("score", "--run", one["id"], "--topic", "Corruption")
    both("score", "--run", one["id"], "--topic", "Nothing")
    for survey in of.surveys:
        both("references", "--survey", f"{survey['id']}@{survey['version']}")
    for run in of.runs:
        if run["kind"] != "survey" or run["deleted"] or run["grp"] == of.first:
            both("score", "--run", run["id"], "--metric", "paper")
    last = {run["grp"]: run["id"] for run in runs}
    for run_id in list(last.values())[:12]:
        both("robustness", "--run", run_id)
    for tuning in of.tunings:
        both("arms", tuning["id"])
    for tuning in [tuning for tuning in of.tunings if not tuning["emptied"]]:
        plain("arms", tuning["id"], "--part", "all")
        for part in ("all", "tuned", "never_prompted", "never_seen", "held_out_countries"):
            both("arms", tuning["id"], "--part", part)
        both("arms", tuning["id"], "--part", "all", "--method", "plain")
        both("arms", tuning["id"], "--part", "all", "--baseline", "calibrated")
        for metric in ("tv", "paper"):
            both("arms", tuning["id"], "--part", "all", "--metric", metric)
    for verb in ("score", "signal", "robustness"):
        both(verb, "--run", "0123456789ab")
    both("arms", "0123456789ab")
    both("references", "--survey", "nothing")
    both("derive", "calibrated", "--run", "0123456789ab")
    both("import", "table", str(home / "nothing.csv"))
    both("import", "wvs", str(ROOT / "data" / "templates" / "survey.csv"))
    both("ask", "--resume", "0123456789ab")
    both("ask", "--methods", "nothing")
    both("ask", "--countries", "ATL")
    both("ask", "--items", "Q99999")
    both("ask", "--alpha", "much")
    both("tune", "--resume", "0123456789ab")
    both("tune", "--countries", "ATL")
    both("experiment", "--arms", "nothing")
    both("experiment", "--seeds", "one")


def exports(home: Path, out: Path) -> None:
    """Every table of the first asking; answers and scores of every other run, and the whole."""
    of = known(home)
    to = book(home, out, "exports", of)
    headline = [run for run in of.runs if run["grp"] == of.first]
    folder = home.parent / "exports"
    folder.mkdir()
    offered = re.search(r"--table \{([a-z_,]+)\}", command("export", "--help"))[1].split(",")
    for run in of.runs:
        tables = offered if run in headline else ["answers"]
        if run["kind"] == "imported" or "wordings" in run["name"]:
            tables = ["answers", "scores", "held", "formats"]
        if run["kind"] not in ("survey", "imported"):
            tables = ["answers"]
        for table in tables:
            name = f"{table} {run['name']} {run['method']} {run['id']}"
            path = folder / f"{run['id']}-{table}.csv"
            to.write(f"{name}.txt", command(
                "export", "--run", run["id"], "--table", table, "--to", str(path), "--json"
            ))  # fmt: skip
            for written in (path, path.with_name(f"{path.stem}.card.json")):
                if written.exists():
                    to.write(f"{name}{written.suffix}", written.read_text(encoding="utf-8"))
        path = folder / f"{run['id']}.json"
        to.write(f"whole {run['id']}.txt", command(
            "export", "--run", run["id"], "--to", str(path)
        ))  # fmt: skip
        if path.exists():
            record = json.loads(path.read_text(encoding="utf-8"))
            to.write(f"whole {run['id']}.json", json.dumps(record, indent=1, ensure_ascii=False))
    one = headline[-1]["id"]
    path = folder / "one.parquet"
    to.write("parquet.txt", command("export", "--run", one, "--to", str(path)))
    import pyarrow.parquet

    read = pyarrow.parquet.read_table(path)
    kept = {
        key.decode(): value.decode()
        for key, value in (read.schema.metadata or {}).items()
        if key != b"ARROW:schema"
    }
    to.write("parquet schema.txt", f"{read.schema}\n{json.dumps(kept, indent=1)}")
    to.write("parquet rows.csv", read.to_pandas().to_csv(index=False))
    to.write("wrong.txt", command("export", "--run", one, "--to", str(folder / "one.xls")))
    to.write("nowhere.txt", command("export", "--run", one, "--to", "/nowhere/one.csv"))


def writing(home: Path, out: Path) -> None:
    """Commands that write and need no model: what they print, and what the store lists after."""
    of = known(home)
    to = book(home, out, "writing", of)
    step = iter(range(1, 1000))

    def both(*words: str) -> None:
        to.write(f"{next(step):02} {' '.join(words)}.txt", command(*words, "--json"))

    asked = [run for run in of.runs if run["kind"] == "survey" and not run["deleted"]]
    by_method = {run["method"]: run["id"] for run in asked}
    by_method |= {run["method"]: run["id"] for run in asked if run["grp"] == of.first}
    both("derive", "calibrated", "--run", by_method["country"])
    both("derive", "calibrated", "--run", by_method["plain"])
    both("derive", "calibrated", "--run", by_method["cross_culture"])
    both("derive", "amplified", "--run", by_method["country"], "--alpha", "1.5")
    both("derive", "amplified", "--run", by_method["country"], "--plain", by_method["plain"])
    both("derive", "amplified", "--run", by_method["plain"])
    both("derive", "calibrated", "--run", by_method["amplified"])
    both("import", "table", str(ROOT / "data" / "templates" / "survey.csv"), "--name", "Again")
    both("import", "translation", str(ROOT / "data" / "survey" / "translations" / "de.jsonl"))
    listed = json.loads(command("runs", "--json").split("-- output\n")[1].split("-- errors")[0])
    to.write("runs after.txt", json.dumps(
        [{k: v for k, v in run.items() if k != "created"} for run in listed], indent=1
    ))  # fmt: skip
    for run in [run for run in listed if run["id"] not in to.ids]:
        both("score", "--run", run["id"])
        path = home.parent / f"{run['id']}.csv"
        command("export", "--run", run["id"], "--to", str(path))
        to.write(f"{next(step):02} derived.csv", path.read_text(encoding="utf-8"))


# -- pages ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def app() -> Iterator[Callable[..., Any]]:
    """Opens a page: open("map", run=…). No process is started that would load a model."""
    import logging

    import psutil

    real, memory = subprocess.Popen, psutil.virtual_memory

    class Quiet(real):
        """In place of the process that holds the model: one that waits and says nothing."""

        def __init__(self, words: Any, *rest: Any, **more: Any):
            if isinstance(words, list) and words[:2] == [sys.executable, "-m"]:
                words = [sys.executable, "-c", "import sys; sys.stdin.read()"]
            super().__init__(words, *rest, **more)

    subprocess.Popen = Quiet
    psutil.virtual_memory = lambda: memory()._replace(available=FREE)
    logging.disable(logging.ERROR)
    from streamlit.testing.v1 import AppTest

    def opened(page: str, **query: str) -> Any:
        at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
        for key, value in query.items():
            at.query_params[key] = value
        return (at if page == "home" else at.switch_page(f"pages/{page}.py")).run()

    opened("home")  # from then on a link to any page leads there
    yield opened


class Pages:
    """Writes down pages, each under what was asked of it."""

    def __init__(self, opened: Callable[..., Any], to: Book):
        self.opened, self.to = opened, to

    def __call__(self, page: str, *steps: Callable[[Any], Any], _as: str = "", **query: str) -> Any:
        """steps: what is done on it, such as press("items_on"). _as: a name for its file."""
        asked = " ".join(f"{key}={value}" for key, value in query.items())
        at = self.opened(page, **query)
        for step in steps:
            at = step(at).run()
        text = shown(at)
        if page == "library":  # rooms on disk
            text = re.sub(r"\b[\d.,]+ (kB|MB|GB)\b", "SIZE", text)
        self.to.write(f"{page}/{_as or asked or 'as it opens'}.txt", text)
        return at


def press(key: str) -> Callable[[Any], Any]:
    return lambda at: at.button(key=key).click()


def shown(at: Any) -> str:
    """A page from top to bottom: each element with all that it is told to show."""
    lines = [f"address: {json.dumps(at.query_params, default=str, ensure_ascii=False)}"]
    _lines(at._tree, 0, lines)
    return "\n".join(lines) + "\n"


def _lines(node: Any, depth: int, lines: list[str]) -> None:
    pad = "  " * depth
    if hasattr(node, "children"):
        proto = _fields(node.proto) if getattr(node, "proto", None) is not None else {}
        lines.append(f"{pad}[{node.type}]{_said(proto, pad)}")
        for child in node.children.values():
            _lines(child, depth + 1, lines)
        return
    fields = _fields(node.proto)
    if node.type in ("arrow_data_frame", "dataframe", "table", "arrow_table"):
        _without_rows(fields)
        lines.append(f"{pad}{node.type}{_said(fields, pad)}")
        lines += [f"{pad}  | {row}" for row in _csv(node).splitlines()]
        return
    lines.append(f"{pad}{node.type}{_said(fields, pad)}")
    if hasattr(type(node), "set_value"):
        lines.append(f"{pad}  = {node.value!r}")


DROPPED = {"stackTrace", "pageScriptHash", "fragmentId", "formId", "elementHash", "scrollToBottom"}


def _fields(proto: Any) -> dict:
    from google.protobuf.json_format import MessageToDict

    try:
        found = MessageToDict(proto, use_integers_for_enums=False)
    except AttributeError:  # the root of the page has none
        return {}
    return _cleaned(found)


def _cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _cleaned(one) for key, one in value.items() if key not in DROPPED}
        for key in ("spec", "config", "columns"):
            if isinstance(kept.get(key), str) and kept[key][:1] in "{[":
                kept[key] = _figure(json.loads(kept[key]))
        return kept
    return [_cleaned(one) for one in value] if isinstance(value, list) else value


def _figure(value: Any) -> Any:
    """A figure's data; outlines of countries and the template are told by their fingerprint."""
    if isinstance(value, dict):
        return {
            key: hashlib.sha256(json.dumps(one, sort_keys=True).encode()).hexdigest()[:16]
            if key in ("geojson", "template")
            else _figure(one)
            for key, one in value.items()
        }
    return [_figure(one) for one in value] if isinstance(value, list) else value


def _said(fields: dict, pad: str) -> str:
    if not fields:
        return ""
    text = json.dumps(fields, ensure_ascii=False, sort_keys=True)
    if len(text) < 2000 and "spec" not in fields:
        return f" {text}"
    text = json.dumps(fields, ensure_ascii=False, sort_keys=True, indent=1)
    # Short lists of numbers stay on one line.
    text = re.sub(r"\[\s+([^\[\]{}]{1,400}?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text)
    return "".join(f"\n{pad}  {line}" for line in text.splitlines())


def _without_rows(fields: dict) -> None:
    for part in (fields, *[one for one in fields.values() if isinstance(one, dict)]):
        part.pop("data", None)
        styler = part.get("styler")
        if isinstance(styler, dict):
            uuid = styler.pop("uuid", "")
            styler.pop("displayValues", None)
            if uuid and "styles" in styler:
                styler["styles"] = styler["styles"].replace(uuid, "STYLE")


def _csv(node: Any) -> str:
    text = node.value.to_csv(index=False)
    for proto in (node.proto, getattr(node.proto, "arrow_data", None)):
        styler = getattr(proto, "styler", None)
        if styler is not None and styler.display_values:
            import pyarrow

            shown_as = pyarrow.ipc.open_stream(styler.display_values).read_pandas()
            text += "as shown\n" + shown_as.to_csv(index=False)
    return text


SHELVES = ("Runs", "Models", "Adapters", "Surveys", "Storage")
FACES = ("like", "apart", "values", "topics", "ladder", "rates")


def pages(home: Path, out: Path) -> None:
    """Every page but Compare, in several states."""
    of = known(home)
    to = book(home, out, "pages", of)
    with app() as opened:
        page = Pages(opened, to)
        for name in ("home", "ask", "run", "tune", "experiment", "map", "items", "import",
                     "library", "country"):  # fmt: skip
            page(name)
        results(page, of)
        questions(page, of)
        work(page, of)
        tunings(page, of)
        library(page, of)
    os._exit(0)  # threads of the queue wait for work


def others(of: Known) -> list[str]:
    """Askings to set beside the first: those with the most answers after it."""
    groups = of.groups("survey")
    by_size = sorted(groups, key=lambda one: -sum(run["answered"] for run in groups[one]))
    return by_size[1:4]


def results(page: Pages, of: Known) -> None:
    """Map, Country and Items of every asking; of the first one in every way."""
    askings = of.groups("survey", "imported", "tuning")
    first = of.first
    for group, runs in askings.items():
        said = f"{runs[0]['name']} {group}"
        for name in ("map", "items", "country"):
            page(name, run=group, _as=said)
        for run in runs:
            page("map", run=group, show=run["method"], face="table", _as=f"{said} {run['method']}")
    for measure in MEASURES:
        page("map", run=first, measure=measure, face="ranked")
        page("country", run=first, measure=measure, country="KEN")
        page("items", run=first, measure=measure)
    for face in ("map", "ranked", "table"):
        page("map", run=first, face=face, show="change")
    page("map", run=first, face="ranked", by="zone")
    page("map", run=first, about="Corruption")
    page("map", run=first, face="ranked", show="nothing", measure="nothing", about="nothing")
    page("map", run="gone")
    for other in others(of):
        page("map", run=first, **{"with": askings[other][-1]["id"]}, face="table")
        page("map", run=first, **{"with": askings[other][-1]["id"]})
    for group, runs in askings.items():
        for wording in sorted({"pluriscope-b"} if "two wordings" in runs[0]["name"] else set()):
            for name in ("map", "items", "country", "compare"):
                page(name, run=group, wording=wording)
    for detail in ("answers", "countries", "raw", "prompt"):
        page("items", run=first, item="Q57", detail=detail)
        page("items", run=first, item="Q164", detail=detail, country="KEN")
    for group, runs in askings.items():
        if any(word in runs[0]["name"] for word in ("Written", "German", "examples", "language")):
            for detail in ("raw", "prompt"):
                page("items", run=group, item="Q57", detail=detail, country="KEN",
                     _as=f"{runs[0]['name']} {group} {detail}")  # fmt: skip
    for sort in ("worst", "best", "order", "change", "name"):
        page("items", run=first, sort=sort)
    page("items", run=first, q="trust")
    page("items", run=first, q="nothing like it")
    page("items", run=first, item="Q99999", country="ATL")
    page("items", press("items_on"), run=first, _as="next")
    page("items", press("items_back"), run=first, _as="previous")
    page("country", press("country_on"), run=first, _as="next")
    for country in ("USA", "DEU", "JPN", "ATL"):
        page("country", run=first, country=country)
    for survey in of.surveys:
        key = "wvs7" if survey["source"] == "bundled" else f"{survey['id']}@{survey['version']}"
        page("items", run=f"people:{key}")
        page("items", run=f"people:{key}", country="KEN", see="answers")
        page("items", run=f"people:{key}", country="KEN", by="order")


def questions(page: Pages, of: Known) -> None:
    """Ask: empty, with a question and people, in every way, and with what was asked before."""
    for group in of.groups("question"):
        page("ask", ask=group)
    page("ask", item="Q57", people="KEN,DEU")
    page("ask", item="Q164", people="KEN,USA,DEU,BRA,IND,NGA")
    page("ask", item="Q1", people="KEN", ask_as="Cross-culture thinking")
    page("ask", item="Q1", people="KEN", ask_examples="true")
    page("ask", item="nothing", people="ATL", ask="gone")
    page("ask", ask_own="true")
    for survey in of.surveys:
        page("ask", survey=survey["id"])


def work(page: Pages, of: Known) -> None:
    """Run, with every blank filled in some way; Import."""
    sets = ("The core set", "One topic", "Every question", "My own choice")
    for one in sets:
        page("run", set=one)
    for one in ("Every country", "My own choice"):
        page("run", places=one)
    page("run", places="My own choice", who="Kenya", set="My own choice", items="Q3,Q5")
    page("run", answers="Written answers")
    for orders in ("given", "both", "reversed", "cyclic"):
        page("run", orders=orders)
    for language in ("de", "sw", "own", "nothing"):
        page("run", language=language)
    page("run", wordings="pluriscope,pluriscope-b")
    page("run", precision="bf16")
    page("run", model="example/nothing-1b")
    for survey in of.surveys:
        page("run", survey=survey["id"])
        page("run", survey=f"{survey['id']}@{survey['version']}", set="Every question")
    page("run", press("history_more"), _as="more of what was asked before")


def tunings(page: Pages, of: Known) -> None:
    """Tune and Experiment, with every tuning, arm, seed and step."""
    for tuning in of.tunings:
        settings = json.loads(tuning["settings"])
        several = len(settings["arms"]) * len(settings["seeds"]) > 1
        for arm in settings["arms"]:
            for seed in settings["seeds"]:
                for step in ("", "questions", "pairs", "training", "after", "cost"):
                    query = {"step": step} if step else {}
                    if several:
                        query |= {"arm": arm["name"], "seed": str(seed)}
                    page("tune", tuning=tuning["id"], **query)
        if not tuning["emptied"]:
            for part in ("all", "held_out", "tuned", "held_out_countries"):
                page("experiment", tuning=tuning["id"], part=part)
            page("experiment", tuning=tuning["id"], part="all", method="plain")
            for measure in MEASURES[1:]:
                page("experiment", tuning=tuning["id"], part="all", measure=measure)
            for arm in settings["arms"]:
                page("experiment", tuning=tuning["id"], part="all", arm=arm["name"])
        else:
            page("experiment", tuning=tuning["id"])
    page("tune", tuning="gone")
    page("experiment", tuning="gone")
    for way in ("soft", "culturespa", "people"):
        page("tune", tune_way=way)


def library(page: Pages, of: Known) -> None:
    for shelf in SHELVES:
        page("library", shelf=shelf)
    page("library", shelf="Runs", singles="true")
    page("library", shelf="Runs", find_run="german")
    page("library", shelf="Runs", find_run="nothing like it")
    page("library", press("empty_bin"), shelf="Storage", _as="asks before it empties the bin")
    page("library", press("restore"), shelf="Storage", _as="everything is taken back")
    page("library", shelf="Surveys", _as="surveys after")
    page("tune", _as="tunings after")


def compare(home: Path, out: Path) -> None:
    """Compare: every face of every asking, and of the first in every way."""
    of = known(home)
    to = book(home, out, "pages", of)
    with app() as opened:
        page = Pages(opened, to)
        page("compare")
        askings = of.groups("survey", "imported")
        first = of.first
        for group, runs in askings.items():
            whole = sum(run["answered"] for run in runs) > 100 or runs[0]["kind"] == "imported"
            for face in FACES if whole else ("like", "rates"):
                page("compare", run=group, face=face, _as=f"{runs[0]['name']} {group} {face}")
        for run in askings[first]:
            for face in FACES:
                page("compare", run=first, show=run["method"], face=face)
        for measure in MEASURES[1:]:
            for face in FACES:
                page("compare", run=first, measure=measure, face=face)
        page("compare", run=first, order="zone")
        page("compare", run=first, cells="centred")
        page("compare", run=first, persona="KEN", against="DEU")
        page("compare", run=first, face="apart", order="zone")
        page("compare", run=first, face="topics", grid="score")
        page("compare", run=first, face="topics", grid="change")
        for other in others(of):
            for face in FACES:
                page("compare", run=first, **{"with": askings[other][-1]["id"]}, face=face)
        names = ("run", "show", "measure", "face", "order", "cells", "grid", "persona", "against",
                 "country", "with")  # fmt: skip
        page("compare", _as="mangled", **dict.fromkeys(names, "?"))
    os._exit(0)


# -- two folders ----------------------------------------------------------------------------------


def check(old: Path, new: Path) -> int:
    """Say which files differ; 0 where none does. `diff -r OLD NEW` shows how."""
    names = [
        {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        for folder in (old, new)
    ]
    for name in sorted(names[0] - names[1]):
        print(f"gone: {name}")
    for name in sorted(names[1] - names[0]):
        print(f"new: {name}")
    same = sorted(names[0] & names[1])
    other = [name for name in same if not filecmp.cmp(old / name, new / name, shallow=False)]
    for name in other:
        print(f"differs: {name}")
    print(f"{len(same) - len(other)} of {len(names[0] | names[1])} files are the same.")
    return 0 if names[0] == names[1] and not other and same else 1


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    raise SystemExit(main())
