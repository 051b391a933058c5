"""Receiving: from a raw sync response to the commit

The body of a sync response with 1,000 verified pongs (to 10 pings, from 100 servers) goes the whole
way: parsed by matrix-nio, read, judged against its ping, committed to SQLite with the sync token.
It is measured against the part of matrix-nio alone, JSON and its own validation; the rest of the
ratio is ours. 5,000 pongs a second are 0.2 s for each of ours.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nio import SyncResponse

from bench.pairs import Pair
from pingboard.matrix.pings import SentPings
from pingboard.matrix.pongs import PongMatcher
from pingboard.store.engine import migrate, open_engine
from pingboard.store.ingest import Ingest

ROOM = "!ping:one.example"
PINGS = 10
SERVERS = 100
MAX_RUNS = 20
"""More than the runner repeats; each takes a body of its own."""

START_TS = 1_780_000_000_000


def pairs(_quick: bool) -> Iterator[Pair]:
    """The figure; the same with `quick`."""
    folder = Path(tempfile.mkdtemp(prefix="pingboard-bench-"))
    engine = open_engine(f"sqlite:///{folder}/pingboard.db")
    migrate(engine)
    ingest = Ingest(engine, "bench")
    pongs = PongMatcher("@us:one.example", "bench", SentPings())
    # A new body each time: the same pongs again would not be samples.
    prepared = [_body(number) for number in range(MAX_RUNS)]
    body = prepared[0]

    def receive() -> None:
        response = _parse(prepared.pop())
        events = [event.source for event in response.rooms.join[ROOM].timeline.events]
        batch = pongs.judge(pongs.read_live(events, ROOM, 0, START_TS))
        ingest.record(batch, response.next_batch)

    yield Pair(
        f"receive {PINGS * SERVERS:,} pongs up to the commit / parse them with matrix-nio",
        receive,
        lambda: _parse(body),
        target=1.6,
    )


def _parse(body: bytes) -> SyncResponse:
    response = SyncResponse.from_dict(json.loads(body))
    assert isinstance(response, SyncResponse)
    return response


def _body(number: int) -> bytes:
    pings = [f"$ping{number}-{each}" for each in range(PINGS)]
    events = [_event(ping, 0, {"msgtype": "m.text", "body": "!ping abc"}) for ping in pings]
    events += [_pong(ping, server) for ping in pings for server in range(SERVERS)]
    room = {
        "timeline": {"events": events, "limited": False, "prev_batch": "p"},
        "state": {"events": []},
        "ephemeral": {"events": []},
        "account_data": {"events": []},
    }
    rooms = {"join": {ROOM: room}, "invite": {}, "leave": {}}
    answer = {"next_batch": f"s{number}", "rooms": rooms, "device_one_time_keys_count": {}}
    return json.dumps(answer).encode()


def _pong(ping: str, server: int) -> dict[str, Any]:
    claim = {"ms": 100 + server, "from": "server0.example"}
    content = {
        "msgtype": "m.notice",
        "body": "@a:server0.example: Pong! (ping took 213 ms to arrive)",
        "pong": {**claim, "ping": ping},
        "m.relates_to": {"rel_type": "xyz.maubot.pong", "event_id": ping, **claim},
    }
    return _event(f"$pong-{ping[1:]}-{server}", server, content)


def _event(event_id: str, server: int, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "m.room.message",
        "event_id": event_id,
        "sender": f"@bot:server{server}.example",
        "origin_server_ts": START_TS,
        "content": content,
    }
