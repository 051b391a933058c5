"""Ten million samples

From the database to a board with its matrix; the peak of memory of a whole process that does it, by
its own account to the operating system; and how long the transaction takes that takes back a pong
of the first hour. It is found before, read-only (see `pingboard/store/redactions.py`).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from sqlalchemy.event import listen

from bench import peer
from bench.pairs import Pair, Size
from bench.pongs import ROOM, WEEK, synthesize, write_closed_hours
from bench.store import against_peer
from pingboard.model import Batch, hash_event_id
from pingboard.store.engine import migrate, open_engine
from pingboard.store.ingest import Ingest

SAMPLES = 10_000_000
MAX_REDACTION_MS = 50
REDACTIONS = 5


def pairs() -> Iterator[Pair | Size]:
    """The figures."""
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours", Path(folder) / "theirs"
        pongs = synthesize(SAMPLES)
        events = [f"$redacted-{number}" for number in range(REDACTIONS)]
        pongs.event_hash[:REDACTIONS] = [hash_event_id(event) for event in events]
        engine = open_engine(f"sqlite:///{ours}")
        migrate(engine)
        write_closed_hours(engine, iter([pongs]))
        engine.dispose()
        peer.write(pongs, theirs)
        yield Size(
            f"peak memory, board and matrix of {SAMPLES:,} samples, MiB / the peer",
            measure_peak(ours, "bench.store"),
            measure_peak(theirs, "bench.peer"),
            1 / 6,
        )
        yield against_peer(ours, theirs, SAMPLES, 1 / 200, "", with_matrix=True)
        yield Size(
            f"a redaction of an old pong, {SAMPLES:,} samples, ms in the writer / an allowance",
            measure_redaction(ours, events),
            MAX_REDACTION_MS,
            1,
        )


def measure_peak(path: Path, module: str) -> float:
    """Return what `python -m module` takes at most for the last week of a database, in MiB."""
    window = [str(WEEK.start_ts), str(WEEK.end_ts)]
    command = [sys.executable, "-m", "bench.peak", module, str(path), *window]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_redaction(path: Path, event_ids: list[str]) -> float:
    """Return how long one of these pongs holds the right to write, in ms; the median."""
    engine = open_engine(f"sqlite:///{path}")
    ingest = Ingest(engine, "bench")
    begun_at: list[float] = []
    times_ms: list[float] = []
    listen(engine, "begin", lambda _: begun_at.append(time.perf_counter()))
    listen(engine, "commit", lambda _: times_ms.append((time.perf_counter() - begun_at[-1]) * 1e3))
    for event_id in event_ids:
        ingest.record(Batch(redacted=[(ROOM, event_id)]))
    engine.dispose()
    return median(times_ms)
