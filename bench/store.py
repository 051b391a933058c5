"""From the database to a board

Both sides start with an open SQLite file and nothing in memory. Ours is as the worker leaves it,
past hours closed; theirs is pingstat's algorithm on a database like its
own. "With matrix" adds the ping x pong matrix, which pingstat computes anyway. A week out of a
year: the same week with and without 51 weeks before it. Then the sizes of both files, and whole
processes from their start to their end. The targets are those for a million samples; of fewer, ours
is to be no slower and no larger.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np

from bench import peer
from bench.pairs import Pair, Size
from bench.pongs import END, ROOM, WEEK, Pongs, synthesize
from pingboard import homeservers
from pingboard.boards import Boards
from pingboard.model import BoardName, Standing, Window, from_ts, to_ts
from pingboard.store.engine import open_engine
from pingboard.store.hours import close_hours

WEEK_MS = 7 * 86_400_000
MILLION = 1_000_000


def pairs(quick: bool) -> Iterator[Pair | Size]:
    """The figures; `quick` leaves out a million and more."""
    with tempfile.TemporaryDirectory() as folder:
        for samples in [10_000, 100_000] if quick else [10_000, 100_000, MILLION]:
            board, matrix, disk = (1 / 150, 1 / 90, 1 / 8) if samples == MILLION else (1, 1, 1)
            ours, theirs = _write(Path(folder), synthesize(samples))
            yield against_peer(ours, theirs, samples, board, with_matrix=False)
            yield against_peer(ours, theirs, samples, matrix, with_matrix=True)
            yield Size(
                f"bytes on disk a sample, of {samples:,}",
                ours.stat().st_size / samples,
                theirs.stat().st_size / samples,
                disk,
            )
        yield cold(ours, theirs, samples)
        yield with_history(Path(folder), 10_000 if quick else 100_000)
    yield help_text()


def against_peer(
    ours: Path, theirs: Path, samples: int, target: float, *, with_matrix: bool
) -> Pair:
    """Everything that a new process has to do for its first board, but for its start."""

    def differences() -> int:
        standings = _board(ours, WEEK, with_matrix=False)
        mine = {(row.homeserver, row.median_ms, round(row.mean_ms, 6)) for row in standings}
        plain = peer.read_and_rank(theirs, WEEK.start_ts, WEEK.end_ts)
        return len(mine ^ {(name, one, round(mean, 6)) for name, (one, mean) in plain.items()})

    what = "board with matrix" if with_matrix else "board"
    return Pair(
        f"database to {what}, {samples:,} samples / pingstat's algorithm",
        lambda: _board(ours, WEEK, with_matrix=with_matrix),
        lambda: peer.read_and_rank(theirs, WEEK.start_ts, WEEK.end_ts),
        target,
        differences,
    )


def with_history(folder: Path, samples: int) -> Pair:
    """The last week of a year against the same week alone."""
    short, long = folder / "week.db", folder / "year.db"
    week = synthesize(samples)
    weeks = 52
    ping_seen_ts = np.concatenate(
        [week.ping_seen_ts - WEEK_MS * ago for ago in range(weeks - 1, -1, -1)]
    )
    pings = len(week.ping_seen_ts)
    year = replace(
        week,
        ping_seen_ts=ping_seen_ts,
        ping_servers=np.tile(week.ping_servers, weeks),
        ping=np.concatenate([week.ping + pings * number for number in range(weeks)]),
        pong_server=np.tile(week.pong_server, weeks),
        one_way_ms=np.tile(week.one_way_ms, weeks),
    )
    for path, pongs in ((short, week), (long, year)):
        write_ours(path, pongs)

    def five_times(path: Path) -> None:
        for _ in range(5):  # once takes less than what else happens on a machine
            _board(path, WEEK, with_matrix=False)

    return Pair(
        f"a week of {samples:,} samples out of a year / the week alone",
        lambda: five_times(long),
        lambda: five_times(short),
        1.1,
        lambda: int(
            _board(long, WEEK, with_matrix=False) != _board(short, WEEK, with_matrix=False)
        ),
    )


def cold(ours: Path, theirs: Path, samples: int) -> Pair:
    """`pingboard table` from start to end, and the same of the peer."""
    mine = [sys.executable, "-m", "pingboard", "table", "--board", "delivery"]
    peers = [sys.executable, "-m", "bench.peer", str(theirs)]
    peers += [str(WEEK.start_ts), str(WEEK.end_ts)]
    environment = {"PINGBOARD_DATABASE_URL": f"sqlite:///{ours}"}
    return Pair(
        f"process `pingboard table`, {samples:,} samples / pingstat's algorithm",
        lambda: _run(mine, environment),
        lambda: _run(peers, {}),
        1 / 10,
    )


def help_text() -> Pair:
    """The start of the command line, against twice Python's own and a tenth of a second."""

    def allowed() -> None:
        for _ in range(2):
            _run([sys.executable, "-c", "pass"], {})
        time.sleep(0.1)

    return Pair(
        "process `pingboard --help` / 2 x `python -c pass` + 100 ms",
        lambda: _run([sys.executable, "-m", "pingboard", "--help"], {}),
        allowed,
        1,
    )


def _run(command: list[str], environment: dict[str, str]) -> None:
    inherited = dict(os.environ)
    # An installed command has its modules compiled already; so has each side after its first run.
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run(command, env=inherited | environment, check=True, capture_output=True)


def _board(path: Path, window: Window, *, with_matrix: bool) -> Sequence[Standing]:
    engine = open_engine(f"sqlite:///{path}", read_only=True)
    boards = Boards(engine)
    board = boards.board(BoardName.DELIVERY, window, now=END, room=ROOM)
    if with_matrix:
        homeservers.read_matrix(boards, ROOM, window)
    engine.dispose()
    return board.standings


def _write(folder: Path, pongs: Pongs) -> tuple[Path, Path]:
    ours = folder / f"ours-{len(pongs.ping)}.db"
    theirs = folder / f"theirs-{len(pongs.ping)}.db"
    write_ours(ours, pongs)
    peer.write(pongs, theirs)
    return ours, theirs


def write_ours(path: Path, pongs: Pongs) -> None:
    """A database as the worker leaves it, all of whose hours are closed."""
    pongs.write(path)
    engine = open_engine(f"sqlite:///{path}")
    close_hours(engine, to_ts(END + timedelta(days=1)))
    with closing(engine.raw_connection()) as connection:
        connection.cursor().execute("VACUUM")  # A worker has never as many open hours.
    engine.dispose()


if __name__ == "__main__":
    start_ts, end_ts = (from_ts(int(ts)) for ts in sys.argv[2:4])
    _board(Path(sys.argv[1]), Window(start_ts, end_ts), with_matrix=True)
