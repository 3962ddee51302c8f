"""Amplified culture prompting: go on in the direction that naming a country moved an answer.

On the logarithms of the options' probabilities, country + α (country - plain), separately for each
order of the options; then the orders are averaged. After context-aware decoding (Shi et al. 2023).
"""

from __future__ import annotations

import numpy as np

from core.analysis.cross_fitting import best, over_orders
from core.metrics.distances import earth_mover
from core.metrics.panel import Layout

# Strengths to choose from. 0 leaves the answer as it was given as a person of the country.
ALPHAS = np.arange(0, 5.01, 0.25)
# Less than this counts as this, so that what one prompt rules out can still be compared.
LEAST = 1e-9


def amplify(
    country: np.ndarray,
    plain: np.ndarray,
    alpha: float | np.ndarray,
    valid: np.ndarray | bool = True,
) -> np.ndarray:
    """float64[..., K]: distributions that sum to 1. NaN where either side is.

    country, plain: distributions over options, [..., K]. alpha: broadcast over them. valid: which
    options there are; the others stay 0.
    """
    log_country, log_plain = (np.log(np.maximum(side, LEAST)) for side in (country, plain))
    logits = np.where(valid, log_country + alpha * (log_country - log_plain), -np.inf)
    spread = np.exp(logits - logits.max(-1, keepdims=True))
    return spread / spread.sum(-1, keepdims=True)


def fit(
    country: np.ndarray, plain: np.ndarray, people: np.ndarray, lay: Layout, folds: np.ndarray
) -> np.ndarray:
    """float64[F]: for each fold the α of ALPHAS whose answers lie nearest to people's elsewhere.

    country: float64[C, I, O, K], a distribution for each country, item and option order; plain: the
    same, or one country for all. people: float64[C, I, K]. folds: int[I]. Distance along the scale
    (metrics.earth_mover) between people's shares and the average over orders, over all countries
    and the items of the other folds.
    """
    valid = lay.valid[:, None]
    losses = np.array(
        [
            earth_mover(lay, people, over_orders(amplify(country, plain, alpha, valid)))
            for alpha in ALPHAS
        ]
    )
    return np.array([ALPHAS[best(losses, folds != fold, 0)] for fold in range(folds.max() + 1)])
