"""Work that nobody waits for any more: who asked has left, or the process ends.

A thread can't be cancelled, so long work asks between its parts whether to go on. Whoever starts
it says when not (`abandoned_when`); it holds for the threads and tasks that are started below.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar


class AbandonedError(Exception):
    """Raised in work that nobody waits for; its caller expects it."""


_is_abandoned: ContextVar[Callable[[], bool] | None] = ContextVar("is_abandoned", default=None)


@contextlib.contextmanager
def abandoned_when(is_abandoned: Callable[[], bool]) -> Iterator[None]:
    """Let what runs below ask this."""
    token = _is_abandoned.set(is_abandoned)
    try:
        yield
    finally:
        _is_abandoned.reset(token)


def raise_if_abandoned() -> None:
    """Raise AbandonedError where nobody waits for the work; call it between parts of long work."""
    is_abandoned = _is_abandoned.get()
    if is_abandoned is not None and is_abandoned():
        raise AbandonedError
