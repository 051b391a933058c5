"""The rules of measuring, computed from lists of events as plainly as can be.

Everything that the store keeps in clever forms is here a list of pings, each with its pongs; every
answer is a loop over all of them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from pingboard.file_formats import Record
from pingboard.model import (
    PONG_TIMEOUT_MS,
    Batch,
    BoardName,
    Ping,
    PingstatRow,
    Provenance,
    Sample,
    Standing,
    Window,
    hash_event_id,
)
from pingboard.ranking.history import Band, Bucket
from pingboard.ranking.pairs import Pair
from tests.differential.operations import Row
from tests.differential.records import (
    UNSEEN_TS,
    PingRecord,
    PongRecord,
    add_pong,
    as_ping,
    is_later_history,
    numbers_of,
    place_pong,
    replace_unmeasured,
)
from tests.plain_ranking import rank_plainly

HOUR_MS = 3_600_000
FIRST_TS = 1_409_529_600_000
"""2014-09-01: there was no Matrix before"""
_TIMES = (
    "ping_seen_ts",
    "pong_seen_ts",
    "ping_origin_server_ts",
    "pong_origin_server_ts",
    "ping_sent_ts",
)


@dataclass
class Model:
    """One database, as it should be."""

    now_ts: int = 0
    pings: list[PingRecord] = field(default_factory=list)
    predecessors: dict[str, str | None] = field(default_factory=dict)
    aliases: dict[str, str | None] = field(default_factory=dict)
    redacted: set[tuple[str, int]] = field(default_factory=set)
    """room and hash of a pong"""
    duplicates: set[tuple[str, int]] = field(default_factory=set)
    """server and hash of pongs that were not the first of theirs for a ping"""
    kept_from_ts: dict[str, int] = field(default_factory=dict)
    """by room: single samples of pings before then are not kept"""

    # What happens

    def join(self, room_id: str, alias: str | None) -> None:
        self.predecessors.setdefault(room_id, None)
        self._move_alias(room_id, alias)

    def upgrade(self, old: str, new: str, alias: str | None) -> None:
        self.predecessors.setdefault(old, None)
        self.predecessors[new] = old
        self._move_alias(new, alias)
        self._unite()

    def hear(self, batch: Batch, looks_up: bool) -> None:
        for ping in batch.voided:
            self.predecessors.setdefault(ping.room_id, None)
        samples = list(batch.samples)
        if looks_up:
            known = [
                (sample, self.find(sample.ping.room_id, sample.ping.event_id)) for sample in samples
            ]
            samples = [
                Sample(as_ping(ping), sample.pong, sample.round_trip_ms, sample.provenance)
                for sample, ping in known
                if ping is not None and is_in_time(sample.pong.seen_ts, ping.seen_ts)
            ]
        for ping in batch.pings:
            self._learn(ping)
        for ping, servers in batch.expected:
            record = self._learn(ping)
            if record is not None:
                record.expected |= set(servers) - set(record.pongs) - record.withdrawn
        refused = {event_hash for _, event_hash in self.duplicates}
        heard = [sample for sample in samples if sample.provenance is Provenance.LIVE]
        fetched = [sample for sample in samples if sample.provenance is not Provenance.LIVE]
        for sample in [*heard, *sorted(fetched, key=lambda sample: sample.pong.seen_ts)]:
            self._add_sample(sample, refused)
        for ping in batch.voided:
            record = self.find(ping.room_id, ping.event_id)
            if record is not None:
                record.expected.clear()
                record.sent_ts = None
        for room_id, event_id in batch.redacted:
            self._redact(room_id, hash_event_id(event_id))

    def import_pingstat(self, rows: list[Row]) -> int:
        """Return how many rows were rejected."""
        rejected = 0
        for row in rows:
            pong_ts, one_way_ms = row["pong_timestamp"], row["receive_diff"]
            ping_ts = pong_ts - one_way_ms
            ping = PingRecord(
                row["room_id"], row["ping_id"], row["ping_server"], ping_ts, ping_ts,
                None, None, is_estimated=True,
            )  # fmt: skip
            pong = PongRecord(
                row["pong_server"], one_way_ms, None, UNSEEN_TS, pong_ts, "import", None,
            )  # fmt: skip
            is_plausible = all(self._is_possible_time(ts) for ts in (ping_ts, pong_ts))
            rejected += not (is_plausible and self._import(ping, pong, None))
        return rejected

    def import_export(self, rows: list[Row]) -> int:
        """Return how many rows were rejected."""
        plausible = [
            row
            for row in rows
            if all(self._is_possible_time(row[name]) for name in _TIMES if row[name] is not None)
        ]
        for row in plausible:
            self._describe_room(row["room_id"], row["room_predecessor"])
        imported = []
        for row in plausible:
            ping = PingRecord(
                row["room_id"], row["ping_event_id"], row["ping_server"],
                row["ping_origin_server_ts"], row["ping_seen_ts"], row["vantage"],
                row["ping_sent_ts"], row["ping_time"] == "estimated",
            )  # fmt: skip
            pong = None
            if row["one_way_ms"] is not None:
                pong = PongRecord(
                    row["pong_server"], row["one_way_ms"], row["round_trip_ms"],
                    row["pong_seen_ts"], row["pong_origin_server_ts"], row["provenance"],
                    row["pong_event_hash"],
                )  # fmt: skip
                if pong.provenance == "import":
                    pong.seen_ts = UNSEEN_TS
            imported.append((ping, pong, row["pong_server"]))
        # A pong lies near its ping, and how that is known best is said by any of the rows.
        for ping, _, _ in imported:
            self._import_ping(ping)
        return len(rows) - sum(self._import(*row) for row in imported)

    def _describe_room(self, room_id: str, predecessor: str | None) -> None:
        self.predecessors.setdefault(room_id, None)
        if predecessor is not None:
            self.predecessors.setdefault(predecessor, None)
            if self.predecessors[room_id] is None:
                self.predecessors[room_id] = predecessor
                self._unite()

    def import_own_export(self) -> int:
        """Export everything and import it again, which changes nothing."""
        return 0

    def close_hours(self) -> None:
        """Nobody can tell closed hours from open ones; nor who was restarted."""

    restart = restart_reader = close_hours

    def retain(self, before_ts: int, kept_from_ts: dict[str, int]) -> list[object]:
        """Keep single samples from these times on, by room; return what is wrong with them.

        All hours that have pongs and ended before a time should be dropped, and no others.
        """
        wrong: list[object] = [
            (room_id, ts)
            for room_id, ts in kept_from_ts.items()
            if ts > max(before_ts, self.kept_from_ts.get(room_id, 0))
        ]
        self.kept_from_ts = kept_from_ts
        for ping in self.pings:
            ping.is_retired |= self._is_too_old(ping.room_id, ping.seen_ts)
            hour_end_ts = (ping.seen_ts // HOUR_MS + 1) * HOUR_MS
            if ping.pongs and hour_end_ts <= before_ts and not ping.is_retired:
                wrong.append(ping)
        return wrong

    # What is asked

    def find(self, room_id: str, event_id: str) -> PingRecord | None:
        """Return a ping of a room or of its upgrades, while it is kept."""
        lineage = self.lineage(room_id)
        for ping in self.pings:
            if ping.event_id == event_id and ping.room_id in lineage and not ping.is_retired:
                return ping
        return None

    def lineage(self, room_id: str) -> set[str]:
        """Return a room and all that it was upgraded from or to."""
        rooms = {room_id}
        while True:
            links = [(new, old) for new, old in self.predecessors.items() if old is not None]
            more = {room for link in links if rooms & set(link) for room in link}
            if more <= rooms:
                return rooms
            rooms |= more

    def boards(
        self, room_id: str, window: Window, min_samples: int = 1, limit: int | None = None
    ) -> dict[BoardName, tuple[int, list[Standing]]]:
        """Return the samples of each board and its standings."""
        answer = {}
        for board in BoardName:
            samples = [(name, ms) for name, ms, _ in self._samples_of(board, room_id, window)]
            counts = Counter(name for name, _ in samples)
            rows = rank_plainly(row for row in samples if counts[row[0]] >= min_samples)
            if board is BoardName.RESPONSE:
                rows = [
                    row._replace(
                        **self._loss(room_id, window, row.homeserver),
                        **self._clock(room_id, window, row.homeserver),
                    )
                    for row in rows
                ]
            answer[board] = len(samples), rows[:limit]
        return answer

    def pairs(self, room_id: str, window: Window) -> list[Pair]:
        pairs: dict[tuple[str, str], list[int]] = {}
        for ping, pong in self._pongs(room_id, window):
            if is_claim(pong.one_way_ms):
                pairs.setdefault((ping.server, pong.server), []).append(pong.one_way_ms)
        return sorted(Pair(*key, float(median(ms)), len(ms)) for key, ms in pairs.items())

    def history(
        self, room_id: str, window: Window, homeserver: str, board: BoardName, step_ms: int
    ) -> list[Bucket]:
        samples = [
            (ts, ms)
            for name, ms, ts in self._samples_of(board, room_id, window)
            if name == homeserver
        ]
        answered, lost = self._answered_and_lost(room_id, window, homeserver)
        buckets = []
        for start_ts in range(window.start_ts // step_ms * step_ms, window.end_ts, step_ms):
            end_ts = start_ts + step_ms
            ms = [latency_ms for ts, latency_ms in samples if start_ts <= ts < end_ts]
            rows = rank_plainly((homeserver, latency_ms) for latency_ms in ms)
            bands = [
                Band(row.p5_ms, row.p25_ms, row.median_ms, row.p75_ms, row.p95_ms) for row in rows
            ]
            lost_count = sum(start_ts <= ts < end_ts for ts in lost)
            sent_count = lost_count + sum(start_ts <= ts < end_ts for ts in answered)
            band = bands[0] if bands else None
            buckets.append(Bucket(start_ts, len(ms), band, sent_count, lost_count))
        return buckets

    def export(self, room_id: str | None, window: Window) -> list[Record]:
        rooms = set(self.predecessors) if room_id is None else self.lineage(room_id)
        records = []
        for ping in self.pings:
            if ping.is_retired or ping.room_id not in rooms:
                continue
            records += [
                self._export(ping, pong.server, pong)
                for pong in ping.pongs.values()
                if window.start_ts <= pong.seen_ts < window.end_ts
            ]
            if window.start_ts <= ping.seen_ts < window.end_ts:
                records += [self._export(ping, server, None) for server in ping.expected]
        return sorted(records, key=str)

    def samples(
        self,
        room_id: str,
        window: Window,
        ping_server: str | None,
        pong_server: str | None,
        page_rows: int,
    ) -> list[tuple[Any, ...]]:
        return sorted(
            (
                *(ping.room_id, ping.event_id, ping.server, ping.seen_ts, ping.origin_server_ts),
                *(pong.server, pong.one_way_ms, pong.round_trip_ms or 0),
                *(pong.seen_ts, pong.origin_server_ts, pong.provenance),
            )
            for ping, pong in self._pongs(room_id, window)
            if not ping.is_retired
            and ping_server in (None, ping.server)
            and pong_server in (None, pong.server)
        )

    def pingstat(self, room_id: str, oldest_ts: int, newest_ts: int) -> list[PingstatRow]:
        rows = [
            PingstatRow(
                room_id,
                ping.event_id,
                pong.server,
                ping.server,
                pong.one_way_ms,
                pong.origin_server_ts,
            )
            for ping in self._pings_of(room_id)
            for pong in ping.pongs.values()
            if not ping.is_retired
            and oldest_ts <= pong.origin_server_ts <= newest_ts
            and is_claim(pong.one_way_ms)
        ]
        return sorted(rows, key=lambda row: (row.ping_id.encode(), row.pong_server.encode()))

    def rooms(self) -> dict[str, Any]:
        """Return alias, samples and the time of the last pong by room."""
        rooms: dict[str, Any] = {}
        for room_id in {*self.predecessors, *(ping.room_id for ping in self.pings)}:
            pongs = [
                pong.seen_ts
                for ping in self.pings
                for pong in ping.pongs.values()
                if ping.room_id == room_id
            ]
            rooms[room_id] = (self.aliases.get(room_id), len(pongs), max(pongs, default=None))
        return rooms

    def count_duplicates(self) -> dict[str, int]:
        """Return how many pongs of each server were not its first for a ping."""
        return dict(Counter(server for server, _ in self.duplicates))

    def answered_since(self, room_id: str, since_ts: int) -> dict[str, int]:
        """Return when each server last answered a ping of ours."""
        last: dict[str, int] = {}
        for ping in self._pings_of(room_id):
            for pong in ping.pongs.values():
                if ping.vantage is not None and pong.seen_ts >= since_ts:
                    last[pong.server] = max(pong.seen_ts, last.get(pong.server, 0))
        return last

    def known_pings(self, room_id: str, event_ids: tuple[str, ...]) -> dict[str, Ping]:
        pings = [self.find(room_id, event_id) for event_id in event_ids]
        return {
            ping.event_id: replace(as_ping(ping), room_id=room_id)
            for ping in pings
            if ping is not None
        }

    def fingerprint(self) -> Any:
        """Return something that differs where any board could."""
        samples = {
            (ping.room_id, ping.event_id, ping.server, ping.vantage is None, *numbers_of(pong))
            for ping in self.pings
            for pong in ping.pongs.values()
        }
        expected = {(ping.event_id, name) for ping in self.pings for name in ping.expected}
        links = {link for link in self.predecessors.items() if link[1] is not None}
        return samples, expected, links

    # How

    def _learn(self, ping: Ping) -> PingRecord | None:
        """Return the record of a ping that was heard; None where it is too old to be kept."""
        record = self.find(ping.room_id, ping.event_id)
        if record is None:
            if self._is_retired(ping.room_id, ping.event_id) or self._is_too_old(
                ping.room_id, ping.seen_ts
            ):
                return None
            record = PingRecord(
                ping.room_id, ping.event_id, ping.server, ping.origin_server_ts, ping.seen_ts,
                ping.vantage, ping.sent_ts, ping.is_estimated,
            )  # fmt: skip
            self.pings.append(record)
            self.predecessors.setdefault(ping.room_id, None)
        elif record.knows_less(ping, knows_sends=False):
            self._take_times(record, ping)
        return record

    def _take_times(self, record: PingRecord, seen: Ping | PingRecord) -> None:
        """Let a fuller account of a ping take the place of another."""
        if self._is_too_old(record.room_id, seen.seen_ts):
            return
        record.origin_server_ts, record.seen_ts = seen.origin_server_ts, seen.seen_ts
        record.vantage, record.sent_ts, record.is_estimated = seen.vantage, seen.sent_ts, False
        for pong in record.pongs.values():
            if pong.provenance == "import":
                pong.seen_ts = UNSEEN_TS
            place_pong(record, pong)

    def _add_sample(self, sample: Sample, refused: set[int]) -> None:
        """Keep a pong; `refused` are those that history can't bring any more."""
        ping, pong = sample.ping, sample.pong
        record = self._learn(ping)
        event_hash = hash_event_id(pong.event_id)
        is_fetched = sample.provenance is not Provenance.LIVE
        is_refused = self._is_redacted(ping.room_id, event_hash) or (
            is_fetched and event_hash in refused
        )
        if record is None or is_refused:
            return
        heard = PongRecord(
            pong.server, pong.one_way_ms, sample.round_trip_ms, pong.seen_ts,
            pong.origin_server_ts, sample.provenance.name.lower(), event_hash,
        )  # fmt: skip
        place_pong(record, heard)
        known = record.pongs.get(pong.server)
        if known is not None and is_fetched and is_later_history(known, heard):
            assert known.event_hash is not None
            self.duplicates.add((pong.server, known.event_hash))
            del record.pongs[pong.server]
        add_pong(record, heard)
        known = record.pongs.get(pong.server)
        if known is None or known.event_hash != event_hash:
            self.duplicates.add((pong.server, event_hash))

    def _redact(self, room_id: str, event_hash: int) -> None:
        self.predecessors.setdefault(room_id, None)
        self.redacted.add((room_id, event_hash))
        for ping in self._pings_of(room_id):
            if not ping.is_retired:
                self._withdraw(ping, event_hash)

    def _withdraw(self, ping: PingRecord, event_hash: int) -> None:
        for name, pong in list(ping.pongs.items()):
            if pong.event_hash == event_hash:
                del ping.pongs[name]
                ping.withdrawn.add(name)

    def _import_ping(self, ping: PingRecord) -> PingRecord | None:
        """Return the record of an imported ping; None where it can't be true, or is too old."""
        self.predecessors.setdefault(ping.room_id, None)
        if self._is_too_old(ping.room_id, ping.seen_ts):
            return None
        record = self.find(ping.room_id, ping.event_id)
        if record is None:
            if self._is_retired(ping.room_id, ping.event_id):
                return None
            record = ping
            self.pings.append(record)
        elif record.server != ping.server:
            return None
        elif record.knows_less(ping):
            self._take_times(record, ping)
        return record

    def _import(self, ping: PingRecord, pong: PongRecord | None, pong_server: str | None) -> bool:
        record = self._import_ping(ping)
        if record is None:
            return False
        server = pong.server if pong is not None else pong_server
        assert server is not None
        if server in record.withdrawn:
            return False
        if pong is None:
            if server not in record.pongs:
                record.expected.add(server)
            return True
        if pong.event_hash is not None and self._is_redacted(ping.room_id, pong.event_hash):
            return False
        replace_unmeasured(record, pong)
        add_pong(record, pong)
        return True

    def _is_redacted(self, room_id: str, event_hash: int) -> bool:
        return any((room, event_hash) in self.redacted for room in self.lineage(room_id))

    def _is_too_old(self, room_id: str, ping_seen_ts: int) -> bool:
        lineage = self.lineage(room_id)
        return any(ping_seen_ts < self.kept_from_ts.get(room, 0) for room in lineage)

    def _is_retired(self, room_id: str, event_id: str) -> bool:
        return any(
            ping.is_retired and ping.event_id == event_id for ping in self._pings_of(room_id)
        )

    def _move_alias(self, room_id: str, alias: str | None) -> None:
        if alias is None:
            return
        for other, known in self.aliases.items():
            if known == alias:
                self.aliases[other] = None
        self.aliases[room_id] = alias

    def _unite(self) -> None:
        """Make one ping of each that was known in several rooms that now are one."""
        for ping in list(self.pings):
            first = self.find(ping.room_id, ping.event_id)
            if ping.is_retired or first is ping or first is None:
                continue
            self.pings.remove(ping)
            if first.knows_less(ping):
                first.room_id = ping.room_id
                self._take_times(first, ping)
            first.withdrawn |= ping.withdrawn
            for server in first.withdrawn:
                first.pongs.pop(server, None)
            for pong in ping.pongs.values():
                if pong.provenance == "import":
                    pong.seen_ts = UNSEEN_TS
                replace_unmeasured(first, pong)
                add_pong(first, pong)
            first.expected = (first.expected | ping.expected) - set(first.pongs) - first.withdrawn
        for room_id, event_hash in self.redacted:
            for ping in self._pings_of(room_id):
                if not ping.is_retired:
                    self._withdraw(ping, event_hash)

    def _pings_of(self, room_id: str) -> list[PingRecord]:
        lineage = self.lineage(room_id)
        return [ping for ping in self.pings if ping.room_id in lineage]

    def _pongs(self, room_id: str, window: Window) -> list[tuple[PingRecord, PongRecord]]:
        return [
            (ping, pong)
            for ping in self._pings_of(room_id)
            for pong in ping.pongs.values()
            if window.start_ts <= pong.seen_ts < window.end_ts
        ]

    def _samples_of(
        self, board: BoardName, room_id: str, window: Window
    ) -> list[tuple[str, int, int]]:
        """Return homeserver, latency and time of each sample that a board takes."""
        samples = []
        for ping, pong in self._pongs(room_id, window):
            if board is BoardName.RESPONSE:
                if pong.round_trip_ms is not None and ping.vantage is not None:
                    samples.append((pong.server, pong.round_trip_ms, pong.seen_ts))
            elif is_claim(pong.one_way_ms):
                homeserver = ping.server if board is BoardName.DELIVERY else pong.server
                samples.append((homeserver, pong.one_way_ms, pong.seen_ts))
        return samples

    def _loss(self, room_id: str, window: Window, homeserver: str) -> Row:
        answered, lost = self._answered_and_lost(room_id, window, homeserver)
        sent = len(answered) + len(lost)
        return {"sent": sent, "lost": len(lost), "loss": len(lost) / sent if sent else None}

    def _answered_and_lost(
        self, room_id: str, window: Window, homeserver: str
    ) -> tuple[list[int], list[int]]:
        """Return the times of our pings in a window that a server answered, and did not.

        Only of those whose fate is decided for every server: neither void nor too new.
        """
        answered, lost = [], []
        given_up_ts = min(window.end_ts, self.now_ts - PONG_TIMEOUT_MS)
        for ping in self._pings_of(room_id):
            is_counted = ping.vantage is not None and ping.sent_ts is not None
            if not is_counted or not window.start_ts <= ping.seen_ts < given_up_ts:
                continue
            if homeserver in ping.pongs:
                answered.append(ping.seen_ts)
            elif homeserver in ping.expected:
                lost.append(ping.seen_ts)
        return answered, lost

    def _clock(self, room_id: str, window: Window, homeserver: str) -> Row:
        """Return the offset that the samples of the lowest round trip say, as NTP does it."""
        offsets: dict[int, list[int]] = {}
        for ping, pong in self._pongs(room_id, window):
            if pong.server == homeserver and pong.round_trip_ms is not None and ping.sent_ts:
                there_ms = ping.origin_server_ts + pong.one_way_ms - ping.sent_ts
                back_ms = pong.origin_server_ts - pong.seen_ts
                offsets.setdefault(pong.round_trip_ms, []).append(there_ms + back_ms)
        if not offsets:
            return {"clock_offset_ms": None, "clock_uncertainty_ms": None}
        lowest = min(offsets)
        offset_ms = median(offsets[lowest]) / 2
        return {"clock_offset_ms": offset_ms, "clock_uncertainty_ms": lowest / 2}

    def _export(self, ping: PingRecord, server: str, pong: PongRecord | None) -> Record:
        return Record(
            room_id=ping.room_id,
            room_alias=self.aliases.get(ping.room_id),
            room_predecessor=self.predecessors.get(ping.room_id),
            ping_event_id=ping.event_id,
            ping_server=ping.server,
            pong_server=server,
            one_way_ms=None if pong is None else pong.one_way_ms,
            round_trip_ms=None if pong is None else pong.round_trip_ms,
            ping_seen_ts=ping.seen_ts,
            pong_seen_ts=None if pong is None else pong.seen_ts,
            ping_origin_server_ts=ping.origin_server_ts,
            pong_origin_server_ts=None if pong is None else pong.origin_server_ts,
            ping_sent_ts=ping.sent_ts,
            ping_time="estimated" if ping.is_estimated else "seen",
            vantage=ping.vantage,
            provenance=None if pong is None else pong.provenance,
            pong_event_hash=None if pong is None else pong.event_hash,
        )

    def _is_possible_time(self, ts: int) -> bool:
        return FIRST_TS <= ts <= self.now_ts + PONG_TIMEOUT_MS


def is_in_time(pong_seen_ts: int, ping_seen_ts: int) -> bool:
    """Return whether a pong counts, by when it and its ping were seen."""
    return pong_seen_ts - ping_seen_ts <= PONG_TIMEOUT_MS


def is_claim(one_way_ms: int) -> bool:
    """Return whether the boards of one-way latencies take it."""
    return 10 <= one_way_ms <= PONG_TIMEOUT_MS
