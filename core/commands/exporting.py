"""Runs as files: python -m core export."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.commands.verbs import verb
from core.errors import PluriscopeError
from core.jobs.queue import Jobs
from core.metrics.metrics import METRICS
from core.store.store import Store
from core.views import export, provenance, tables


def add(verbs: argparse._SubParsersAction) -> None:
    out = verb(verbs, "export", _export, "write a run to a file")
    out.add_argument("--run", dest="run_id", required=True, metavar="ID")
    out.add_argument("--to", type=Path, required=True, help="a .json, .csv or .parquet file")
    out.add_argument(
        "--table",
        default="answers",
        choices=tables.TABLES,
        help="which table to write as .csv or .parquet (default: answers, people's beside them)",
    )
    out.add_argument(
        "--metric", default="", choices=["", *METRICS], help="of tables of scores; default: emd"
    )


def _export(jobs: Jobs, a: argparse.Namespace) -> tuple[dict, str]:
    store, suffix = jobs.store, a.to.suffix.lower()
    if suffix not in (".json", ".csv", ".parquet"):
        raise PluriscopeError("Give a file that ends in .json, .csv or .parquet.")
    if not a.to.parent.is_dir():
        raise PluriscopeError(f"There is no folder {a.to.parent}. Make it first, or give another.")
    try:
        return _write(store, a)
    except OSError as error:
        raise PluriscopeError(f"{a.to} cannot be written: {error.strerror}.") from error


def _write(store: Store, a: argparse.Namespace) -> tuple[dict, str]:
    """Write what _export was asked for."""
    suffix, result = a.to.suffix.lower(), {"run": a.run_id, "file": str(a.to)}
    if suffix == ".json":
        a.to.write_text(export.run_json(store, a.run_id), encoding="utf-8")
        return result, f"Wrote {a.to}."
    run = store.run(a.run_id)
    table, card = (
        tables.TABLES[a.table].make(store, run, a.metric),
        provenance.card_json(store, run),
    )
    a.to.write_bytes(
        export.csv_bytes(table) if suffix == ".csv" else export.parquet_bytes(table, card)
    )
    beside = a.to.with_name(f"{a.to.stem}.card.json")
    beside.write_text(card, encoding="utf-8")
    result |= {"table": a.table, "rows": len(table), "card": str(beside)}
    return result, f"Wrote {a.to} and {beside}, which says where it comes from."
