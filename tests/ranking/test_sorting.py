"""Sorting keys with a second thread: whatever they are, in order."""

from __future__ import annotations

from threading import Event

import numpy as np
import pytest

from pingboard.ranking import sorting
from pingboard.ranking.sorting import LEAST_SHARED, sort

RNG = np.random.default_rng(5)
MANY = 2 * LEAST_SHARED + 1


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
@pytest.mark.parametrize(
    "keys",
    [
        RNG.integers(0, 2**32, MANY),
        RNG.integers(0, 3, MANY),
        np.zeros(MANY),
        np.arange(MANY),
        np.arange(MANY)[::-1],
        RNG.integers(0, 2**32, LEAST_SHARED - 1),
        np.empty(0),
    ],
    ids=["any", "few different", "all the same", "in order", "backwards", "not many", "none"],
)
def test_keys_are_put_in_order(
    monkeypatch: pytest.MonkeyPatch, keys: np.ndarray, dtype: type[np.unsignedinteger]
) -> None:
    monkeypatch.setattr(sorting, "_count_processors", lambda: 2)
    expected = sorted(keys.tolist())
    given = keys.astype(dtype)
    sort(given)
    assert given.tolist() == expected


def test_nobody_waits_for_a_thread_that_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "_count_processors", lambda: 2)
    keys = RNG.integers(0, 2**32, MANY).astype(np.uint32)
    done = Event()
    sorting._other_thread().submit(done.wait)
    try:
        expected = sorted(keys.tolist())
        sort(keys)
        assert keys.tolist() == expected
    finally:
        done.set()
