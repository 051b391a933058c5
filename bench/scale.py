"""Ten million samples

As from the database to a board, with the matrix; then the peak of memory of a whole process that
does it, by its own account to the operating system.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import peer
from bench.pairs import Pair, Size
from bench.pongs import WEEK, synthesize
from bench.store import against_peer, write_ours


def pairs(quick: bool) -> Iterator[Pair | Size]:
    """The figures; `quick` with a hundred thousand."""
    many = 100_000 if quick else 10_000_000
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.db", Path(folder) / "theirs.db"
        pongs = synthesize(many)
        write_ours(ours, pongs)
        peer.write(pongs, theirs)
        del pongs
        yield Size(
            f"peak memory in MiB, board and matrix of {many:,} samples / pingstat's algorithm",
            peak(ours, "bench.store"),
            peak(theirs, "bench.peer"),
            1 / 6,
        )
        yield against_peer(ours, theirs, many, 1 / 150, with_matrix=True)


def peak(path: Path, module: str) -> float:
    """What `python -m module` takes at most for the last week of a database, in MiB."""
    window = [str(WEEK.start_ts), str(WEEK.end_ts)]
    command = [sys.executable, "-m", "bench.peak", module, str(path), *window]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
