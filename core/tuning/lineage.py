"""Whose answers a model was taught: the label that a score carries."""

from __future__ import annotations

from pathlib import Path

from core.asking.settings import AskSettings
from core.store.runs import Run
from core.store.store import Store
from core.tuning.settings import TuneSettings


def human_answers(store: Store, run: Run) -> str:
    """Which of people's answers had a part in a run's answers; "" where none had.

    They were shown to the model, set its numbers, or were taught to it by its adapter, which may
    have been merged into its weights. The label that goes with every score.
    """
    used = [AskSettings.from_json(run.settings).human_answers]
    if folder := run.settings["model"].get("adapter"):
        used.append(_taught(store, run.facts.get("adapter_sha256"), Path(folder)))
    if merged := run.facts.get("merged_sha256"):
        used.append(_taught(store, merged))
    return "; and ".join(dict.fromkeys(filter(None, used)))


TAUGHT_ELSEWHERE = "perhaps, in what its adapter was taught elsewhere"


def _taught(store: Store, sha256: str | None, folder: Path = Path()) -> str:
    """Which of people's answers an adapter was taught, by the arm that made it."""
    for made in (*store.adapters(), *store.adapters(deleted=True)):
        # A folder is named for its arm, its seed and its tuning's id, so it names one adapter.
        named = Path(made["path"]).parts[1] in folder.parts
        if made["tuning"] and (named or made["sha256"] == sha256):
            arms = TuneSettings.from_json(store.tuning(made["tuning"])["settings"]).arms
            used = next(arm for arm in arms if arm.name == made["arm"]).human_answers
            return f"{used}, in what its adapter was taught" if used else ""
    return TAUGHT_ELSEWHERE
