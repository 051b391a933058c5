"""An hour's samples as bytes, and back.

Two parts. *Hot* is all that boards need: an hour loads about as fast as memory is copied. *Cold* is
what only single samples need: the pings' row IDs, provenance, and the hashes of the pongs' events.

Both are a checksum of all that follows, and columns, one after the other. A column is a
header (base, length, exceptions, bytes a value), the values less the base in as few bytes as most
of them need, and the few exceptions whole. Columns begin at multiples of eight bytes, so that they
are used where they lie.

Hot: the pings (ours first), then the samples in two groups, those whose claim a board takes and the
others, each by the time of the pong; then the pongs that have not come.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pingboard.model import ONE_WAY_MIN_MS, PONG_TIMEOUT_MS
from pingboard.sample_blocks import (
    EMPTY,
    NO_INTEGERS,
    NO_OFFSET,
    NO_TIMES,
    Answers,
    Ascending,
    Block,
    Claims,
    Column,
    Integers,
    Losses,
    Offsets,
    find_width,
    join,
    narrow,
    sort,
)


class DamagedError(ValueError):
    """The bytes, or the pings that belong to them, are not those that were packed."""


NONE = -1
"""Stands for a round trip, a send or an event hash that there is not."""


class Pings(NamedTuple):
    """Pings; all (p,)."""

    id: Integers
    """row ID"""
    server: Integers
    """row ID, as of all servers here"""
    seen_ts: Integers
    origin_server_ts: Integers
    sent_ts: Integers
    """or NONE"""
    is_ours: Integers
    """0 or 1"""


class HourSamples(NamedTuple):
    """Rows of the table `sample`; all (n,)."""

    ping: Integers
    """row ID, as in all tables"""
    pong_server: Integers
    one_way_ms: Integers
    round_trip_ms: Integers
    """or NONE"""
    delay_ms: Integers
    lag_ms: Integers
    provenance: Integers
    event_hash: Integers
    """or NONE"""


class Unanswered(NamedTuple):
    """Rows of the table `unanswered`; all (l,)."""

    ping: Integers
    pong_server: Integers


class Hour(NamedTuple):
    """All that is kept of one hour, in any order; `pings` are those of the others, once each."""

    pings: Pings
    samples: HourSamples
    unanswered: Unanswered


_EMPTY = np.empty(0, np.int64)
NO_ROWS = Hour(Pings(*[_EMPTY] * 6), HourSamples(*[_EMPTY] * 8), Unanswered(_EMPTY, _EMPTY))


class Packed(NamedTuple):
    """An hour as bytes."""

    hot: bytes
    cold: bytes


_COLUMN = struct.Struct("<qIHBx")
_CHECKSUM_BYTES = 8
_HEAD = struct.Struct("<qqqqq")
"""How many pings are ours, and when the first and the last pong of each part were seen; 0 for a
part without."""

_FORM = 2
"""Of these bytes; it is part of the checksum, so that what was packed in another is refused."""

_MISSING = 1 << 62
"""Packed where there is no number; larger than all others, so that it is an exception."""

_MAX_EXCEPTIONS = 1 << 15
_STORED: dict[int, np.dtype[Any]] = {
    1: np.dtype("<u1"),
    2: np.dtype("<u2"),
    4: np.dtype("<u4"),
    8: np.dtype("<i8"),
}


def find_seen_ts(hour: Hour) -> Integers:
    """Return when each pong was seen."""
    return hour.pings.seen_ts[_find_places(hour.pings, hour.samples.ping)] + hour.samples.delay_ms


def find_origin_ts(hour: Hour) -> Integers:
    """Return when each pong was sent, by its own server's clock."""
    return find_seen_ts(hour) - hour.samples.lag_ms


def pack_hour(hour: Hour) -> Packed:
    order = np.lexsort((hour.pings.id, 1 - hour.pings.is_ours))
    pings = Pings(*(column[order] for column in hour.pings))
    ours = int(pings.is_ours.sum())
    # Of NTP's offset, what a ping gives to all of its pongs: see `_read_answers`.
    clock_ms = 2 * pings.origin_server_ts - pings.sent_ts - pings.seen_ts
    clock_ms = np.where(pings.sent_ts == NONE, _MISSING, clock_ms)[:ours]
    place = _find_places(pings, hour.samples.ping)
    seen_ts = pings.seen_ts[place] + hour.samples.delay_ms
    one_way_ms = hour.samples.one_way_ms
    is_claim = (one_way_ms >= ONE_WAY_MIN_MS) & (one_way_ms <= PONG_TIMEOUT_MS)
    order = np.lexsort((hour.samples.pong_server, place, seen_ts, ~is_claim))
    samples = HourSamples(*(column[order] for column in hour.samples))
    place, seen_ts = place[order], seen_ts[order]
    claims = int(is_claim.sum())
    parts = (slice(0, claims), slice(claims, None))
    edges = [seen_ts[part][[0, -1]].tolist() if len(seen_ts[part]) else [0, 0] for part in parts]
    hot = [_HEAD.pack(ours, *edges[0], *edges[1])]
    hot += map(_pack_column, (pings.seen_ts, pings.server, clock_ms))
    for part in parts:
        of_part = HourSamples(*(column[part] for column in samples))
        if len(of_part.ping):
            hot += _pack_samples(pings, ours, of_part, place[part], seen_ts[part])
    hot += _pack_unanswered(pings, hour.unanswered)
    kinds, lengths = _find_runs(2 * samples.provenance + (samples.event_hash != NONE))
    hashes = samples.event_hash[samples.event_hash != NONE]
    cold = map(_pack_column, (pings.id, kinds, lengths, hashes & 0xFFFFFFFF, hashes >> 32))
    return Packed(_seal(hot), _seal(cold))


