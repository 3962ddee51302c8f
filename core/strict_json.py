"""JSON as every reader takes it: no NaN, no infinity, no types of numpy."""

from __future__ import annotations

import json
import math

import numpy as np


def for_json(value: object) -> object:
    """A record of dicts and lists as JSON can hold it: numpy's numbers as Python's, and null for
    what is no number (NaN) or not finite."""
    if isinstance(value, dict):
        return {key: for_json(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [for_json(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def strict_json(record: object, indent: int | None = None) -> str:
    """The text of a record in strict JSON, which knows no NaN."""
    return json.dumps(for_json(record), ensure_ascii=False, allow_nan=False, indent=indent)
