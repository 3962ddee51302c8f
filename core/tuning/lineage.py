"""Whose answers a model was taught: the label that a score carries."""

from __future__ import annotations

from core.store.runs import Run
from core.store.store import Store
from core.tuning.settings import TuneSettings

TAUGHT_ELSEWHERE = "perhaps, in what its adapter was taught elsewhere"


# Why: docs/decisions.md, "The label follows the adapter."
def human_answers(store: Store, run: Run) -> str:
    """Which of people's answers had a part in a run's answers; "" where none had.

    They were shown to the model, set its numbers, or were taught to it by its adapter, which may
    have been merged into its weights. The label that goes with every score.
    """
    used = [run.settings.human_answers]
    if run.settings.model.adapter:
        used.append(_taught(store, run.adapter))
    if run.facts.get("merged_sha256"):
        used.append(_taught(store, run.merged))
    return "; and ".join(dict.fromkeys(filter(None, used)))


def _taught(store: Store, adapter_id: str | None) -> str:
    """Which of people's answers an adapter was taught, by the arm that made it."""
    made = store.adapter(adapter_id) if adapter_id else None
    if made is None:
        return TAUGHT_ELSEWHERE
    arms = TuneSettings.from_json(store.tuning(made["tuning"])["settings"]).arms
    used = next(arm for arm in arms if arm.name == made["arm"]).human_answers
    return f"{used}, in what its adapter was taught" if used else ""
