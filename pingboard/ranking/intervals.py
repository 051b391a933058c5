"""Counts of samples -> where in order the 95 % interval of their median lies.

The interval is distribution-free: from the k-th smallest to the k-th largest of n latencies, with
the largest k for which it holds the median with a probability of at least 95 %. That is the
largest k with P(B < k) <= 2.5 %, B binomial of n tosses of a fair coin (David and Nagaraja, Order
Statistics, 2003, section 7.1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_SAMPLES = 6
"""Of five, even the smallest and the largest hold the median between them with 93.75 % only."""

# Summing the binomial for each server would take longer than sorting the samples. But P(B < k) is
# Q(k - 1/2) for a smooth Q whose cumulants are known, the binomial's less those of rounding
# (Sheppard's corrections), and the Cornish-Fisher expansion of its quantile errs by less than
# 2 * n**-1.5 (Abramowitz and Stegun, 26.2.49; the skewness is 0). So its integer part is the exact
# k unless it comes that close to an integer from the wrong side: for no n up to 10**8 does it.
_Z = 1.9599639845400538  # the 97.5 % quantile of the normal distribution
_KURTOSIS_TERM = (_Z**3 - 3 * _Z) / 24


def find_low_positions(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """(s,) positions, from 0, of the interval's low end among each count's sorted samples.

    The high end is as far from the other end: at `count - 1 - position`. -1 where there are fewer
    than `MIN_SAMPLES`. Exact for counts up to 10**8.
    """
    k = expand(np.maximum(counts, MIN_SAMPLES)).astype(np.int64)
    return np.where(counts < MIN_SAMPLES, -1, k - 1)


def expand(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The expansion itself: (s,) real numbers, whose integer part is k."""
    variance = counts / 4 - 1 / 12
    kurtosis = (1 / 120 - counts / 8) / variance**2
    quantile: NDArray[np.float64] = np.sqrt(variance) * (_Z + _KURTOSIS_TERM * kurtosis)
    return 0.5 + counts / 2 - quantile
