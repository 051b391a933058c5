"""How often each latency of each server was: what a month's millions of samples come down to.

As exact as the samples themselves for whatever depends on their order alone, which is all that a
board shows, and months add up: a year is twelve of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pingboard.columns.narrow import Column, Integers

MS_BITS = 32
_DENSE_CELLS = 1 << 23
DENSE_BITS = 13
"""Latencies below 8 s, nearly all, are added up in an array with a cell for each: no sort."""

_WORTH = 3000
"""Latencies of one server; each takes some 2 bytes as key and count."""


class Counted(NamedTuple):
    """Each latency of each server that there was, and how often; both (n,)."""

    keys: Integers
    """server << MS_BITS | ms, ascending, each once; no latency is negative"""
    counts: Integers


class Dense(NamedTuple):
    """Servers with so many different latencies that a cell for each is smaller, and faster."""

    servers: Integers
    """(s,)"""
    cells: NDArray[np.uint8]
    """(s, 1 << DENSE_BITS): how often each latency was, up to 255"""


NOTHING = Counted(np.empty(0, np.int64), np.empty(0, np.int64))


def build_keys(servers: Column, ms: Column) -> Integers:
    """The key of each sample."""
    keys: Integers = (servers.astype(np.int64) << MS_BITS) | ms
    return keys


def split(counted: Counted) -> tuple[Counted, Dense]:
    """The same in two parts, which together take less room."""
    ms = counted.keys & ((1 << MS_BITS) - 1)
    short = np.flatnonzero(ms < 1 << DENSE_BITS)
    of_server = counted.keys[short] >> MS_BITS
    servers = np.flatnonzero(np.bincount(of_server) >= _WORTH)
    taken = short[np.isin(of_server, servers)]
    rows = np.searchsorted(servers, counted.keys[taken] >> MS_BITS)
    cells = np.zeros((len(servers), 1 << DENSE_BITS), np.uint8)
    cells[rows, ms[taken]] = np.minimum(counted.counts[taken], 255)
    left = counted.counts.copy()
    left[taken] -= cells[rows, ms[taken]]
    stays = left > 0
    return Counted(counted.keys[stays], left[stays]), Dense(servers, cells)


def add_up(
    parts: Sequence[Counted], servers: Column, ms: Column, dense: Sequence[Dense] = ()
) -> Counted:
    """All of the parts and, (n,) both, single samples."""
    parts = [one for one in parts if len(one.keys)]
    lasts = [int(one.keys[-1] >> MS_BITS) for one in parts]
    lasts += [int(one.servers.max(initial=-1)) for one in dense]
    last = max([*lasts, int(servers.max(initial=-1))])
    bits = DENSE_BITS
    while bits and (last + 1) << bits > _DENSE_CELLS:
        bits -= 1
    cells = np.zeros((last + 1) << bits, np.int64)
    rest: list[Counted] = []
    if bits == DENSE_BITS:
        rows = cells.reshape(-1, 1 << DENSE_BITS)
        for one in dense:
            for server, counts in zip(one.servers.tolist(), one.cells, strict=True):
                rows[server] += counts
    else:
        parts += map(_list, dense)
    for keys, counts in parts:
        is_dense = (keys & ((1 << MS_BITS) - 1)) < 1 << bits
        # Each key is there once, so the sum of the cells that it names is well-defined.
        cells[_to_cells(keys[is_dense], bits)] += counts[is_dense]
        rest.append(Counted(keys[~is_dense], counts[~is_dense]))
    is_dense = ms < 1 << bits
    single = (servers[is_dense].astype(np.int64) << bits) | ms[is_dense]
    cells += np.bincount(single, minlength=len(cells))
    slow = build_keys(servers[~is_dense], ms[~is_dense])
    rest.append(Counted(slow, np.ones(len(slow), np.int64)))
    return _join(_read_cells(cells, bits), _sort_out(rest))


def _list(dense: Dense) -> Counted:
    rows, ms = np.nonzero(dense.cells)
    keys = (dense.servers[rows] << MS_BITS) | ms
    return Counted(keys, dense.cells[rows, ms].astype(np.int64))


def _to_cells(keys: Integers, bits: int) -> Integers:
    cells: Integers = (keys >> MS_BITS << bits) | (keys & ((1 << bits) - 1))
    return cells


def _read_cells(cells: Integers, bits: int) -> Counted:
    found = np.flatnonzero(cells)
    return Counted((found >> bits << MS_BITS) | (found & ((1 << bits) - 1)), cells[found])


def _sort_out(parts: Sequence[Counted]) -> Counted:
    keys = np.concatenate([one.keys for one in parts])
    counts = np.concatenate([one.counts for one in parts])
    if not len(keys):
        return NOTHING
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    return Counted(keys[starts], np.add.reduceat(counts, starts))


def _join(one: Counted, other: Counted) -> Counted:
    """Two that have no key in common."""
    places = np.searchsorted(one.keys, other.keys)
    return Counted(
        np.insert(one.keys, places, other.keys), np.insert(one.counts, places, other.counts)
    )
