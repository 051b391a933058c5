"""One transaction's changes to samples: opens the hours that they touch, and names them in the
journal. All writers change samples through this."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection

from pingboard.model import PONG_TIMEOUT_MS, DamagedHourError, Provenance
from pingboard.sample_blocks import HOUR_MS
from pingboard.store import journal, schema
from pingboard.store.hours import delete_event_hashes, open_hours, read_closed_hour
from pingboard.store.packing import NONE, Hour
from pingboard.store.sql import chunks, execute, insert_rows, placeholders

T = TypeVar("T")

PING_FIELDS = """ping.id, ping.room, ping.event, ping.server, ping.origin_server_ts, ping.seen_ts,
ping.vantage IS NOT NULL, ping.sent_ts IS NOT NULL, ping.is_estimated"""
"""The columns of a `StoredPing`."""


class StoredPing(NamedTuple):
    """A ping as it is stored; `room` and `server` are row IDs."""

    id: int
    room: int
    event_id: str
    server: int
    origin_server_ts: int
    seen_ts: int
    is_ours: bool
    is_timed: bool
    """whether it is known when it was sent"""
    is_estimated: bool

    @property
    def fullness(self) -> int:
        """How much is known of it."""
        return 0 if self.is_estimated else 1 + self.is_ours + self.is_timed


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


class KnownSample(NamedTuple):
    """A sample that is stored; NONE where there is no number."""

    event_hash: int
    round_trip_ms: int
    provenance: int
    delay_ms: int


class SampleChanges:
    """The changes of one transaction; `finish` it before the commit.

    Closed hours that are damaged stay as they are: `damaged` says which ones would have changed.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._version = journal.read_version(connection)
        self._closed: dict[journal.HourKey, Hour] = {}
        """those that were read"""
        self._opened: set[journal.HourKey] = set()
        self._damaged: dict[journal.HourKey, DamagedHourError] = {}
        self._changed: set[journal.HourKey] = set()

    @property
    def damaged(self) -> list[DamagedHourError]:
        """What is wrong with each hour that can't be changed."""
        return [*self._damaged.values()]

    def can_change(self, hours: Collection[journal.HourKey]) -> bool:
        """Tell whether all of these hours can be changed; not so those that are damaged."""
        for key in hours:
            self._read_closed(key)
        return self._damaged.keys().isdisjoint(hours)

    def insert_samples(self, samples: Sequence[NewSample], *, is_announced: bool) -> int:
        """Store the samples whose ping has none of that pong server; return how many.

        What is announced gets numbers in the journal, by which `samples.read_new` finds it. What is
        not is another's account: of one pong that with a round trip replaces the one without.
        """
        samples = self._leave_out_damaged(samples, lambda sample: sample.ping)
        known = self._read_came([sample.ping for sample in samples])
        # An hour is not opened for what it has; but an imported pong may learn its event.
        new = [
            sample
            for sample in samples
            if (stored := known.get((sample.ping.id, sample.pong_server))) is None
            or (stored.event_hash == NONE and sample.event_hash is not None)
            or (stored.round_trip_ms == NONE and not is_announced and _is_measured(sample))
        ]
        hours = self._open(sample.ping for sample in new)
        rows = [self._make_row(sample, is_announced=is_announced) for sample in new]
        inserted = insert_rows(self._connection, schema.sample, _SAMPLE_COLUMNS, rows)
        if inserted < len(new) and not is_announced:
            inserted += self._replace_unmeasured(new)
        has_learned = inserted < len(new) and self._learn_events(new)
        if inserted or has_learned:
            self._changed |= hours
        return inserted

    def expect(self, keys: Sequence[tuple[StoredPing, int]]) -> None:
        """Expect pongs, each of a ping and a server (row)."""
        keys = self._leave_out_damaged(keys, lambda key: key[0])
        pings = [stored for stored, _ in keys]
        known = self._read_came(pings).keys() | self._read_missing(pings)
        keys = [(stored, server) for stored, server in keys if (stored.id, server) not in known]
        hours = self._open(stored for stored, _ in keys)
        rows = [(stored.id, server) for stored, server in keys]
        if insert_rows(self._connection, schema.unanswered, ("ping", "pong_server"), rows):
            self._changed |= hours

    def delete_answered(self, pings: Collection[StoredPing]) -> None:
        """Stop expecting the pongs of these pings that have come."""
        for chunk in chunks({stored.id for stored in pings}):
            execute(self._connection, _DELETE_ANSWERED.format(placeholders(len(chunk))), *chunk)

    def void(self, pings: Collection[StoredPing]) -> None:
        """Expect nothing of these pings, and forget when they were sent: they measure nothing."""
        pings = self._leave_out_damaged(pings, lambda stored: stored)
        self._changed |= self._open(pings)
        for chunk in chunks({stored.id for stored in pings}):
            rows = placeholders(len(chunk))
            execute(self._connection, f"DELETE FROM unanswered WHERE ping IN {rows}", *chunk)  # noqa: S608
            execute(self._connection, f"UPDATE ping SET sent_ts = NULL WHERE id IN {rows}", *chunk)  # noqa: S608

    def delete_samples(self, keys: Sequence[tuple[StoredPing, int]]) -> None:
        """Delete samples, each of a ping and a pong server (row)."""
        self._changed |= self._open(stored for stored, _ in keys)
        for stored, server in keys:
            execute(self._connection, _DELETE, stored.id, server)

    def displace_later(self, samples: Iterable[NewSample]) -> list[tuple[NewSample, KnownSample]]:
        """Delete what history brought later than these, which it brings too; return what that was.

        A gap is read backwards, so the first of its pongs comes last.
        """
        samples = self._leave_out_damaged(list(samples), lambda sample: sample.ping)
        stored = self.read_stored([sample.ping for sample in samples])
        displaced = [
            (sample, known)
            for sample in samples
            if (known := stored.get((sample.ping.id, sample.pong_server))) is not None
            and known.provenance == Provenance.GAP_FILL
            and known.event_hash not in (NONE, sample.event_hash)
            and known.delay_ms > _find_delay(sample.ping, sample.seen_ts)
        ]
        self.delete_samples([(sample.ping, sample.pong_server) for sample, _ in displaced])
        return displaced

    def read_stored(self, pings: Collection[StoredPing]) -> dict[tuple[int, int], KnownSample]:
        """Return the samples of these pings, by ping and pong server (rows)."""
        stored = self._read_came(pings)
        for chunk in chunks({ping.id for ping in pings}):
            for row in execute(self._connection, _READ.format(placeholders(len(chunk))), *chunk):
                stored[row[0], row[1]] = KnownSample(*row[2:])
        return stored

    def delete_closed(
        self, hours: Iterable[journal.HourKey], event_hashes: Sequence[int]
    ) -> list[tuple[int, int]]:
        """Delete the samples of these pongs from closed hours; return their keys (rows)."""
        keys: list[tuple[int, int]] = []
        for key in (key for key in hours if self.can_change([key])):
            self._closed.pop(key, None)
            deleted = delete_event_hashes(self._connection, *key, event_hashes)
            if deleted:
                self._changed.add(key)
                keys += deleted
        return keys

    def move_samples(self, source: StoredPing, target: StoredPing) -> None:
        """Give a ping the samples of another one that is the same, or of itself before it moved.

        Both hours are open (see `touch`). Pongs that named another ping server are left out: they
        lied. So are those of pong servers of which the target has one already, unless only theirs
        have a round trip.
        """
        sql = f"SELECT {', '.join(_SAMPLE_COLUMNS[1:])} FROM sample WHERE ping = ?"  # noqa: S608
        samples = execute(self._connection, sql, source.id).all()
        execute(self._connection, "DELETE FROM sample WHERE ping = ?", source.id)
        if source.server != target.server:
            return
        moved: list[tuple[int | None, ...]] = []
        for server, delay_ms, lag_ms, version, *values in samples:
            seen_ts = source.seen_ts + delay_ms
            origin_ts = seen_ts - lag_ms
            named = dict(zip(_AS_IT_IS, values, strict=True))
            if named["provenance"] == Provenance.IMPORT:
                seen_ts = estimate_pong_seen_ts(target.seen_ts, origin_ts)
            if named["event_hash"] is not None:
                pong = (server, named["one_way_ms"], origin_ts, named["event_hash"])
                self._learn_event(target, *pong)
            if named["round_trip_ms"] is not None:
                self._delete_unmeasured(target.id, server)
            times = _find_times(target, seen_ts, origin_ts)
            moved.append((target.id, server, *times, version, *values))
        insert_rows(self._connection, schema.sample, _SAMPLE_COLUMNS, moved)

    def touch(self, hours: Iterable[journal.HourKey]) -> None:
        """Open hours in which something else changes, and name them; see `can_change`."""
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
        if not sum(self._delete_unmeasured(new.ping.id, new.pong_server) for new in measured):
            return 0
        rows = [self._make_row(sample, is_announced=False) for sample in measured]
        return insert_rows(self._connection, schema.sample, _SAMPLE_COLUMNS, rows)

    def _delete_unmeasured(self, ping: int, pong_server: int) -> int:
        """Delete a sample (rows) that has no round trip: an account that has it takes its place."""
        sql = f"{_DELETE} AND round_trip_ms IS NULL"
        return execute(self._connection, sql, ping, pong_server).rowcount

    def _read_came(self, pings: Iterable[StoredPing]) -> dict[tuple[int, int], KnownSample]:
        """Return the samples in the closed hours of pings, by ping and pong server (rows)."""
        came: dict[tuple[int, int], KnownSample] = {}
        for rows in map(self._read_closed, {_find_hour(stored) for stored in pings}):
            if rows is not None:
                samples = rows.samples
                keys = zip(samples.ping.tolist(), samples.pong_server.tolist(), strict=True)
                columns = (getattr(samples, name).tolist() for name in KnownSample._fields)
                came |= dict(zip(keys, map(KnownSample, *columns), strict=True))
        return came

    def _read_missing(self, pings: Iterable[StoredPing]) -> set[tuple[int, int]]:
        """Return what has not come of the closed hours of pings, by ping and pong server (rows)."""
        hours = map(self._read_closed, {_find_hour(stored) for stored in pings})
        columns = ([column.tolist() for column in rows.unanswered] for rows in hours if rows)
        return {key for of_hour in columns for key in zip(*of_hour, strict=True)}

    def _read_closed(self, key: journal.HourKey) -> Hour | None:
        """Return all of an hour; None if it is open or damaged, or its samples are dropped."""
        if key in self._opened or key in self._damaged:
            return None
        if key not in self._closed:
            try:
                rows = read_closed_hour(self._connection, *key)
            except DamagedHourError as error:
                self._damaged[key] = error
                return None
            if rows is None:
                self._opened.add(key)
                return None
            self._closed[key] = rows
        return self._closed[key]

    def _leave_out_damaged(
        self, things: Collection[T], find_ping: Callable[[T], StoredPing]
    ) -> list[T]:
        """Return those whose pings do not belong to damaged hours."""
        self.can_change({_find_hour(find_ping(thing)) for thing in things})
        if not self._damaged:
            return [*things]
        return [thing for thing in things if _find_hour(find_ping(thing)) not in self._damaged]

    def _open(self, pings: Iterable[StoredPing]) -> set[journal.HourKey]:
        keys = {_find_hour(stored) for stored in pings}
        self._open_hours(keys)
        return keys

    def _open_hours(self, keys: set[journal.HourKey]) -> None:
        open_hours(self._connection, keys - self._opened)
        self._opened |= keys
        for key in keys & self._closed.keys():
            del self._closed[key]

    def _learn_events(self, samples: Sequence[NewSample]) -> bool:
        has_learned = False
        for new in samples:
            if new.event_hash is not None:
                pong = (new.pong_server, new.one_way_ms, new.origin_server_ts, new.event_hash)
                has_learned |= self._learn_event(new.ping, *pong)
        return has_learned

    def _learn_event(
        self,
        ping: StoredPing,
        pong_server: int,
        one_way_ms: int,
        origin_server_ts: int,
        event_hash: int,
    ) -> bool:
        """Remember which event an imported pong is, so that a redaction finds it; tell whether
        there is such a pong."""
        key = (ping.id, pong_server, one_way_ms)
        times = (ping.seen_ts, origin_server_ts)
        return bool(execute(self._connection, _LEARN_EVENT, event_hash, *key, *times).rowcount)

    def _make_row(self, sample: NewSample, *, is_announced: bool) -> tuple[int | None, ...]:
        ping, pong_server, seen_ts, origin_server_ts, *values = sample
        times = _find_times(ping, seen_ts, origin_server_ts)
        version = None
        if is_announced:
            self._version += 1
            version = self._version
        return (ping.id, pong_server, *times, version, *values)


