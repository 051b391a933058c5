"""Sorts the keys of many samples, which is most of what ranking takes."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    from numpy.typing import NDArray

LEAST_SHARED = 1 << 17
"""Fewer are sorted by one thread: handing some over takes as long as sorting thousands."""


def sort(keys: NDArray[np.unsignedinteger[Any]]) -> None:
    """Sort (n,) keys in place; with a second thread where there is a processor for it.

    numpy lets other threads run while it sorts. To part the keys into a smaller and a larger half
    takes a twelfth of sorting them.
    """
    if len(keys) < LEAST_SHARED or _count_processors() < 2:
        keys.sort()
        return
    middle = len(keys) // 2
    keys.partition(middle)
    smaller, larger = keys[:middle], keys[middle:]
    handed_over = _other_thread().submit(smaller.sort)
    larger.sort()
    # It may be sorting for somebody else, or have had no processor yet: then nobody waits for it.
    if handed_over.cancel():
        smaller.sort()
    else:
        handed_over.result()


@cache
def _other_thread() -> ThreadPoolExecutor:
    # Imported late: a command that ranks few samples starts without it.
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(1, thread_name_prefix="pingboard-sort")


@cache
def _count_processors() -> int:
    """Those that this process may use; where the system does not say which, all there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