def unpack_block(hot: bytes) -> Block:
    """Read what boards need; what is of our own pings, once it is asked for."""
    reader = _open(hot, _HEAD.size)
    _, (edges, _) = _read_head(hot)
    reader.skip()
    ping_server = reader.column()
    reader.skip()
    if edges == _NO_EDGES:
        return Block(EMPTY.claims, partial(_read_own, hot))
    place, seen_ts = reader.column(), _read_times(reader, edges)
    # To take is twice as fast as to index.
    claims = Claims(seen_ts, ping_server.take(place), reader.column(), reader.column())
    return Block(claims, partial(_read_own, hot))


def _read_own(hot: bytes) -> tuple[Answers, Losses]:
    ours, both_edges = _read_head(hot)
    reader = _Reader(hot, _CHECKSUM_BYTES + _HEAD.size)
    ping_seen_ts = reader.offsets()
    reader.skip()
    clock_ms = reader.column()
    parts = [_read_samples(reader, edges) for edges in both_edges]
    losses, lost_server = reader.column(), reader.column()
    # Of a foreign ping, or one that is void, nobody's answer is missed.
    is_missed = losses < ours
    is_missed[is_missed] = clock_ms[losses[is_missed]] != _MISSING
    losses, lost_server = losses[is_missed], lost_server[is_missed]
    answers = [
        _read_answers(part, ours, ping_seen_ts, clock_ms)
        for part in parts
        if ours and len(part.place)
    ]
    return (
        sort(join(answers)) if len(answers) > 1 else (answers or [EMPTY.answers])[0],
        Losses(ping_seen_ts[losses], lost_server) if len(losses) else EMPTY.losses,
    )


def unpack_hour(packed: Packed, stored: Pings) -> Hour:
    """Read everything; `stored` are at least the pings of the hour, as their table has them."""
    reader, cold = _open(packed.hot, _HEAD.size), _open(packed.cold)
    ours, both_edges = _read_head(packed.hot)
    ids = cold.integers()
    if not np.isin(ids, stored.id).all():
        raise DamagedError("pings of it are missing")
    places = np.searchsorted(stored.id, ids, sorter=(order := np.argsort(stored.id)))
    pings = Pings(*(column[order[places]] for column in stored))
    reader.skip(3)
    parts = [_unpack_samples(_read_samples(reader, edges), ours, pings) for edges in both_edges]
    columns = [np.concatenate(of_parts) for of_parts in zip(*parts, strict=True)]
    kinds = np.repeat(cold.integers(), cold.integers())
    event_hash = np.full(len(kinds), NONE)
    event_hash[kinds & 1 == 1] = cold.integers() | cold.integers() << 32
    unanswered = Unanswered(ids[reader.column()], reader.integers())
    samples = HourSamples._make([*columns, kinds >> 1, event_hash])
    return Hour(pings, samples, unanswered)


def has_event_hashes(cold: bytes, hashes: Integers) -> NDArray[np.bool_]:
    """Tell which of (n,) hashes an event of the hour's pongs has."""
    reader = _open(cold)
    reader.skip(3)
    low, high = reader.offsets(), reader.offsets()
    # First by half of the hash, as it is stored: nearly no event has it.
    halves = ((hashes & 0xFFFFFFFF) - low.base).astype(low.low.dtype)
    places = np.flatnonzero(np.isin(low.low, halves))
    return np.isin(hashes, low[places].wide() | high[places].wide() << 32)


def read_last_seen_ts(hot: bytes) -> int | None:
    """Read when the last pong was seen, or None without any."""
    _open(hot, _HEAD.size)
    _, both_edges = _read_head(hot)
    return max(last_ts for _, last_ts in both_edges) or None