def _find_delay(ping: StoredPing, seen_ts: int) -> int:
    # A pong belongs to the hour of its ping, and windows look for it near there.
    return max(-PONG_TIMEOUT_MS, min(seen_ts - ping.seen_ts, PONG_TIMEOUT_MS))


def _is_measured(sample: NewSample) -> bool:
    return sample.round_trip_ms is not None and sample.ping.is_ours


def _find_times(ping: StoredPing, seen_ts: int, origin_server_ts: int) -> tuple[int, int]:
    """Return the delay and the lag of a pong, ms, as they are stored."""
    delay_ms = _find_delay(ping, seen_ts)
    return delay_ms, ping.seen_ts + delay_ms - origin_server_ts


def estimate_pong_seen_ts(ping_seen_ts: int, origin_server_ts: int) -> int:
    """Return when a pong that nobody saw arrive was seen: by its own time, as far as that can be.

    Its time is a foreign clock's, and a pong that counts came within ten minutes after its ping.
    """
    return max(ping_seen_ts, min(origin_server_ts, ping_seen_ts + PONG_TIMEOUT_MS))


def _find_hour(stored: StoredPing) -> journal.HourKey:
    return stored.room, stored.seen_ts // HOUR_MS


_DELETE_ANSWERED = """
DELETE FROM unanswered WHERE ping IN {} AND EXISTS (SELECT 1 FROM sample
WHERE sample.ping = unanswered.ping AND sample.pong_server = unanswered.pong_server)
"""
_DELETE = "DELETE FROM sample WHERE ping = ? AND pong_server = ?"
_READ = f"""
SELECT ping, pong_server, coalesce(event_hash, {NONE}), coalesce(round_trip_ms, {NONE}), provenance,
delay_ms FROM sample WHERE ping IN {{}}
"""  # noqa: S608
_LEARN_EVENT = """
UPDATE sample SET event_hash = ? WHERE ping = ? AND pong_server = ? AND one_way_ms = ?
AND ? + delay_ms - lag_ms = ? AND event_hash IS NULL
"""
