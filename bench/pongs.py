"""Synthetic samples: as many as asked for, the same for the same arguments."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pingboard.columns.blocks import HOUR_MS, LOSS, SAMPLE, Block, build
from pingboard.model import ONE_WAY_MIN_MS, PONG_TIMEOUT_MS, Window, to_ts
from pingboard.store.engine import migrate, open_engine
from pingboard.store.packing import NO_ROWS, NONE, Hour, Pings, Samples

PONG_SERVERS = 100
ANSWERED = 0.88
"""The share of pong servers that answer a ping: about 88 pongs each."""

ROOM = "!bench:server0.example"
END = datetime.now(UTC).replace(microsecond=0)
"""Now, because the command line's windows end there."""

WEEK = Window(END - timedelta(days=7), END)


@dataclass(frozen=True, slots=True, eq=False)
class Pongs:
    """Samples of pings that were seen at even distances in a window."""

    ping_seen_ts: NDArray[np.int64]
    """(p,) by ping"""
    ping_servers: NDArray[np.int32]
    """(p,) by ping; server 0 is ours, and its pings have round trips"""
    ping: NDArray[np.int64]
    """(n,) which ping, and so on for each sample"""
    pong_server: NDArray[np.int32]
    one_way_ms: NDArray[np.int32]
    names: list[str]

    @property
    def ping_server(self) -> NDArray[np.int32]:
        return self.ping_servers[self.ping]

    def hours(self) -> Iterator[tuple[int, Hour]]:
        """The rows of each hour of pings; pings and servers are counted from 1."""
        hours = self.ping_seen_ts // HOUR_MS
        rows = np.nan_to_num(np.array([*self._sample_rows()], np.float64), nan=NONE)
        columns = rows.astype(np.int64).T
        ping, pong_server, one_way_ms, round_trip_ms, delay_ms, lag_ms, event_hash = columns
        for hour in np.unique(hours).tolist():
            pings = np.flatnonzero(hours == hour)
            first, after = np.searchsorted(ping, (pings[0] + 1, pings[-1] + 2))
            inside = slice(first, after)
            seen_ts, is_ours = self.ping_seen_ts[pings], self.ping_servers[pings] == 0
            sent_ts = np.where(is_ours, seen_ts, NONE)
            servers = self.ping_servers[pings].astype(np.int64) + 1
            numbers = (one_way_ms, round_trip_ms, delay_ms, lag_ms, np.zeros_like(ping), event_hash)
            yield (
                hour,
                Hour(
                    Pings(pings + 1, servers, seen_ts, seen_ts, sent_ts, is_ours.astype(np.int64)),
                    Samples._make([column[inside] for column in (ping, pong_server, *numbers)]),
                    NO_ROWS.unanswered,
                ),
            )

    def blocks(self) -> list[Block]:
        """All of them as one block."""
        rows = np.zeros(len(self.ping), SAMPLE)
        rows["ping_seen_ts"] = self.ping_seen_ts[self.ping]
        rows["seen_ts"] = self.ping_seen_ts[self.ping] + self.one_way_ms
        rows["ping_server"] = self.ping_server
        rows["pong_server"] = self.pong_server
        rows["one_way_ms"] = self.one_way_ms
        return [build(rows, np.zeros(0, LOSS))]

    def write(self, path: Path) -> None:
        """Into a new SQLite file, as the worker's rows would be; nothing is packed yet."""
        for _ in self.write_in_parts(path, 1):
            pass

    def write_in_parts(self, path: Path, parts: int) -> Iterator[int]:
        """The same in parts, one after the other; gives the time up to which each goes."""
        engine = open_engine(f"sqlite:///{path}")
        migrate(engine)
        engine.dispose()
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("INSERT INTO room (id, room_id) VALUES (1, ?)", (ROOM,))
            named = enumerate(self.names, 1)
            connection.executemany("INSERT INTO server (id, name) VALUES (?, ?)", named)
            connection.execute("INSERT INTO vantage (id, name, server) VALUES (1, 'main', 1)")
            rows = self._sample_rows()
            for pings in np.array_split(np.arange(len(self.ping_seen_ts)), parts):
                connection.execute("BEGIN")
                self._write_pings(connection, pings)
                samples = int(np.searchsorted(self.ping, pings[-1], "right"))
                samples -= int(np.searchsorted(self.ping, pings[0]))
                self._write_samples(connection, islice(rows, samples))
                connection.execute("COMMIT")
                yield int(self.ping_seen_ts[pings[-1]])

    def _write_pings(self, connection: sqlite3.Connection, pings: NDArray[np.int64]) -> None:
        seen, servers = self.ping_seen_ts[pings].tolist(), self.ping_servers[pings].tolist()
        rows = (
            (ping, server + 1, f"$ping-{ping:016}-of-a-usual-event-id", ts, ts, *own)
            for ping, ts, server in zip((pings + 1).tolist(), seen, servers, strict=True)
            for own in [(1, ts) if server == 0 else (None, None)]
        )
        connection.executemany(
            "INSERT INTO ping (id, room, server, event, origin_server_ts, seen_ts, vantage, "
            "sent_ts) VALUES (?, 1, ?, ?, ?, ?, ?, ?)",
            rows,
        )

    def _sample_rows(self) -> Iterator[tuple[int | None, ...]]:
        ours = self.ping_server == 0
        rng = np.random.default_rng(2)
        hashes = rng.integers(0, 2**48, len(self.ping))
        # How long after it was sent we saw it: by how far its server is away.
        away_ms = rng.integers(10, 400, int(self.pong_server.max()) + 1)
        lag_ms = away_ms[self.pong_server] + rng.integers(0, 40, len(self.ping))
        columns = (self.ping + 1, self.pong_server + 1, self.one_way_ms, ours, lag_ms, hashes)
        for ping, pong, ms, own, lag, event_hash in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            yield ping, pong, ms, ms + lag if own else None, ms + lag, lag, event_hash

    def _write_samples(
        self, connection: sqlite3.Connection, rows: Iterator[tuple[int | None, ...]]
    ) -> None:
        while chunk := list(islice(rows, 20_000)):
            connection.executemany(
                "INSERT INTO sample (ping, pong_server, one_way_ms, round_trip_ms, delay_ms, "
                "lag_ms, provenance, event_hash) VALUES (?, ?, ?, ?, ?, ?, 0, ?)",
                chunk,
            )