class _Part(NamedTuple):
    """Samples as they are packed; all (n,)."""

    place: Column
    """of the ping, among the pings"""
    seen_ts: Offsets
    pong_server: Column
    one_way_ms: Column
    held_ms: Offsets
    echo_ms: Offsets
    """(o,), of those whose ping is ours"""


def _pack_samples(
    pings: Pings, ours: int, samples: HourSamples, place: Integers, seen_ts: Integers
) -> Iterator[bytes]:
    # How long the pong server held the ping, by its own clock: small, whatever the clock says.
    held_ms = seen_ts - samples.lag_ms - pings.origin_server_ts[place] - samples.one_way_ms
    # From our send to when the ping came back to us: much the same for all pongs of a ping.
    echo_ms = samples.round_trip_ms - samples.delay_ms
    echo_ms = np.where(samples.round_trip_ms == NONE, _MISSING, echo_ms)[place < ours]
    yield _pack_column(place)
    yield _pack_column(np.diff(seen_ts))
    yield _pack_column(samples.pong_server)
    yield _pack_column(samples.one_way_ms)
    yield _pack_column(_zigzag(held_ms))
    yield _pack_column(echo_ms)


_Edges = tuple[int, int]
"""When the first and the last pong of a part were seen."""

_NO_EDGES = (0, 0)


def _read_head(hot: bytes) -> tuple[int, tuple[_Edges, _Edges]]:
    """Read how many pings are ours, and the edges of both parts."""
    ours, *edges = _HEAD.unpack_from(hot, _CHECKSUM_BYTES)
    return ours, ((edges[0], edges[1]), (edges[2], edges[3]))


def _read_samples(reader: _Reader, edges: _Edges) -> _Part:
    if edges == _NO_EDGES:
        return _NO_SAMPLES
    place, seen_ts = reader.column(), _read_times(reader, edges)
    return _Part(
        place, seen_ts, reader.column(), reader.column(), reader.offsets(), reader.offsets()
    )


def _read_times(reader: _Reader, edges: _Edges) -> Offsets:
    return Ascending(*edges, reader.defer())


def _read_answers(part: _Part, ours: int, ping_seen_ts: Offsets, clock_ms: Column) -> Answers:
    is_ours = np.flatnonzero(part.place < ours)
    place, seen_ts = part.place[is_ours], part.seen_ts[is_ours]
    pinged_ts = ping_seen_ts[place]
    delay_ms = seen_ts.wide() - pinged_ts.wide()
    echo_ms, clock_ms = part.echo_ms.wide(), clock_ms[place].astype(np.int64)
    round_trip_ms = np.where(echo_ms == _MISSING, NONE, delay_ms + echo_ms)
    # (b1 - s) + (b2 - r), with these as in ranking.clocks.
    offset_ms = clock_ms - delay_ms + _unzigzag(part.held_ms[is_ours].wide())
    offset_ms += 2 * part.one_way_ms[is_ours].astype(np.int64)
    offset_ms[clock_ms == _MISSING] = NO_OFFSET
    return Answers(
        pinged_ts, seen_ts, part.pong_server[is_ours], narrow(round_trip_ms), narrow(offset_ms)
    )


def _unpack_samples(part: _Part, ours: int, pings: Pings) -> list[Integers]:
    place = part.place
    one_way_ms, seen_ts = part.one_way_ms.astype(np.int64), part.seen_ts.wide()
    delay_ms = seen_ts - pings.seen_ts[place]
    sent_ts = pings.origin_server_ts[place] + one_way_ms + _unzigzag(part.held_ms.wide())
    round_trip_ms = np.full(len(place), NONE)
    echo_ms = part.echo_ms.wide()
    is_ours = place < ours
    round_trip_ms[is_ours] = np.where(echo_ms == _MISSING, NONE, delay_ms[is_ours] + echo_ms)
    ping, pong_server = pings.id[place], part.pong_server.astype(np.int64)
    return [ping, pong_server, one_way_ms, round_trip_ms, delay_ms, seen_ts - sent_ts]


def _pack_unanswered(pings: Pings, unanswered: Unanswered) -> Iterator[bytes]:
    place = _find_places(pings, unanswered.ping)
    order = np.lexsort((unanswered.pong_server, place, pings.seen_ts[place]))
    yield _pack_column(place[order])
    yield _pack_column(unanswered.pong_server[order])


def _find_places(pings: Pings, rows: Integers) -> Integers:
    """Where pings (row IDs) are among the pings."""
    order = np.argsort(pings.id)
    return order[np.searchsorted(pings.id, rows, sorter=order)]


def _find_runs(column: Integers) -> tuple[Integers, Integers]:
    """The values of a column, each run of equal ones once, and how long the runs are."""
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    return column[starts], np.diff(starts, append=len(column))


