"""Tasks of lm-evaluation-harness, base against tuned, question by question. Optional.

The harness is no part of Pluriscope: where it is not installed, or cannot fetch a task's
questions, a sentence says so and the other tests stand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core.home import home
from core.models.load import Loaded, bare
from core.tuning.abilities.paired_tests import Kind, Outcome, made, paired_mean, shares
from core.tuning.settings import TASKS

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

# What a question's score is called, the most telling first.
SCORES = ("acc", "exact_match", "acc_norm", "em", "f1", "mc1")
QUESTIONS = 500  # of a task that is no preset


class Preset(NamedTuple):
    """A selection of questions. limit: of each of the tasks (MMLU is 57 of them)."""

    title: str
    about: str
    tasks: tuple[str, ...]
    limit: int


PRESETS: dict[str, Preset] = {
    "mmlu": Preset(
        TASKS["mmlu"], "1,026 questions of 57 school and college subjects.",
        ("mmlu",), 18,
    ),
    "arc": Preset(
        TASKS["arc"], "1,000 questions of science tests, half of them hard.",
        ("arc_easy", "arc_challenge"), 500,
    ),
    "gsm8k": Preset(
        TASKS["gsm8k"], "200 problems of several steps; slow, since answers are written.",
        ("gsm8k",), 200,
    ),
}  # fmt: skip


def installed() -> bool:
    """Whether lm-evaluation-harness is there, without loading it."""
    from importlib.util import find_spec

    return find_spec("lm_eval") is not None


def compare(loaded: Loaded, name: str, stop: Callable[[], bool] = lambda: False) -> Outcome | str:
    """The test of a preset or of any task of the harness by its name; a sentence where it fails.

    Tasks of the user's own are found in the folder `tasks` of PLURISCOPE_HOME. stop: asked before
    each batch; once it is true, what was done is thrown away.
    """
    preset = PRESETS.get(name) or Preset(
        name, f"Up to {QUESTIONS} questions of the task {name}.", (name,), QUESTIONS
    )
    try:
        from lm_eval.tasks import TaskManager
    except ImportError:
        return (
            f"“{preset.title}” was not tested: lm-evaluation-harness is not installed. "
            "`.venv/bin/pip install -r requirements-bench.txt` installs it."
        )
    own = home() / "tasks"
    try:
        manager = TaskManager(include_path=str(own) if own.is_dir() else None)
        unknown = [task for task in preset.tasks if task not in manager.all_tasks]
        if unknown:
            return f"“{unknown[0]}” was not tested: lm-evaluation-harness knows no such task."
        with bare(loaded):
            base = _scores(loaded, preset, manager, stop)
        tuned = _scores(loaded, preset, manager, stop)
    except _Stopped:
        return f"“{preset.title}” was not tested: it was stopped."
    except _fetching_errors() as error:
        reason = " ".join(str(error).split())[:160]
        return (
            f"“{preset.title}” was not tested: its questions could not be had ({reason}). "
            "Fetch the data set while this machine is online, then try again."
        )
    # A task is somebody's own code and template: whatever it raises must not cost a finished arm.
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        return f"“{preset.title}” was not tested: the task itself failed ({reason})."
    shared = sorted(base.keys() & tuned.keys())
    if not shared:
        return f"“{preset.title}” was not tested: it gives no score for single questions."
    sides = [np.array([side[key] for key in shared]) for side in (base, tuned)]
    return compared(name, preset, *sides)


class _Stopped(Exception):
    """Somebody asked for the work to stop."""


def _fetching_errors() -> tuple[type[Exception], ...]:
    """No network, no such data set, code of its own, half a download, a package that is missing."""
    from datasets.exceptions import DatasetsError

    return OSError, ValueError, DatasetsError, ImportError


def compared(name: str, preset: Preset, base: np.ndarray, tuned: np.ndarray) -> Outcome:
    """base, tuned: scores from 0 to 1 of the same questions."""
    kind = Kind(name, preset.title, preset.about, f"it scores lower on {preset.title}")
    if set(np.unique([base, tuned])) <= {0.0, 1.0}:
        return shares(kind, base > 0, tuned > 0)
    base, tuned = 100 * base, 100 * tuned
    return made(kind, len(base), base.mean(), tuned.mean(), paired_mean(base, tuned))


def _scores(
    loaded: Loaded, preset: Preset, manager: TaskManager, stop: Callable[[], bool]
) -> dict[tuple[str, int], float]:
    """(task, number of the question) -> its score. Raises _Stopped."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    def go_on(*_: object) -> None:
        if stop():
            raise _Stopped

    model = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=8)
    watch = loaded.model.register_forward_pre_hook(go_on)  # the harness knows no stop of its own
    try:
        results = simple_evaluate(
            model=model,
            tasks=list(preset.tasks),
            limit=preset.limit,
            task_manager=manager,
            bootstrap_iters=0,
            log_samples=True,
        )
    finally:
        watch.remove()
    scores = {}
    for task, samples in results["samples"].items():
        for sample in samples:
            score = next((sample[key] for key in SCORES if key in sample), None)
            if isinstance(score, int | float | np.number) and 0 <= score <= 1:
                # Where answers are read in several ways, the first one counts.
                scores.setdefault((task, sample["doc_id"]), float(score))
    return scores
