"""One transaction's changes to samples: opens the hours that they touch, and names them in the
journal. All writers change samples through this."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pingboard.model import PONG_TIMEOUT_MS, Provenance
from pingboard.sample_blocks import HOUR_MS
from pingboard.store import journal, schema
from pingboard.store.hours import delete_event_hashes, open_hours, read_closed_hour
from pingboard.store.packing import NONE
from pingboard.store.pings import StoredPing, delete_unmeasured, learn_event
from pingboard.store.sql import chunks, execute, insert_rows, mark

if TYPE_CHECKING:
    from sqlalchemy import Connection


class NewSample(NamedTuple):
    """A sample to store; `pong_server` is a row ID."""

    ping: StoredPing
    pong_server: int
    seen_ts: int
    origin_server_ts: int
    # Stored as it is, in columns of these names:
    one_way_ms: int
    round_trip_ms: int | None
    provenance: int
    event_hash: int | None


_AS_IT_IS = NewSample._fields[4:]
_SAMPLE_COLUMNS = ("ping", "pong_server", "delay_ms", "lag_ms", "version", *_AS_IT_IS)


class Changes:
    """The changes of one transaction; `finish` it before the commit."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._version = journal.read_version(connection)
        self._opened: set[journal.Hour] = set()
        self._changed: set[journal.Hour] = set()

    def insert_samples(self, samples: Sequence[NewSample], *, is_news: bool) -> int:
        """Store the samples whose ping has none of that pong server; return how many.

        News gets numbers in the journal, by which `samples.read_new` tells it. What is no news is
        another's account: of one pong that with a round trip takes the place of one without.
        """
        known, _ = self._read_closed([sample.ping for sample in samples])
        # An hour is not opened for what it has; but an imported pong may learn its event.
        new = [
            sample
            for sample in samples
            if (stored := known.get((sample.ping.id, sample.pong_server))) is None
            or (stored.event_hash == NONE and sample.event_hash is not None)
            or (stored.round_trip_ms == NONE and not is_news and _is_measured(sample))
        ]
        hours = self._open(sample.ping for sample in new)
        rows = [self._make_row(sample, is_news=is_news) for sample in new]
        inserted = insert_rows(self._connection, schema.sample, _SAMPLE_COLUMNS, rows)
        if inserted < len(new) and not is_news:
            inserted += self._replace_unmeasured(new)
        has_learned = inserted < len(new) and self._learn_events(new)
        if inserted or has_learned:
            self._changed |= hours
        return inserted

    def expect(self, keys: Sequence[tuple[StoredPing, int]]) -> None:
        """Expect pongs, each of a ping and a server (row)."""
        came, expected = self._read_closed([stored for stored, _ in keys])
        known = came.keys() | expected
        keys = [(stored, server) for stored, server in keys if (stored.id, server) not in known]
        hours = self._open(stored for stored, _ in keys)
        rows = [(stored.id, server) for stored, server in keys]
        if insert_rows(self._connection, schema.unanswered, ("ping", "pong_server"), rows):
            self._changed |= hours

    def settle(self, pings: Collection[StoredPing]) -> None:
        """Expect no longer what has come."""
        for chunk in chunks({stored.id for stored in pings}):
            execute(self._connection, _SETTLE.format(mark(len(chunk))), *chunk)

    def void(self, pings: Collection[StoredPing]) -> None:
        """Expect nothing of these pings, and forget when they were sent: they measure nothing."""
        self._changed |= self._open(pings)
        for chunk in chunks({stored.id for stored in pings}):
            rows = mark(len(chunk))
            execute(self._connection, f"DELETE FROM unanswered WHERE ping IN {rows}", *chunk)  # noqa: S608
            execute(self._connection, f"UPDATE ping SET sent_ts = NULL WHERE id IN {rows}", *chunk)  # noqa: S608

    def delete_samples(self, keys: Sequence[tuple[StoredPing, int]]) -> None:
        """Delete samples, each of a ping and a pong server (row)."""
        self._changed |= self._open(stored for stored, _ in keys)
        for stored, server in keys:
            execute(self._connection, _DELETE, stored.id, server)

    def displace(self, keys: Iterable[tuple[StoredPing, int]]) -> None:
        """Delete samples that history brought, each of a ping and a pong server (row)."""
        for stored, server in keys:
            hours = self._open([stored])
            if execute(self._connection, _DISPLACE, stored.id, server).rowcount:
                self._changed |= hours

    def delete_closed(
        self, hours: Iterable[journal.Hour], event_hashes: Sequence[int]
    ) -> list[tuple[int, int]]:
        """Delete the samples of these pongs from closed hours; return their keys (rows)."""
        keys: list[tuple[int, int]] = []
        for key in hours:
            deleted = delete_event_hashes(self._connection, *key, event_hashes)
            if deleted:
                self._changed.add(key)
                keys += deleted
        return keys

    def touch(self, hours: Iterable[journal.Hour]) -> None:
        """Open hours in which something else changes, and name them."""
        keys = set(hours)
        self._open_hours(keys)
        self._changed |= keys

    def finish(self, *, has_new_room: bool = False) -> None:
        """Write the journal."""
        journal.write_changes(
            self._connection, self._version, sorted(self._changed), has_room=has_new_room
        )

    def _replace_unmeasured(self, samples: Sequence[NewSample]) -> int:
        measured = [sample for sample in samples if _is_measured(sample)]
        keys = [(sample.ping.id, sample.pong_server) for sample in measured]
        if not delete_unmeasured(self._connection, keys):
            return 0
        rows = [self._make_row(sample, is_news=False) for sample in measured]
        return insert_rows(self._connection, schema.sample, _SAMPLE_COLUMNS, rows)

    def _read_closed(
        self, pings: Sequence[StoredPing]
    ) -> tuple[dict[tuple[int, int], _Known], set[tuple[int, int]]]:
        """Return what the closed hours of pings have: what has come, and what has not.

        Both by ping and pong server.
        """
        came: dict[tuple[int, int], _Known] = {}
        expected: set[tuple[int, int]] = set()
        for key in {_find_hour(stored) for stored in pings} - self._opened:
            rows = read_closed_hour(self._connection, *key)
            if rows is None:
                self._opened.add(key)
                continue
            samples = rows.samples
            keys = zip(samples.ping.tolist(), samples.pong_server.tolist(), strict=True)
            values = map(_Known, samples.event_hash.tolist(), samples.round_trip_ms.tolist())
            came |= dict(zip(keys, values, strict=True))
            missing = (column.tolist() for column in rows.unanswered)
            expected |= set(zip(*missing, strict=True))
        return came, expected

    def _open(self, pings: Iterable[StoredPing]) -> set[journal.Hour]:
        keys = {_find_hour(stored) for stored in pings}
        self._open_hours(keys)
        return keys

    def _open_hours(self, keys: set[journal.Hour]) -> None:
        open_hours(self._connection, keys - self._opened)
        self._opened |= keys

    def _learn_events(self, samples: Sequence[NewSample]) -> bool:
        learned = [
            learn_event(
                self._connection,
                sample.ping,
                sample.pong_server,
                sample.one_way_ms,
                sample.origin_server_ts,
                sample.event_hash,
            )
            for sample in samples
            if sample.event_hash is not None
        ]
        return any(learned)

    def _make_row(self, sample: NewSample, *, is_news: bool) -> tuple[int | None, ...]:
        ping, pong_server, seen_ts, origin_server_ts, *values = sample
        # A pong belongs to the hour of its ping, and windows look for it near there.
        delay_ms = max(-PONG_TIMEOUT_MS, min(seen_ts - ping.seen_ts, PONG_TIMEOUT_MS))
        lag_ms = ping.seen_ts + delay_ms - origin_server_ts
        version = None
        if is_news:
            self._version += 1
            version = self._version
        return (ping.id, pong_server, delay_ms, lag_ms, version, *values)


class _Known(NamedTuple):
    """A sample of a closed hour; NONE where there is none."""

    event_hash: int
    round_trip_ms: int


def _is_measured(sample: NewSample) -> bool:
    return sample.round_trip_ms is not None and sample.ping.is_ours


def _find_hour(stored: StoredPing) -> journal.Hour:
    return stored.room, stored.seen_ts // HOUR_MS


_SETTLE = """
DELETE FROM unanswered WHERE ping IN {} AND EXISTS (SELECT 1 FROM sample
WHERE sample.ping = unanswered.ping AND sample.pong_server = unanswered.pong_server)
"""
_DELETE = "DELETE FROM sample WHERE ping = ? AND pong_server = ?"
_DISPLACE = f"{_DELETE} AND provenance = {int(Provenance.GAP_FILL)}"
