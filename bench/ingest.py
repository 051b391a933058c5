"""Ingest: verified pongs into the database

Pongs of new pings, committed to SQLite one by one and in batches of 1,000, against rows as pingstat
inserts them, a commit each with SQLite's own settings. Batches are made before; the journal that
keeps boards exact is written in the same transaction.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from bench import peer
from bench.live import make_sample
from bench.pairs import Pair
from bench.pongs import synthesize
from pingboard.model import Batch, Sample
from pingboard.store.engine import open_engine
from pingboard.store.ingest import Ingest

RUNS = 20
"""More than the runner repeats; each commits batches of its own."""


def pairs(_quick: bool) -> Iterator[Pair]:
    """The figures; the same with `quick`."""
    folder = Path(tempfile.mkdtemp())
    theirs = peer.Inserter(folder / "theirs.db")
    path = folder / "ours.db"
    synthesize(1_000).write(path)
    ingest = Ingest(open_engine(f"sqlite:///{path}"), "bench")
    numbers = iter(range(10**9))
    template = make_sample(0)

    def make(size: int) -> Batch:
        ping = replace(template.ping, event_id=f"$b{next(numbers)}")
        pongs = (replace(template.pong, server=f"s{number}.example") for number in range(size))
        return Batch([], [Sample(ping, pong, None) for pong in pongs])

    def recorder(batches: int, size: int) -> Callable[[], None]:
        prepared = [[make(size) for _ in range(batches)] for _ in range(RUNS)]

        def record() -> None:
            for batch in prepared.pop():
                ingest.record(batch)

        return record

    yield Pair(
        "100 pongs, a commit each / pingstat's", recorder(100, 1), lambda: theirs(100), 1 / 3
    )
    yield Pair(
        "3,000 pongs in batches of 1,000 / 20 of pingstat's (150 times its rate)",
        recorder(3, 1000),
        lambda: theirs(20),
        1,
    )
