"""Columns of integers as few bytes.

A packed column is a header (least value, count, bytes a value) and the values less the least, each
in as few bytes as they need. A column of which few are large, such as steps, is better packed in
two: a byte for each value, and the large ones in a column of their own.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

_HEADER = struct.Struct("<qIB")
_BYTES = (1, 2, 4, 8)
_STORED: dict[int, np.dtype[Any]] = {
    1: np.dtype("<u1"),
    2: np.dtype("<u2"),
    4: np.dtype("<u4"),
    8: np.dtype("<i8"),
}
_LARGE = 255


def pack_column(column: NDArray[Any]) -> bytes:
    """(n,) integers as bytes."""
    values = column.astype(np.int64)
    least, most = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    size = next(size for size in _BYTES if size == 8 or most - least < 1 << (8 * size))
    if size == 8:
        least = 0
    return _HEADER.pack(least, len(values), size) + (values - least).astype(f"<i{size}").tobytes()


def read_columns(
    packed: bytes, count: int, position: int = 0, chosen: Collection[int] | None = None
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Of `count` columns that lie one after the other from a position on, or of the `chosen` ones:
    the least value, and how much more each value is, as it is stored."""
    for number in range(count):
        least, length, size = _HEADER.unpack_from(packed, position)
        position += _HEADER.size
        if chosen is None or number in chosen:
            yield least, np.frombuffer(packed, _STORED[size], length, position)
        position += length * size


def unpack_columns(
    packed: bytes, empty: Sequence[NDArray[Any]], chosen: Collection[int] | None = None
) -> Iterator[NDArray[Any]]:
    """The columns that lie one after the other; only the `chosen` ones.

    `empty` tells of each what it is without values, and so its type.
    """
    wanted = range(len(empty)) if chosen is None else sorted(chosen)
    for number, (least, stored) in zip(
        wanted, read_columns(packed, len(empty), chosen=chosen), strict=True
    ):
        column = stored.astype(empty[number].dtype)
        column += least
        yield column


def pack_small(column: NDArray[np.int64], most: int = _LARGE) -> bytes:
    """(n,) integers from 0 on, most of them below `most`, as bytes: two columns."""
    small = np.minimum(column, most)
    return pack_column(small) + pack_column(column[small == most])


def unpack_small(parts: Iterator[NDArray[np.int64]], most: int = _LARGE) -> NDArray[np.int64]:
    """What `pack_small` packed, from its two unpacked columns."""
    small, large = next(parts), next(parts)
    small[small == most] = large
    return small


def pack_steps(column: NDArray[np.int64]) -> bytes:
    """(n,) integers, most of them close to the one before, as bytes: two columns."""
    return pack_small(zigzag(np.diff(column, prepend=0)))


def unpack_steps(parts: Iterator[NDArray[np.int64]]) -> NDArray[np.int64]:
    """What `pack_steps` packed, from its two unpacked columns."""
    return np.cumsum(unzigzag(unpack_small(parts)))


def zigzag(column: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, -1, 1, -2, ... as 0, 1, 2, 3, ...: what is near zero is small, and nothing negative."""
    return (column << 1) ^ (column >> 63)


def unzigzag(column: NDArray[np.int64]) -> NDArray[np.int64]:
    """The other way."""
    return (column >> 1) ^ -(column & 1)
