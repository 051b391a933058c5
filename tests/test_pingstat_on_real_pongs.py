"""pingstat's numbers on real pongs: of real echo bots, in a real room."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import httpx

from pingboard.lab import Lab
from tests import pingstat
from tests.commands import account_settings, running, until_it_answers

BODY = re.compile(r'@.+:.+: Pong! \(ping (".+" )?took .+ to arrive\)')
"""What pingstat counts (/method: "Same numbers as pingstat?")."""


def as_pingstat_hears(events: list[dict[str, Any]], room_id: str) -> list[dict[str, Any]]:
    """The rows that pingstat would have kept of a room's events, oldest first."""
    return [
        {
            "room_id": room_id,
            "ping_id": event["content"]["pong"]["ping"],
            "pong_server": event["sender"].partition(":")[2],
            "ping_server": event["content"]["pong"]["from"],
            "receive_diff": event["content"]["pong"]["ms"],
            "pong_timestamp": event["origin_server_ts"],
        }
        for event in events
        if event["type"] == "m.room.message"
        and BODY.fullmatch(event["content"].get("body", ""))
        and "pong" in event["content"]
    ]


async def test_real_pongs_give_pingstats_numbers(lab: Lab, free_port: int, tmp_path: Path) -> None:
    account = await lab.register(lab.homeservers[0], "statistician")
    settings = account_settings(account, lab.room_alias) | {
        "INTERVAL": "1s",
        "PORT": str(free_port),
    }
    path = f"_matrix/maubot/plugin/pingstat/{lab.room_id}"
    rows_url = f"http://127.0.0.1:{free_port}/{path}/stats.raw.json"
    async with httpx.AsyncClient(timeout=120) as client:
        async with running("run", settings, tmp_path):
            heard = (await until_it_answers(rows_url)).json()
            async with asyncio.timeout(240):
                while len(heard) < 12:
                    await asyncio.sleep(0.5)
                    heard = (await client.get(rows_url)).json()
        async with running("serve", {"PORT": str(free_port)}, tmp_path):
            raw = (await until_it_answers(rows_url)).json()
            document = (await client.get(rows_url.replace(".raw", ""))).json()
        url = f"{account.homeserver_url}/_matrix/client/v3/rooms/{lab.room_id}/messages"
        headers = {"Authorization": f"Bearer {account.access_token}"}
        page = await client.get(url, params={"dir": "b", "limit": "1000"}, headers=headers)

    kept = {(row["ping_id"], row["pong_server"]) for row in raw}
    # Of two bots of one homeserver, the first answer counts.
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for row in as_pingstat_hears(page.json()["chunk"][::-1], lab.room_id):
        first.setdefault((row["ping_id"], row["pong_server"]), row)
    rows = [row for key, row in first.items() if key in kept]
    assert len(rows) == len(raw) >= 12
    expected = pingstat.stats(rows, time.time_ns() // 1_000_000)
    document.pop("disclaimer")
    for server in (document, expected):
        for ping_server in server["pings"].values():
            ping_server["pings"] = sorted(ping_server["pings"])
    assert document == expected
    medians = [ping_server["median"] for ping_server in document["pings"].values()]
    assert medians == sorted(medians)
    assert [type(median) for median in medians] == [
        type(ping_server["median"]) for ping_server in expected["pings"].values()
    ]
