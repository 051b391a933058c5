"""From the database to a board: a million samples

Both sides start with an open SQLite file and nothing in memory. Ours is as a worker leaves it, or
as an import does; the peer is pingstat's algorithm on a database like its own. "With matrix" adds
the ping x pong matrix, which pingstat computes anyway. Then whole processes from their start to
their end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import peer
from bench.pairs import Pair
from bench.pongs import END, ROOM, WEEK, Pongs, hear, import_pingstat, synthesize
from pingboard.boards import Boards
from pingboard.homeservers import read_matrix
from pingboard.model import BoardName, Standing, Window, from_ts
from pingboard.store.engine import migrate, open_engine

SAMPLES = 1_000_000
TURNS = 4
"""The peer takes six seconds each time."""


def pairs() -> Iterator[Pair]:
    """The figures."""
    with tempfile.TemporaryDirectory() as folder:
        pongs = synthesize(SAMPLES)
        heard, imported, theirs = (Path(folder) / name for name in ("heard", "imported", "theirs"))
        peer.write(pongs, theirs)
        write_heard(heard, pongs)
        write_imported(imported, pongs)
        for path, beginning in ((heard, ""), (imported, "right after an import: ")):
            yield against_peer(path, theirs, SAMPLES, 1 / 250, beginning, with_matrix=False)
            yield against_peer(path, theirs, SAMPLES, 1 / 150, beginning, with_matrix=True)
            yield against_process(path, theirs, beginning)
    yield against_python()


def against_peer(
    ours: Path, theirs: Path, samples: int, target: float, beginning: str, *, with_matrix: bool
) -> Pair:
    """Everything that a new process has to do for its first board, but for its start."""
    what = "board with matrix" if with_matrix else "board"
    return Pair(
        f"{beginning}from the database to a {what}, {samples:,} samples / the peer",
        lambda: read_board(ours, WEEK, with_matrix=with_matrix),
        lambda: peer.read_and_rank(theirs, WEEK.start_ts, WEEK.end_ts),
        target,
        count_differences,
        turns=TURNS if samples <= SAMPLES else 1,
    )


def count_differences(standings: Sequence[Standing], plain: dict[str, tuple[float, float]]) -> int:
    """Count the homeservers whose median or mean differs from pingstat's."""
    ours = {(row.homeserver, row.median_ms, round(row.mean_ms, 6)) for row in standings}
    return len(ours ^ {(name, median, round(mean, 6)) for name, (median, mean) in plain.items()})


def against_process(ours: Path, theirs: Path, beginning: str) -> Pair:
    """`pingboard table` from start to end, and the same of the peer."""
    command = [sys.executable, "-m", "pingboard", "table", "--board", "delivery"]
    peers = [sys.executable, "-m", "bench.peer", str(theirs)]
    peers += [str(WEEK.start_ts), str(WEEK.end_ts)]
    environment = {"PINGBOARD_DATABASE_URL": f"sqlite:///{ours}"}
    return Pair(
        f"{beginning}whole cold process `pingboard table`, {SAMPLES:,} samples / the peer",
        lambda: _run(command, environment),
        lambda: _run(peers, {}),
        1 / 10,
        turns=TURNS,
    )


def against_python() -> Pair:
    """The start of the command line, against twice Python's own and a tenth of a second."""

    def allowed() -> None:
        for _ in range(2):
            _run([sys.executable, "-c", "pass"], {})
        time.sleep(0.1)

    return Pair(
        "`pingboard --help` / 2 x `python -c pass` + 100 ms",
        lambda: _run([sys.executable, "-m", "pingboard", "--help"], {}),
        allowed,
        1,
    )


def read_board(path: Path, window: Window, *, with_matrix: bool) -> Sequence[Standing]:
    """The board of a window, and perhaps its matrix, by a process that has nothing in memory."""
    engine = open_engine(f"sqlite:///{path}", read_only=True)
    boards = Boards(engine)
    board = boards.board(BoardName.DELIVERY, window, now=END, room=ROOM)
    if with_matrix:
        read_matrix(boards, ROOM, window)
    boards.close()
    engine.dispose()
    return board.standings


def write_heard(path: Path, pongs: Pongs) -> None:
    """Write a database as a worker leaves it."""
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    hear(engine, pongs)
    engine.dispose()


def write_imported(path: Path, pongs: Pongs) -> None:
    """Write a database as an import leaves it."""
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    import_pingstat(engine, pongs)
    engine.dispose()


def _run(command: list[str], environment: dict[str, str]) -> None:
    inherited = dict(os.environ)
    # An installed command has its modules compiled already; so has each side after its first run.
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run(command, env=inherited | environment, check=True, capture_output=True)


if __name__ == "__main__":
    start_ts, end_ts = (from_ts(int(ts)) for ts in sys.argv[2:4])
    read_board(Path(sys.argv[1]), Window(start_ts, end_ts), with_matrix=True)
