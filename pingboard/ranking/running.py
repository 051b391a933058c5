"""Standings that follow their samples: one more or one less costs microseconds, not a sort.

Each homeserver's latencies are kept in order, and the homeservers too; a change moves one number
in one of these arrays and one row in the order. What is read from them is what `standings.rank`
computes, to the last digit; it makes them in the first place.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import NamedTuple

from pingboard.model import Standing
from pingboard.ranking.intervals import find_low_position
from pingboard.ranking.standings import Part, sort_runs

Key = tuple[int, int, str, int]
"""Twice the median, the count negative, name and row ID: in the order of ranks."""

MOST_KEPT = 16
"""Answers, of questions that differ."""


class _Answer(NamedTuple):
    """What was asked for, as long as nothing changes before its end."""

    end: int
    """of the order, as far as it was read"""
    rows: list[Standing]


class Ranking:
    """The samples of one board and window as they are now, and their standings.

    Its memory is four bytes a sample.
    """

    def __init__(self, parts: Sequence[Part], names: Sequence[str]) -> None:
        """As `standings.rank_parts`."""
        self.samples = sum(len(ms) for _, ms in parts)
        """how many there are in all"""
        self._names: Sequence[str] = ()
        self._servers: dict[str, int] = {}
        self.rename(names)
        self._runs: dict[int, array[int]] = {}
        self._sums: dict[int, int] = {}
        self._keys: dict[int, Key] = {}
        self._rows: dict[int, Standing] = {}
        """as they were last read"""
        self._order: list[Key] = []
        self._changed: set[int] = set()
        self._answers: dict[tuple[int, int | None], _Answer] = {}
        for server, run, total in sort_runs(parts, names):
            self._runs[server] = array("i", run.tobytes())
            self._sums[server] = total
            self._changed.add(server)

    def rename(self, names: Sequence[str]) -> None:
        """Take more names; those that there were stay."""
        self._names = names
        self._servers = {name: server for server, name in enumerate(names)}

    def find(self, name: str) -> int:
        """The row ID of a homeserver."""
        return self._servers[name]

    def add(self, server: int, ms: int) -> None:
        """One sample more."""
        run = self._runs.get(server)
        if run is None:
            run = self._runs[server] = array("i")
            self._sums[server] = 0
        insort(run, ms)
        self._sums[server] += ms
        self.samples += 1
        self._changed.add(server)

    def remove(self, server: int, ms: int) -> None:
        """One sample less; KeyError where there is no such one."""
        run = self._runs[server]
        position = bisect_left(run, ms)
        if position == len(run) or run[position] != ms:
            raise KeyError((server, ms))
        del run[position]
        self._sums[server] -= ms
        self.samples -= 1
        self._changed.add(server)

    def standings(self, *, min_samples: int = 1, limit: int | None = None) -> list[Standing]:
        """What `standings.rank` gives for the same samples: the same list, as long as it is so."""
        self._settle()
        answer = self._answers.get((min_samples, limit))
        if answer is None:
            if len(self._answers) >= MOST_KEPT:
                self._answers.clear()
            answer = self._answers[min_samples, limit] = self._answer(min_samples, limit)
        return answer.rows

    def _answer(self, min_samples: int, limit: int | None) -> _Answer:
        found: list[Standing] = []
        before: tuple[float, float] | None = None
        for position, (_, fewer, name, server) in enumerate(self._order):
            if -fewer < min_samples:
                continue
            if len(found) == limit:
                return _Answer(position, found)
            row = self._rows.get(server) or self._read(server, name)
            ci95 = row.ci95_ms
            tied = bool(ci95 and before and ci95[0] <= before[1] and before[0] <= ci95[1])
            rank = len(found) + 1
            if rank != row.rank or tied != row.tied_with_previous:
                row = self._rows[server] = row._replace(rank=rank, tied_with_previous=tied)
            found.append(row)
            before = ci95
        return _Answer(sys.maxsize, found)

    def _settle(self) -> None:
        """Put the homeservers that changed where they belong now."""
        if not self._changed:
            return
        added = []
        first = len(self._order)
        for server in self._changed:
            self._rows.pop(server, None)
            key = self._keys.pop(server, None)
            if key is not None:
                position = bisect_left(self._order, key)
                del self._order[position]
                first = min(first, position)
            run = self._runs[server]
            if not run:
                del self._runs[server], self._sums[server]
                continue
            twice = run[(len(run) - 1) // 2] + run[len(run) // 2]
            key = self._keys[server] = (twice, -len(run), self._names[server], server)
            added.append(key)
        if len(added) > len(self._order):
            self._order = sorted(self._order + added)
            first = 0
        else:
            for key in added:
                position = bisect_left(self._order, key)
                self._order.insert(position, key)
                first = min(first, position)
        self._changed.clear()
        for asked in [asked for asked, answer in self._answers.items() if answer.end > first]:
            del self._answers[asked]

    def _read(self, server: int, name: str) -> Standing:
        """A row; its rank, and whether it is tied, are not known yet."""
        run, total = self._runs[server], self._sums[server]
        count = len(run)
        low = find_low_position(count)
        ci95 = None if low < 0 else (float(run[low]), float(run[count - 1 - low]))
        median, *band = (_percentile(run, percent) for percent in (50, 5, 25, 75, 95))
        p5, p25, p75, p95 = band
        row = Standing(0, name, median, total / count, p5, p25, p75, p95, count, ci95)
        self._rows[server] = row
        return row


def _percentile(run: array[int], percent: int) -> float:
    """Linear between ranks; in integers up to the division, which rounds once."""
    below, weight = divmod((len(run) - 1) * percent, 100)
    if not weight:
        return float(run[below])
    return (run[below] * (100 - weight) + run[below + 1] * weight) / 100