def synthesize(
    samples: int, ping_servers: int = 200, window: Window = WEEK, seed: int = 1
) -> Pongs:
    """`samples` pongs to pings of `ping_servers` servers, all seen inside the window.

    One-way is log-normal around a median of each ping server's own, cut to what a board takes.
    """
    rng = np.random.default_rng(seed)
    pings = round(samples / PONG_SERVERS / ANSWERED * 1.05) + 100
    answered = rng.random((pings, PONG_SERVERS)) < ANSWERED
    ping, pong_server = (index[:samples] for index in np.nonzero(answered))
    pings = int(ping[-1]) + 1
    of_ping = rng.integers(0, ping_servers, pings)
    log_median = rng.normal(6.5, 0.5, ping_servers)
    one_way = rng.lognormal(log_median[of_ping[ping]], 0.7)
    last_ts = to_ts(window.end) - PONG_TIMEOUT_MS - 100
    return Pongs(
        np.linspace(window.start_ts, last_ts, pings).astype(np.int64),
        of_ping.astype(np.int32),
        ping,
        pong_server.astype(np.int32),
        one_way.clip(ONE_WAY_MIN_MS, PONG_TIMEOUT_MS).astype(np.int32),
        [f"server{number}.example" for number in range(max(ping_servers, PONG_SERVERS))],
    )
