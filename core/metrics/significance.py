"""What differs clearly: quantiles, two-sided p, and many tests at once."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtr, stdtrit

Z = float(stdtrit(np.inf, 0.975))  # 1.96


def t_quantile(freedom: float) -> float:
    """97.5% point of Student's t. Fewer than six degrees count whole, on the side of caution."""
    return float(stdtrit(int(freedom) if freedom < 6 else freedom, 0.975))


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """q-values of the same shape (Benjamini & Hochberg 1995); NaN stays NaN and does not count."""
    from scipy.stats import false_discovery_control  # takes half a second to import

    p = np.asarray(p, float)
    q = np.full(p.shape, np.nan)
    there = ~np.isnan(p)
    q[there] = false_discovery_control(p[there])
    return q


def two_sided(value: np.ndarray, error: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """p of values with standard errors of so many degrees of freedom (inf: known): Student's t."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(value == 0, 0 * error, np.abs(value) / error)
    return 2 * stdtr(freedom, -t)
