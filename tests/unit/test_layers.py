"""The map of the house: a folder imports only those below it, and each library has a home."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What stands at core's top level: may be used anywhere, and imports nothing of the folders.
FLAT = {"errors", "home", "options", "ordinary_files", "sanitize", "strict_json", "whole_files"}
FLAT |= {"wording"}
# Each folder, lowest first, and which of those above it in this list it may import.
# Why: docs/decisions.md, "Folders are subjects, and import only what lies below."
ARROWS = {
    "survey": "",
    "metrics": "survey",
    "prompts": "survey",
    "models": "",
    "figures": "survey metrics prompts",
    "inference": "models",
    "asking": "survey prompts models inference",
    "store": "survey prompts models asking",
    "importers": "survey prompts models asking store",
    "analysis": "survey metrics prompts asking store",
    "tuning": "survey metrics prompts models inference asking store analysis",
    "jobs": "survey metrics prompts models inference asking store analysis tuning",
    "views": (
        "survey metrics prompts models figures inference asking store importers analysis tuning "
        "jobs"
    ),
    "commands": "survey metrics prompts models asking store importers analysis tuning jobs views",
}
ARROWS["__main__"] = "commands"
HOMES = {
    "streamlit": {"app.py", "pages"},
    "duckdb": {"core/store", "core/importers/reading.py"},
    "plotly": {"core/figures"},
    "torch": {"core/inference", "core/models/embedding.py", "core/models/load.py"}
    | {"core/models/gguf_files.py", "core/models/whole_weights.py"}
    | {"core/tuning/train.py", "core/tuning/training_files.py", "core/tuning/abilities/drift.py"},
    "transformers": {"core/inference", "core/models/embedding.py", "core/models/load.py"}
    | {"core/models/chat_template.py", "core/models/template_process.py"}
    | {"core/models/gguf_files.py", "core/tuning/train.py"},
    "peft": {"core/models/adapter_layers.py", "core/tuning/train.py"},
    "bitsandbytes": {"core/models/load.py"},
    "lm_eval": {"core/tuning/abilities/lm_eval_tasks.py"},
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


PAGES = [ROOT / "app.py", *sorted((ROOT / "pages").rglob("*.py"))]
CORE = sorted((ROOT / "core").rglob("*.py"))


def test_the_list_of_arrows_points_down_and_names_every_folder():
    floors = list(ARROWS)
    for folder, below in ARROWS.items():
        assert all(floors.index(one) < floors.index(folder) for one in below.split())
    folders = {path.parent.name for path in (ROOT / "core").glob("*/__init__.py")}
    assert folders == set(ARROWS) - {"__main__"}


@pytest.mark.parametrize("path", CORE, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_folder_imports_only_what_the_map_allows(path):
    here = path.relative_to(ROOT / "core").parts[0].removesuffix(".py")
    assert here in {*ARROWS, *FLAT, "__init__"}, f"core/{here} is not on the map; put it there"
    allowed = {here, *FLAT, *ARROWS.get(here, "").split()}
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "core" and len(parts) > 1 and parts[1] in ARROWS:
            assert parts[1] in allowed, f"{here} imports {name}"


@pytest.mark.parametrize("path", [*PAGES, *CORE], ids=lambda p: str(p.relative_to(ROOT)))
def test_each_library_stays_in_its_home(path):
    place = path.relative_to(ROOT)
    around = {place.as_posix(), *(parent.as_posix() for parent in place.parents)}
    for name in imports(path):
        homes = HOMES.get(name.split(".")[0])
        assert homes is None or around & homes, f"{place} imports {name}"


def test_pages_and_what_they_import_never_load_torch():
    modules = [
        *(path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
          for path in (ROOT / "pages" / "widgets").glob("*.py")),
        *(f"core.{name}" for name in ("jobs.queue", "jobs.plan", "analysis.scores",
                                      "figures.maps", "views.findings")),
    ]  # fmt: skip
    code = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
