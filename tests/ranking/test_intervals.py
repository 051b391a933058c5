"""The positions of the median's interval against the binomial distribution itself."""

from __future__ import annotations

from decimal import Decimal, localcontext
from math import comb

import numpy as np

from pingboard.ranking.intervals import (
    MIN_SAMPLES,
    expand,
    find_low_positions,
)

_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494")


def test_every_count_up_to_3000_has_the_position_of_the_exact_binomial() -> None:
    """With T(n, k) the number of ways to have fewer than k heads in n tosses: T(n, k) =
    2 T(n - 1, k) - C(n - 1, k - 1), and k never falls as n grows."""
    expected = []
    k, ways = 0, 0
    for n in range(1, 3001):
        ways = 2 * ways - (comb(n - 1, k - 1) if k else 0)
        while 40 * (ways + comb(n, k)) <= 2**n:
            ways += comb(n, k)
            k += 1
        expected.append(k - 1)
    assert find_low_positions(np.arange(1, 3001)).tolist() == expected


def test_fewer_than_six_samples_have_no_interval() -> None:
    assert find_low_positions(np.arange(MIN_SAMPLES + 1)).tolist() == [-1] * 6 + [0]
    assert find_low_positions(np.array([], np.int64)).tolist() == []


def test_counts_whose_expansion_comes_near_an_integer_are_exact_up_to_10_million() -> None:
    """Only there can the expansion's error matter. It falls as n**-1.5; 500 times it is near."""
    counts = np.arange(3001, 10_000_000)
    expanded = expand(counts)
    near = counts[np.abs(expanded - np.rint(expanded)) < 1000 * counts**-1.5]
    assert len(near) > 30
    for n, position in zip(near.tolist(), find_low_positions(near).tolist(), strict=True):
        k = position + 1
        limit = Decimal("0.025")
        assert probability_below(k, n) <= limit < probability_below(k + 1, n)


def probability_below(k: int, n: int) -> Decimal:
    """P(B < k) to some 25 digits: the largest term by Stirling's series, the others by ratio."""
    with localcontext() as context:
        context.prec = 45
        ln_ways = ln_factorial(n) - ln_factorial(k - 1) - ln_factorial(n - k + 1)
        term = (ln_ways - n * Decimal(2).ln()).exp()
        total = Decimal(0)
        for i in range(k - 1, -1, -1):
            total += term
            term *= Decimal(i) / (n - i + 1)
            if term < Decimal("1e-30"):
                break
        return total


def ln_factorial(n: int) -> Decimal:
    x = Decimal(n + 1)
    series = 1 / (12 * x) - 1 / (360 * x**3) + 1 / (1260 * x**5) - 1 / (1680 * x**7)
    return (x - Decimal("0.5")) * x.ln() - x + (2 * _PI).ln() / 2 + series
