"""Pongs into the database

Pongs of new pings, committed to SQLite one by one and in batches of 1,000, against rows as the
peer, pingstat, inserts them, a commit each with SQLite's own settings. Batches are made before; the
journal that keeps boards exact is written in the same transaction.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from bench import peer
from bench.pairs import TURNS, Pair
from bench.pongs import hear, make_pong, synthesize
from pingboard.model import Batch, Sample
from pingboard.store.engine import migrate, open_engine
from pingboard.store.ingest import Ingest


def pairs() -> Iterator[Pair]:
    """The figures."""
    with tempfile.TemporaryDirectory() as folder:
        theirs = peer.Inserter(Path(folder) / "theirs.db")
        engine = open_engine(f"sqlite:///{folder}/ours.db")
        migrate(engine)
        hear(engine, synthesize(1_000))
        ingest = Ingest(engine, "bench")
        numbers = iter(range(10**9))

        def make_batch(size: int) -> Batch:
            first = make_pong(next(numbers))
            pongs = [replace(first.pong, server=f"s{number}.example") for number in range(size)]
            return Batch(samples=[Sample(first.ping, pong, None) for pong in pongs])

        def make_writer(batches: int, size: int) -> Callable[[], None]:
            prepared = [[make_batch(size) for _ in range(batches)] for _ in range(TURNS)]

            def write() -> None:
                for batch in prepared.pop():
                    ingest.record(batch)

            return write

        yield Pair(
            "single durable commits / the peer's", make_writer(100, 1), lambda: theirs(100), 1 / 3
        )
        yield Pair(
            "a pong of a batch of 1,000 / the peer's",
            make_writer(3, 1000),
            lambda: theirs(30),
            1 / 100,
            ours_count=3000,
            theirs_count=30,
        )
        engine.dispose()
