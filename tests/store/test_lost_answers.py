"""A commit that was done and not answered: the worker tries again, and nothing counts twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import func, select

from pingboard.matrix.store_writer import Writer
from pingboard.model import Batch, Gap, Pending, Rejected, Rejection, VoidReason
from pingboard.store.engine import Engine
from pingboard.store.ingest import Ingest
from pingboard.store.schema import gap, pending, rejection, sample, void_round
from tests.samples import ROOM, START_TS, make_ping, make_pong, make_sample

BATCH = Batch(
    pings=[make_ping(1)],
    samples=[make_sample(1)],
    rejected=[
        Rejected(number, ROOM, "two.example", Rejection.LATE, START_TS) for number in range(3)
    ],
    pending=[Pending(make_pong(make_ping(2)), make_sample(2).provenance)],
    gaps=[Gap(ROOM, "position", None, START_TS, START_TS)],
    void_rounds=[("main", VoidReason.LIMITED)] * 2,
)


@contextmanager
def losing_answers(engine: Engine, times: int) -> Iterator[None]:
    """Let the connection break right after a commit, so many times."""
    commit, left = engine.dialect.do_commit, times

    def lose(connection: Any) -> None:
        nonlocal left
        commit(connection)
        if left:
            left -= 1
            raise engine.dialect.loaded_dbapi.OperationalError("the connection was closed")

    with patch.object(engine.dialect, "do_commit", lose):
        yield
    assert left == 0


@pytest.mark.parametrize("token", ["token", None])
async def test_a_batch_whose_commit_was_not_answered_counts_once(
    engine: Engine, token: str | None
) -> None:
    writer = Writer(engine, Ingest(engine, "account"))
    try:
        with losing_answers(engine, 2):
            await writer.record(BATCH, token)
        assert (await writer.saved_session()).next_batch == token
    finally:
        writer.close()
    assert read_counts(engine) == {"rejected": 3, "void": 2, "gaps": 1, "pending": 1, "samples": 1}


async def test_a_batch_that_says_the_same_as_the_last_is_another_one(engine: Engine) -> None:
    for _ in range(2):  # of the same account, as after a restart
        writer = Writer(engine, Ingest(engine, "account"))
        await writer.record(BATCH, "token")
        await writer.record(BATCH, "token")
        writer.close()
    assert read_counts(engine) == {"rejected": 3, "void": 8, "gaps": 4, "pending": 1, "samples": 1}


def read_counts(engine: Engine) -> dict[str, int]:
    counted = {
        "rejected": select(func.sum(rejection.c.count)),
        "void": select(func.sum(void_round.c.count)),
        "gaps": select(func.count()).select_from(gap),
        "pending": select(func.count()).select_from(pending),
        "samples": select(func.count()).select_from(sample),
    }
    with engine.connect() as connection:
        return {name: connection.execute(query).scalar_one() for name, query in counted.items()}
