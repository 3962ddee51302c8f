"""Where things lie: what the project ships, and the one folder for everything that is written."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
STATIC = ROOT / "static"


def home() -> Path:
    """The folder that holds everything written: PLURISCOPE_HOME, or data/local."""
    return Path(os.environ.get("PLURISCOPE_HOME") or DATA / "local").expanduser().resolve()
