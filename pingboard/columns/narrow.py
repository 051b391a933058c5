"""Columns of integers in as few bytes as hold them.

Without it, the board and matrix of ten million samples take more than a sixth of the peer's memory
(bench/scale.py): 24 bytes a sample in memory instead of 12.

Of a column that is ranked, the values themselves. Of one whose values are large but close to each
other, such as times, how far each is from the least.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.integer[Any]]
"""(n,) integers of any width: arithmetic has to widen them first, or it wraps around."""

Integers = NDArray[np.int64]

_NOTHING: Column = np.empty(0, np.uint8)
_WIDTHS = [
    (int(np.iinfo(one).min), int(np.iinfo(one).max), np.dtype(one))
    for one in (np.uint8, np.uint16, np.int32, np.int64)
]


def narrow(values: Column, more: int = 0) -> Column:
    """(n,) values, each `more` larger, in as few bytes as hold all of them; a copy."""
    if not len(values):
        return _NOTHING
    # The reductions themselves: the methods take twice as long for an hour's samples.
    most = int(np.maximum.reduce(values)) + more
    least = more + (0 if values.dtype.kind == "u" else int(np.minimum.reduce(values)))
    dtype = next(one for lowest, highest, one in _WIDTHS if lowest <= least and most <= highest)
    # What does not fit in between wraps around, and back.
    narrowed: Column = np.add(values, np.int64(more), dtype=dtype, casting="unsafe")
    return narrowed


def unsigned(column: Column) -> NDArray[np.unsignedinteger[Any]]:
    """The same bits: what is not negative is as it is, and all else is larger than that."""
    return column.view(f"u{column.itemsize}")


@dataclass(frozen=True, slots=True, eq=False)
class Offsets:
    """(n,) integers as a base and how far each is from it, in as few bytes as hold that."""

    base: int
    low: Column

    @classmethod
    def of(cls, values: Column) -> Offsets:
        """Of (n,) integers."""
        base = int(values.min()) if len(values) else 0
        return cls(base, narrow(values, -base))

    def __len__(self) -> int:
        return len(self.low)

    def __getitem__(self, chosen: Any) -> Offsets:
        """Those that a slice, a mask or an array of positions takes."""
        return Offsets(self.base, self.low[chosen])

    def wide(self) -> Integers:
        """The values themselves."""
        return self.low.astype(np.int64) + self.base

    def tolist(self) -> list[int]:
        """The values themselves."""
        values: list[int] = self.wide().tolist()
        return values

    def is_within(self, start: int, end: int) -> bool:
        """Whether all are in [start, end); they have to be in order."""
        low = self.low
        return not len(low) or (start <= self.base + int(low[0]) and self.base + int(low[-1]) < end)

    def slice(self, start: int, end: int) -> slice:
        """Where those in [start, end) are; they have to be in order."""
        first, after = np.searchsorted(self.low, (start - self.base, end - self.base))
        return slice(first, after)


_MIN_GATHERED = 1 << 15


def gather(parts: Iterable[tuple[Column, ...]]) -> Iterator[tuple[Column, ...]]:
    """The same columns in fewer parts: each operation on a short one takes longer to begin."""
    gathered: list[tuple[Column, ...]] = []
    length = 0
    for one in parts:
        gathered.append(one)
        length += len(one[0])
        if length >= _MIN_GATHERED:
            yield _put_together(gathered)
            gathered, length = [], 0
    if gathered:
        yield _put_together(gathered)


def _put_together(parts: Sequence[tuple[Column, ...]]) -> tuple[Column, ...]:
    if len(parts) == 1:
        return parts[0]
    return tuple(map(np.concatenate, zip(*parts, strict=True)))


def join(columns: Sequence[Any]) -> Any:
    """Several columns of one kind, `Column` or `Offsets`, as one, as wide as the widest."""
    if isinstance(columns[0], Offsets):
        return Offsets.of(np.concatenate([one.wide() for one in columns]))
    return np.concatenate(columns)
