"""The store as the operations drive it: every call into pingboard that they need, in one place."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import func, select

from pingboard import homeservers
from pingboard.boards import Boards
from pingboard.file_formats import Record, read_pingstat, read_record
from pingboard.model import (
    ONE_WAY_MIN_MS,
    PONG_TIMEOUT_MS,
    Batch,
    BoardName,
    Ping,
    PingstatRow,
    Provenance,
    Sample,
    Standing,
    Window,
    from_ts,
)
from pingboard.ranking.history import Bucket
from pingboard.ranking.pairs import Pair
from pingboard.store import hours, pings, retention, samples, schema
from pingboard.store.engine import Engine, open_engine
from pingboard.store.exporter import read_pingstat_rows, read_records
from pingboard.store.homeservers import has_homeserver
from pingboard.store.importer import Importer
from pingboard.store.ingest import Ingest
from pingboard.store.rooms import read_lineage
from pingboard.store.schema import room
from tests.differential.operations import Row

EVER = Window(from_ts(0), from_ts(2**45))


class Store:
    """One database: a worker that writes, an API that reads, and somebody who imports."""

    now_ts = 0

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine: Engine
        self._reader: Engine
        self.start()
        self.start_reader()

    def close(self) -> None:
        self._boards.close()
        self._reader.dispose()
        self._engine.dispose()

    # The worker

    def start(self) -> None:
        self._engine = open_engine(self._url)
        self._ingest = Ingest(self._engine, "account")

    def restart(self) -> None:
        self._engine.dispose()
        self.start()

    def join(self, room_id: str, alias: str | None) -> None:
        self._ingest.record_room(room_id, alias)

    def upgrade(self, old: str, new: str, alias: str | None) -> None:
        self._ingest.record_room(new, alias, old)

    def hear(self, batch: Batch, looks_up: bool) -> None:
        if looks_up:
            batch = self._look_up(batch)
        self._ingest.record(batch, "token")

    def _look_up(self, batch: Batch) -> Batch:
        known = [
            (sample, self.known_pings(sample.ping.room_id, (sample.ping.event_id,)))
            for sample in batch.samples
        ]
        stored = [
            Sample(
                pings[sample.ping.event_id], sample.pong, sample.round_trip_ms, sample.provenance
            )
            for sample, pings in known
            if sample.ping.event_id in pings
            and sample.pong.seen_ts - pings[sample.ping.event_id].seen_ts <= PONG_TIMEOUT_MS
        ]
        return Batch(batch.pings, stored, expected=batch.expected)

    def known_pings(self, room_id: str, event_ids: tuple[str, ...]) -> dict[str, Ping]:
        return pings.find_pings(self._engine, room_id, list(event_ids))

    def count_duplicates(self) -> dict[str, int]:
        counted = (
            select(schema.server.c.name, func.sum(schema.rejection.c.count))
            .join(schema.server, schema.rejection.c.pong_server == schema.server.c.id)
            .where(schema.rejection.c.reason == "duplicate")
            .group_by(schema.server.c.name)
        )
        with self._engine.connect() as connection:
            return {name: int(count) for name, count in connection.execute(counted)}

    def answered_since(self, room_id: str, since_ts: int) -> dict[str, int]:
        answered, damaged = pings.find_answered_since(self._engine, room_id, since_ts)
        assert not damaged
        return answered

    def close_hours(self) -> None:
        hours.close_hours(self._engine, self.now_ts)

    def retain(self, before_ts: int) -> dict[str, int]:
        """Return since when each room keeps single samples, of those that dropped any."""
        self.close_hours()
        while retention.drop_samples(self._engine, before_ts):
            pass
        kept_from = {
            room_id: retention.find_kept_from(self._engine, [row])
            for row, room_id in self._room_rows().items()
        }
        return {room_id: ts for room_id, ts in kept_from.items() if ts is not None}

    def _room_rows(self) -> dict[int, str]:
        with self._engine.connect() as connection:
            return dict(connection.execute(select(room.c.id, room.c.room_id)).all())

    # Who imports and exports

    def import_pingstat(self, rows: list[Row]) -> int:
        """Return how many rows were rejected."""
        return self._import([read_pingstat(row) for row in rows])

    def import_export(self, rows: list[Row]) -> int:
        return self._import([read_record(row) for row in rows])

    def import_own_export(self) -> int:
        return self.import_export([record._asdict() for record in self.export(None, EVER)])

    def _import(self, read: list[Any]) -> int:
        records = [record for record in read if not isinstance(record, str)]
        with Importer(self._engine) as importer:
            faults = list(importer.add(records))
        self._ingest = Ingest(self._engine, "account")  # no worker runs while an import does
        return len(read) - len(records) + len(faults)

    def export(self, room_id: str | None, window: Window) -> list[Record]:
        rooms = None if room_id is None else read_lineage(self._reader, room_id)
        return sorted(read_records(self._reader, rooms, window), key=str)

    # The API

    def start_reader(self) -> None:
        self._reader = open_engine(self._url, read_only=True)
        self._boards = Boards(self._reader)

    def restart_reader(self) -> None:
        self._boards.close()
        self._reader.dispose()
        self.start_reader()

    def version(self) -> int:
        return self._boards.version()

    def boards(
        self, room_id: str, window: Window, min_samples: int = 1, limit: int | None = None
    ) -> dict[BoardName, tuple[int, list[Standing]]]:
        answer = {}
        for name in BoardName:
            board = self._boards.board(
                name,
                window,
                now=from_ts(self.now_ts),
                room=room_id,
                min_samples=min_samples,
                limit=limit,
            )
            answer[name] = board.samples, list(board.standings)
        return answer

    def pairs(self, room_id: str, window: Window) -> list[Pair]:
        return sorted(homeservers.read_matrix(self._boards, room_id, window))

    def history(
        self, room_id: str, window: Window, homeserver: str, board: BoardName, step_ms: int
    ) -> list[Bucket]:
        return list(
            homeservers.read_history(
                self._boards,
                room_id,
                window,
                homeserver,
                board,
                timedelta(milliseconds=step_ms),
                now=from_ts(self.now_ts),
            )
        )

    def knows_homeserver(self, name: str) -> bool:
        return has_homeserver(self._reader, name)

    def samples(
        self,
        room_id: str,
        window: Window,
        ping_server: str | None,
        pong_server: str | None,
        page_rows: int,
    ) -> list[tuple[Any, ...]]:
        """Return all, read in pages, as the model has them."""
        rooms = read_lineage(self._reader, room_id)
        sample_filter = samples.SampleFilter(rooms, window, ping_server, pong_server)
        rows: list[tuple[Any, ...]] = []
        after = None
        while True:
            last, has_more = samples.find_page_end(self._reader, sample_filter, after, page_rows)
            page = [
                _tell(sample)
                for chunk in samples.stream(self._reader, sample_filter, after, last)
                for sample in chunk
            ]
            rows += page
            if not has_more:
                return sorted(rows)
            assert len(page) == page_rows
            after = last

    def pingstat(self, room_id: str, oldest_ts: int, newest_ts: int) -> list[PingstatRow]:
        return list(
            read_pingstat_rows(
                self._reader,
                room_id,
                read_lineage(self._reader, room_id),
                oldest_ts,
                newest_ts,
                ONE_WAY_MIN_MS,
                PONG_TIMEOUT_MS,
            )
        )

    def rooms(self) -> dict[str, Any]:
        return {
            room.room_id: (
                room.alias,
                room.samples,
                None if room.last_pong_at is None else round(room.last_pong_at.timestamp() * 1000),
            )
            for room in self._boards.rooms()
        }


def _tell(sample: samples.StoredSample) -> tuple[Any, ...]:
    ping = sample.ping
    return (
        *(ping.room_id, ping.event_id, ping.server, ping.seen_ts, ping.origin_server_ts),
        *(sample.pong_server, sample.one_way_ms, sample.round_trip_ms or 0),
        *(sample.pong_seen_ts, sample.pong_origin_server_ts),
        Provenance(sample.provenance).name.lower(),
    )
