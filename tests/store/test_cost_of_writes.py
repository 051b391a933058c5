"""What a write costs does not grow with what was heard before."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event, func, select

from pingboard.model import Batch, Sample
from pingboard.store.engine import Engine
from pingboard.store.hours import close_hours
from pingboard.store.ingest import Ingest
from pingboard.store.schema import ping, sample
from tests.samples import ROOM, START_TS, make_ping, make_pong

DAY_MS = 86_400_000


@contextmanager
def writes_recorded(engine: Engine) -> Iterator[list[str]]:
    """The statements of the transactions that write; reads before them are left out."""
    statements: list[str] = []
    current: list[str] = []

    def begin(_connection: Any) -> None:
        current.clear()

    def execute(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        current.append(statement)

    def commit(_connection: Any) -> None:
        if any(re.match(r"\s*(INSERT|UPDATE|DELETE)", statement) for statement in current):
            statements.extend(current)
        current.clear()

    listeners: dict[str, Callable[..., None]] = {
        "begin": begin,
        "before_cursor_execute": execute,
        "commit": commit,
    }
    for name, listener in listeners.items():
        event.listen(engine, name, listener)
    yield statements
    for name, listener in listeners.items():
        event.remove(engine, name, listener)


def test_a_redaction_of_an_old_pong_writes_the_same_after_any_history(engine: Engine) -> None:
    ingest = Ingest(engine, "test")
    written = []
    for hours in (range(2, 5), range(5, 120)):
        samples = [
            Sample(ping, make_pong(ping), None)
            for ping in (make_ping(3600 * hour) for hour in hours)
        ]
        ingest.record(Batch(samples=samples))
        close_hours(engine, START_TS + 30 * DAY_MS)
        with writes_recorded(engine) as statements:
            ingest.record(Batch(redacted=[(ROOM, samples[1].pong.event_id)]))
        written.append([*statements])
        with engine.connect() as connection:
            counted = select(func.count()).select_from(sample)
            assert connection.execute(counted).scalar_one() == 0
        close_hours(engine, START_TS + 30 * DAY_MS)
    assert 0 < len(written[0]) == len(written[1])
    for statement in written[1]:
        reads_blobs = re.search(r"\b(cold|hot)\b", statement) and "SELECT" in statement
        assert not reads_blobs or "hour = " in statement or "hour.hour = " in statement, statement


def test_a_ping_takes_one_id_however_many_syncs_name_it(engine: Engine) -> None:
    ingest = Ingest(engine, "test")
    pings = [make_ping(number) for number in range(30)]
    for sync in range(20):
        servers = [f"s{sync}-{number}.example" for number in range(4)]
        samples = [
            Sample(ping, make_pong(ping, server), None) for ping in pings for server in servers
        ]
        ingest.record(Batch(pings=pings, samples=samples))
    with engine.connect() as connection:
        assert connection.execute(select(func.max(ping.c.id))).scalar_one() == 30
