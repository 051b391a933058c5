"""The worker in a real room: what it expects, and what is lost."""

from __future__ import annotations

from datetime import timedelta

from pingboard.lab import Lab
from pingboard.store.engine import Engine
from pingboard.store.tables import (
    sample,
    unanswered,
    worker,
)
from tests.matrix.listening import count, listening, rows
from tests.matrix.room_client import until


async def test_a_server_that_answered_before_is_expected_to_answer_again(
    lab: Lab, engine: Engine
) -> None:
    account = await lab.register(lab.homeservers[0], "expecting")
    second = {"interval": timedelta(seconds=1), "backfill": timedelta(0)}
    hs2 = lab.homeservers[1].name
    try:
        async with listening(lab, engine, account, [lab.room_alias], **second):
            await until(lambda: count(engine, sample) >= 6)
            lab.network.hold(hs2, lab.homeservers[0].name)

            def missing() -> int:
                return count(engine, unanswered)

            await until(lambda: missing() >= 2)
            lab.network.release(hs2, lab.homeservers[0].name)
            held = missing()
            await until(lambda: missing() < held)
    finally:
        lab.network.release(hs2, lab.homeservers[0].name)
    assert rows(engine, worker.c.vantage, worker.c.state) == [("test", "stopped")]
