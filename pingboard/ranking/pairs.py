"""The ping x pong matrix: columns of samples -> median and count of each pair that has any.

One sort, as in `rank`: a sample becomes one key, its pair in the high bits and its latency in
the low ones, so that each pair's latencies lie in order in one run. Empty pairs cost nothing: of
the square of all servers most are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pingboard.sample_blocks import Column, Integers, Unsigned, unsigned

_BIAS = 1 << 31
"""Added to a latency in eight bytes, so that a negative one sorts before a positive one."""

_MIN_MS_BITS = 12
"""For a latency in four bytes: with fewer, most would not fit."""

_CHUNK = 1 << 20

PairLatencies = tuple[Column, Column, Column]
"""Ping servers, pong servers and latencies of some samples."""


class Pair(NamedTuple):
    """All samples of one ping server and one pong server."""

    ping_server: str
    pong_server: str
    median_ms: float
    samples: int


@dataclass(frozen=True, slots=True)
class Pairs:
    """The pairs that have samples, by the names of ping and pong server; all columns (p,).

    Columns, because there are tens of thousands, and an object for each would take longer than
    sorting all samples.
    """

    names: Sequence[str]
    ping: Integers
    pong: Integers
    """indices into `names`"""
    median_ms: NDArray[np.float64]
    samples: Integers

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Pair]:
        names = self.names
        of_ping = [names[code] for code in self.ping.tolist()]
        of_pong = [names[code] for code in self.pong.tolist()]
        return map(Pair, of_ping, of_pong, self.median_ms.tolist(), self.samples.tolist())

    def select(
        self, *, ping_server: str | None, pong_server: str | None, min_samples: int
    ) -> Pairs:
        """Those of these servers, where one is named, with no fewer samples."""
        is_chosen = self.samples >= min_samples
        for name, column in ((ping_server, self.ping), (pong_server, self.pong)):
            if name is not None:
                is_chosen &= column == (self.names.index(name) if name in self.names else -1)
        return self._take(is_chosen)

    def cut(self, first: int, after: int) -> Pairs:
        """Those from one place until before another."""
        return self._take(slice(first, after))

    def place_after(self, ping_server: str, pong_server: str) -> int:
        """Where the pairs behind one begin, also if that is not there."""

        def name(place: int) -> tuple[str, str]:
            return self.names[self.ping[place]], self.names[self.pong[place]]

        return bisect_right(range(len(self)), (ping_server, pong_server), key=name)

    def count_samples(self) -> tuple[dict[str, int], dict[str, int]]:
        """The samples of each ping server and of each pong server."""
        of_ping, of_pong = (self._count(column) for column in (self.ping, self.pong))
        return of_ping, of_pong

    def _count(self, servers: Integers) -> dict[str, int]:
        totals = np.zeros(len(self.names), np.int64)
        np.add.at(totals, servers, self.samples)
        present = np.flatnonzero(totals)
        names = [self.names[server] for server in present.tolist()]
        return dict(zip(names, totals[present].tolist(), strict=True))

    def _take(self, places: NDArray[np.bool_] | slice) -> Pairs:
        ping, pong = self.ping[places], self.pong[places]
        return Pairs(self.names, ping, pong, self.median_ms[places], self.samples[places])


class Runs(NamedTuple):
    """The groups of samples that there are, in order; all (g,)."""

    groups: Integers
    """of pairs: ping server x width + pong server"""
    counts: Integers
    median_x2_ms: Integers


def pair(parts: Sequence[PairLatencies], names: Sequence[str]) -> Pairs:
    """Median and count of each pair of the samples.

    They may lie in several triples of columns, which are not joined. Servers (n,) are indices into
    `names`, latencies (n,) are in ms, and may be negative; all are unsigned, or int32, and none is
    changed. The median of an even count is the mean of the middle two, as everywhere.
    """
    parts = [part for part in parts if len(part[2])]
    if not parts:
        nothing = np.empty(0, np.int64)
        return Pairs(names, nothing, nothing, nothing.astype(np.float64), nothing)
    present: Integers | None = None
    width, pair_bits = _count_bits(parts)
    if pair_bits > 32 - _MIN_MS_BITS:
        # Row IDs may have gaps; renumbered, any two servers fit.
        parts, present = _compact(parts, len(names))
        width, pair_bits = _count_bits(parts)
    bits = 32 - pair_bits
    if bits >= _MIN_MS_BITS and all(ms.dtype.kind == "u" or ms.min() >= 0 for _, _, ms in parts):
        runs = _sort_narrow(parts, width, bits)
    else:
        runs = _sort_wide(parts, width)
    ping, pong = np.divmod(runs.groups, width)
    if present is not None:
        ping, pong = present[ping], present[pong]
    order = _order(ping, pong, names)
    medians = runs.median_x2_ms[order] / 2
    return Pairs(names, ping[order], pong[order], medians, runs.counts[order])


def _count_bits(parts: Sequence[PairLatencies]) -> tuple[int, int]:
    """How many numbers a pong server can have, and how many bits the number of a pair takes."""
    height = max(int(ping_servers.max()) for ping_servers, _, _ in parts) + 1
    width = max(int(pong_servers.max()) for _, pong_servers, _ in parts) + 1
    return width, (height * width - 1).bit_length()


def _compact(parts: Sequence[PairLatencies], names: int) -> tuple[list[PairLatencies], Integers]:
    """The servers renumbered from 0 without gaps, and which each number was."""
    is_present = np.zeros(names, np.bool_)
    for ping_servers, pong_servers, _ in parts:
        is_present[ping_servers] = True
        is_present[pong_servers] = True
    numbers: Column = np.cumsum(is_present, dtype=np.int32) - np.int32(1)
    renumbered: list[PairLatencies] = [
        (numbers[ping], numbers[pong], ms) for ping, pong, ms in parts
    ]
    return renumbered, np.flatnonzero(is_present)


def _sort_narrow(parts: Sequence[PairLatencies], width: int, bits: int) -> Runs:
    """With keys of four bytes, which sort twice as fast as eight.

    A latency that does not fit into its bits is cut to the largest that does. That is behind all
    others of its pair, where it does not matter unless the median falls there; then that pair is
    counted again, in eight bytes.
    """
    top = (1 << bits) - 1
    keys = np.empty(sum(len(ms) for _, _, ms in parts), np.uint32)
    first = 0
    for ping_servers, pong_servers, ms in parts:
        part = keys[first : first + len(ms)]
        np.multiply(unsigned(ping_servers), np.uint32(width), out=part)
        part += unsigned(pong_servers)
        part <<= np.uint32(bits)
        low = unsigned(ms)
        part |= low if np.iinfo(low.dtype).max <= top else np.minimum(low, np.uint32(top))
        first += len(ms)
    keys.sort()
    runs, high = _read(keys, bits, 0)
    cut = runs.groups[high == top]
    if not len(cut):
        return runs
    exact = _sort_wide([_take(part, cut, width) for part in parts], width)
    runs.median_x2_ms[np.searchsorted(runs.groups, exact.groups)] = exact.median_x2_ms
    return runs


def _take(part: PairLatencies, pairs: Integers, width: int) -> PairLatencies:
    """The samples of these pairs."""
    ping_servers, pong_servers, ms = part
    is_taken = np.isin(ping_servers.astype(np.int64) * width + pong_servers, pairs)
    return ping_servers[is_taken], pong_servers[is_taken], ms[is_taken]


def _sort_wide(parts: Sequence[PairLatencies], width: int) -> Runs:
    """With keys of eight bytes, which hold any two servers and any latency."""
    keys = np.concatenate([ping_servers.astype(np.uint64) for ping_servers, _, _ in parts])
    keys *= np.uint64(width)
    keys += np.concatenate([unsigned(pong_servers) for _, pong_servers, _ in parts])
    ms = np.concatenate([ms.astype(np.int32) for _, _, ms in parts])
    if int(keys.max()) >> 32:
        # Of more than 65,536 servers: the pairs that there are get numbers, which do fit.
        present, numbers = np.unique(keys, return_inverse=True)
        runs = find_medians(numbers.astype(np.uint64), ms)
        return runs._replace(groups=present[runs.groups].astype(np.int64))
    return find_medians(keys, ms)


def find_medians(groups: NDArray[np.uint64], ms: NDArray[np.int32]) -> Runs:
    """Return the median of each group; both (n,), not empty, and a group is below 2**32."""
    keys = groups << np.uint64(32)
    keys |= unsigned(ms) ^ np.uint32(_BIAS)
    keys.sort()
    return _read(keys, 32, _BIAS)[0]


def _read(keys: Unsigned, bits: int, bias: int) -> tuple[Runs, Integers]:
    """The runs of sorted keys, and of each the upper one of the middle two latencies."""
    starts = _find_starts(keys, bits)
    counts = np.diff(starts, append=len(keys))
    mask = keys.dtype.type((1 << bits) - 1)
    low = (keys[starts + (counts - 1) // 2] & mask).astype(np.int64) - bias
    high = (keys[starts + counts // 2] & mask).astype(np.int64) - bias
    pairs = (keys[starts] >> keys.dtype.type(bits)).astype(np.int64)
    return Runs(pairs, counts, low + high), high


def _find_starts(keys: Unsigned, bits: int) -> Integers:
    """Find where each pair begins, a million keys at a time: it needs no second column of all."""
    starts = [np.zeros(1, np.int64)]
    for first in range(0, len(keys), _CHUNK):
        pairs = keys[first : first + _CHUNK + 1] >> keys.dtype.type(bits)
        starts.append(np.flatnonzero(pairs[1:] != pairs[:-1]) + first + 1)
    return np.concatenate(starts)


def _order(ping: Integers, pong: Integers, names: Sequence[str]) -> NDArray[np.intp]:
    """The pairs by the names of ping and pong server."""
    place = np.zeros(len(names), np.int64)
    place[ping] = place[pong] = 1
    present = np.flatnonzero(place).tolist()
    place[sorted(present, key=names.__getitem__)] = np.arange(len(present))
    return np.argsort(place[ping] * len(present) + place[pong])