def _zigzag(column: Integers) -> Integers:
    """0, -1, 1, -2, ... as 0, 1, 2, 3, ...: what is near zero is small, and nothing negative."""
    return (column << 1) ^ (column >> 63)


def _unzigzag(column: Integers) -> Integers:
    return (column >> 1) ^ -(column & 1)


def _seal(parts: Iterable[bytes]) -> bytes:
    """Return the parts with their checksum before them."""
    body = b"".join(parts)
    return _sum(body).to_bytes(_CHECKSUM_BYTES, "little") + body


def _sum(body: bytes | memoryview) -> int:
    """Return the sum of all words of 64 bits, of the length in bytes and of `_FORM`.

    No bit can flip unnoticed, nor several in one word. It costs a fifth of a CRC, which is a
    twentieth of a board.
    """
    return (int(np.frombuffer(body, "<u8").sum()) + len(body) + _FORM) % (1 << 64)


def _open(packed: bytes, head: int = 0) -> _Reader:
    """Return a reader of what is behind the checksum and a head; DamagedError if it is wrong."""
    body = memoryview(packed)[_CHECKSUM_BYTES:]
    if len(body) < head or len(packed) % 8 or not len(body):
        raise DamagedError("a part of it is missing")
    if _sum(body) != int.from_bytes(packed[:_CHECKSUM_BYTES], "little"):
        raise DamagedError("its checksum is wrong")
    return _Reader(packed, _CHECKSUM_BYTES + head)


def _pack_column(values: Integers) -> bytes:
    if not len(values):
        return _COLUMN.pack(0, 0, 0, 1)
    base, highest = int(values.min()), int(values.max())
    size = next(size for size in _STORED if size == 8 or highest - base < 1 << 8 * size)
    exceptions = _EMPTY
    for smaller in (1, 2, 4):
        # The largest value of a width says that the value is an exception.
        is_large = values - base >= (1 << 8 * smaller) - 1
        large = int(is_large.sum())
        saved = len(values) * (size - smaller) - 8 * large
        if saved > 0 and large < _MAX_EXCEPTIONS:
            size, exceptions = smaller, values[is_large]
            break
    if size == 8 or (base > 0 and highest < 1 << 8 * size):
        base = 0  # so that the values are used where they lie
    stored = values - base
    if len(exceptions):
        stored = np.minimum(stored, (1 << 8 * size) - 1)
    body = stored.astype(_STORED[size]).tobytes()
    header = _COLUMN.pack(base, len(values), len(exceptions), size)
    return header + body + bytes(-len(body) % 8) + exceptions.astype("<i8").tobytes()


class _Reader:
    """Reads packed columns one after the other."""

    def __init__(self, packed: bytes, position: int) -> None:
        self._packed = packed
        self._position = position

    def column(self) -> Column:
        """Read the next one, in few bytes; a view of where it lies, if it is stored as it is."""
        base, stored, large = self._next()
        if len(large):
            values = stored.astype(find_width(base, int(large.max())))
            values += base
            values[stored == np.iinfo(stored.dtype).max] = large
            return values
        if base:
            highest = base + int(np.iinfo(stored.dtype).max)
            return np.add(stored, base, dtype=find_width(base, highest), casting="unsafe")
        return stored.view(np.int32) if stored.itemsize == 4 else stored

    def defer(self) -> Callable[[], Column]:
        """Leave the next one out; return what reads it."""
        later = _Reader(self._packed, self._position)
        self.skip()
        return later.column

    def offsets(self) -> Offsets:
        """Read the next one as values from a base on."""
        base, stored, large = self._next()
        if not len(large):
            return Offsets(base, stored)
        values = stored.astype(np.int64)
        values[stored == np.iinfo(stored.dtype).max] = large - base
        return Offsets(base, values)

    def integers(self) -> Integers:
        """Read the next one, fit for arithmetic."""
        return self.offsets().wide()

    def _next(self) -> tuple[int, Column, Integers]:
        base, length, exceptions, size = _COLUMN.unpack_from(self._packed, self._position)
        start = self._position + _COLUMN.size
        stored = np.frombuffer(self._packed, _STORED[size], length, start)
        if not exceptions:
            self._position = start + -(-length * size // 8) * 8
            return base, stored, _EMPTY
        start += -(-length * size // 8) * 8
        self._position = start + 8 * exceptions
        return base, stored, np.frombuffer(self._packed, "<i8", exceptions, start)

    def skip(self, columns: int = 1) -> None:
        """Leave some out."""
        for _ in range(columns):
            _, length, exceptions, size = _COLUMN.unpack_from(self._packed, self._position)
            self._position += _COLUMN.size + -(-length * size // 8) * 8 + 8 * exceptions


_NO_SAMPLES = _Part(NO_INTEGERS, NO_TIMES, NO_INTEGERS, NO_INTEGERS, NO_TIMES, NO_TIMES)
