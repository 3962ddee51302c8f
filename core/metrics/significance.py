"""What differs clearly: quantiles, two-sided p, and many tests at once."""

from __future__ import annotations

import math

import numpy as np

# 97.5% points of Student's t for 1 to 5 degrees of freedom; beyond, an expansion serves.
_T_SMALL = (12.706, 4.303, 3.182, 2.776, 2.571)


Z = 1.959964


def t_quantile(freedom: float) -> float:
    """97.5% point of Student's t (Cornish-Fisher expansion; error below 0.002 from 6 on)."""
    if freedom < len(_T_SMALL) + 1:
        return _T_SMALL[int(freedom) - 1]
    z, v = Z, freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """q-values of the same shape (Benjamini & Hochberg 1995); NaN stays NaN and does not count."""
    p = np.asarray(p, float)
    q = np.full(p.shape, np.nan)
    there = ~np.isnan(p)
    flat = p[there]
    order = np.argsort(flat)
    stepped = flat[order] * len(flat) / np.arange(1, len(flat) + 1)
    result = np.empty(len(flat))
    result[order] = np.minimum(1, np.minimum.accumulate(stepped[::-1])[::-1])
    q[there] = result
    return q


def two_sided(value: np.ndarray, error: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """p of values with standard errors of so many degrees of freedom (inf: known).

    Student's t by way of the normal distribution (Wallace 1959), a little too large for few
    degrees: 0.030 for 0.027 at two of them, 0.0106 for 0.0103 at five.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(value == 0, 0 * error, np.abs(value) / error)
        z = np.sqrt(freedom * np.log1p(t**2 / freedom)) * (8 * freedom + 1) / (8 * freedom + 3)
    z = np.where(np.isinf(freedom) | np.isinf(t), t, z)
    return np.array([math.erfc(x / math.sqrt(2)) for x in z])
