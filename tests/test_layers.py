"""The map of the house: a module imports only what lies before it, and each library has a home."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOW = [
    "__init__",
    "errors",
    "texts",
    "survey",
    "prompts",
    "translations",
    "demonstrations",
    "likeness",
    "hub",
    "catalogue",
    "meaning",
    "settings",
    "adapters",
    "models",
    "embedding",
    "tree",
    "scoring",
    "frames",
    "generation",
    "tuning",
    "store",
    "responses",
    "importers",
    "metrics",
    "imports",
    "crossfit",
    "amplification",
    "calibration",
    "relations",
    "words",
    "languages",
    "people",
    "verdicts",
    "drift",
    "harness",
    "abilities",
    "scores",
    "derived",
    "robustness",
    "export",
    "culturespa",
    "experiments",
    "cards",
    "worker",
    "pipeline",
    "jobs",
    "runs",
    "views",
    "tuning_views",
    "comparing",
    "question",
    "figures",
    "tuning_figures",
    "relation_figures",
    "value_figures",
    "tuning_commands",
    "__main__",
]
HOMES = {
    "streamlit": {"app.py", "pages", *(path.name for path in ROOT.glob("ui*.py"))},
    "duckdb": {"core/store.py", "core/importers/reading.py"},
    "plotly": {"core/figures.py"},
    "torch": {
        "core/embedding.py",
        "core/models.py",
        "core/tree.py",
        "core/scoring.py",
        "core/generation.py",
        "core/tuning.py",
        "core/drift.py",
    },
    "transformers": {
        "core/embedding.py",
        "core/models.py",
        "core/tree.py",
        "core/scoring.py",
        "core/generation.py",
        "core/tuning.py",
    },
    "peft": {"core/models.py", "core/tuning.py"},
    "bitsandbytes": {"core/models.py"},
    "lm_eval": {"core/harness.py"},
}


def imports(path: Path) -> set[str]:
    """Dotted names imported anywhere in a file, TYPE_CHECKING blocks left out."""
    found = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


SOURCES = [ROOT / "app.py", *ROOT.glob("ui*.py"), *(ROOT / "pages").glob("*.py")]
CORE = sorted((ROOT / "core").rglob("*.py"))


@pytest.mark.parametrize("path", CORE, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_only_what_lies_before_it(path):
    here = path.relative_to(ROOT / "core").parts[0].removesuffix(".py")
    assert here in FLOW, f"core/{here} is not on the map; put it in FLOW where it belongs"
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "core" and len(parts) > 1 and parts[1] in FLOW and parts[1] != here:
            assert FLOW.index(parts[1]) < FLOW.index(here), f"{here} imports {parts[1]}"


@pytest.mark.parametrize("path", [*SOURCES, *CORE], ids=lambda p: str(p.relative_to(ROOT)))
def test_each_library_stays_in_its_home(path):
    place = path.relative_to(ROOT).as_posix()
    for name in imports(path):
        homes = HOMES.get(name.split(".")[0])
        assert homes is None or place in homes or place.split("/")[0] in homes, (
            f"{place} imports {name}"
        )


def test_pages_and_what_they_import_never_load_torch():
    modules = [
        "ui",
        "ui_methods",
        "ui_adapters",
        *(f"core.{name}" for name in ("jobs", "runs", "scores", "figures", "words")),
    ]
    code = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
