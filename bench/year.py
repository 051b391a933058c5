"""A year

The board of 365 days and 52 million samples of 200 servers, with an open file, nothing in memory
and nothing counted beforehand. Against one `np.sort` of all its keys; its standings have to equal
those of all samples, sorted. Single samples are dropped, as with `PINGBOARD_RETENTION`, and the
bytes that are left of a sample measured.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
from sqlalchemy import insert

from bench.pairs import Pair, Size
from bench.pongs import END, ROOM, WEEK, synthesize
from pingboard.boards import Boards
from pingboard.columns.blocks import HOUR_MS
from pingboard.columns.narrow import Column
from pingboard.model import BoardName, Standing, Window
from pingboard.ranking.rank import rank
from pingboard.store import schema
from pingboard.store.engine import Engine, migrate, open_engine
from pingboard.store.packing import pack_hour, unpack_block

WEEKS = 52
YEAR = Window(END - timedelta(days=365), END)
PEER_BYTES = 259
"""A sample on the peer's disk (see the sizes of the section before)."""


def pairs(quick: bool) -> Iterator[Pair | Size]:
    """The figures; `quick` has a tenth of the samples."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "year.db"
        engine = open_engine(f"sqlite:///{path}")
        migrate(engine)
        servers, ms, names = write(engine, 100_000 if quick else 1_000_000)
        engine.dispose()
        expected = rank(servers, ms, names)
        keys = (servers.astype(np.uint32) << 20) | ms.astype(np.uint32)
        yield Pair(
            f"a year's board, {len(ms):,} samples / np.sort of all keys",
            lambda: board(path),
            lambda: np.sort(keys),
            6,
            lambda: sum(one != other for one, other in zip(board(path), expected, strict=True)),
        )
        yield Size(
            "bytes on disk a sample, of a year, once single samples are dropped / pingstat's",
            path.stat().st_size / len(ms),
            PEER_BYTES,
            1 / 8,
        )


def board(path: Path) -> list[Standing]:
    """The board of the year, from an open file and nothing in memory."""
    engine = open_engine(f"sqlite:///{path}", read_only=True)
    found = Boards(engine).board(BoardName.DELIVERY, YEAR, now=END, room=ROOM)
    engine.dispose()
    return list(found.standings)


def write(engine: Engine, a_week: int) -> tuple[Column, Column, list[str]]:
    """The packed hours of a year; returns servers, latencies and names of its samples."""
    servers, latencies, names, there = [], [], [""], set[int]()
    with engine.begin() as connection:
        connection.execute(insert(schema.room).values(id=1, room_id=ROOM))
        for ago in range(WEEKS):
            back = timedelta(days=7 * ago)
            week = Window(WEEK.start - back, WEEK.end - back)
            pongs = synthesize(a_week, window=week, seed=ago + 1)
            names[1:] = pongs.names
            for hour, rows in pongs.hours():
                # Two weeks share the hour in between; the later one is there first.
                if hour in there:
                    continue
                there.add(hour)
                hot, _ = pack_hour(rows)
                row = {"room": 1, "hour": hour, "samples": len(rows.samples.ping), "hot": hot}
                times = {"first_origin_ts": hour * HOUR_MS, "last_origin_ts": hour * HOUR_MS}
                connection.execute(insert(schema.hour).values(**row, **times))
                claims = unpack_block(hot).claims
                servers.append(claims.ping_server.copy())
                latencies.append(claims.ms.copy())
        named = [{"id": number, "name": name} for number, name in enumerate(names) if number]
        connection.execute(insert(schema.server), named)
    return np.concatenate(servers), np.concatenate(latencies), names
