"""The main job on real homeservers: a ping in a real room becomes a rank on a real page."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from faults.claims import until
from pingboard.lab import Lab
from tests.commands import account_settings, end_of, running, start

ROUND_TRIP_DELAY_S = 0.3
TIMEOUT_S = 480


@pytest.fixture
async def client(free_port: int) -> Any:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{free_port}", timeout=60) as client:
        yield client


async def standings(client: httpx.AsyncClient, board: str, samples: int) -> list[dict[str, Any]]:
    """The standings of a board once each of two servers has so many samples; else none."""
    try:
        answer = await client.get("/api/v1/rankings", params={"board": board})
    except httpx.TransportError:
        return []
    rows: list[dict[str, Any]] = answer.json().get("standings", [])
    enough = len(rows) == 2 and all(row["sample_count"] >= samples for row in rows)
    return rows if enough else []


async def test_a_ping_in_a_real_room_becomes_a_rank(
    lab: Lab, client: httpx.AsyncClient, free_port: int, tmp_path: Path
) -> None:
    first, second = lab.homeservers
    account = await lab.register(first, "worker")
    settings = account_settings(account, lab.room_alias)
    settings |= {"INTERVAL": "1s", "PORT": str(free_port)}
    lab.network.delay(second.name, ROUND_TRIP_DELAY_S / 2)
    try:
        async with running("run", settings, tmp_path):
            response = await until(lambda: standings(client, "response", 3), TIMEOUT_S)
            reception = await standings(client, "reception", 3)
            table = (await client.get("/rankings.md")).text
            rooms = (await client.get("/api/v1/rooms")).json()
            page = (await client.get("/")).text
    finally:
        lab.network.delay(second.name, 0)

    assert [row["homeserver"] for row in response] == [first.server_name, second.server_name]
    assert response[1]["median_ms"] >= ROUND_TRIP_DELAY_S * 1000
    assert [row["homeserver"] for row in reception] == [first.server_name, second.server_name]
    assert reception[1]["median_ms"] >= ROUND_TRIP_DELAY_S * 1000 / 2
    lines = table.splitlines()
    assert lines[:2] == ["|Rank|Hostname|Median MS|", "|:---:|:---:|:---:|"]
    assert [line.split("|")[1:3] for line in lines[2:]] == [
        ["1", first.server_name],
        ["2", second.server_name],
    ]
    assert lab.room_alias in str(rooms)
    assert second.server_name in page


async def test_everybodys_pings_count_not_only_ours(
    lab: Lab, client: httpx.AsyncClient, free_port: int, tmp_path: Path
) -> None:
    here, there = [await lab.register(homeserver, "everybody") for homeserver in lab.homeservers]
    quick = {"INTERVAL": "1s"}
    settings = account_settings(here, lab.room_alias) | quick | {"PORT": str(free_port)}
    (tmp_path / "other").mkdir()
    async with (
        running("run", settings, tmp_path),
        running("worker", account_settings(there, lab.room_alias) | quick, tmp_path / "other"),
    ):
        delivery = await until(lambda: standings(client, "delivery", 4), TIMEOUT_S)
        response = await standings(client, "response", 1)
    assert {row["homeserver"] for row in delivery} == {
        homeserver.server_name for homeserver in lab.homeservers
    }
    assert sum(row["sample_count"] for row in response) < sum(
        row["sample_count"] for row in delivery
    )


async def test_a_restart_goes_on_where_it_stopped_and_counts_nothing_twice(
    lab: Lab, client: httpx.AsyncClient, free_port: int, tmp_path: Path
) -> None:
    account = await lab.register(lab.homeservers[0], "restarted")
    settings = account_settings(account, lab.room_alias)
    settings |= {"INTERVAL": "1s", "PORT": str(free_port)}
    async with running("run", settings, tmp_path):
        await until(lambda: _samples(client, 4), TIMEOUT_S)
    async with running("serve", {"PORT": str(free_port)}, tmp_path):
        before = await until(lambda: _samples(client, 4), TIMEOUT_S)
        known = await _read_keys(client)
    async with running("run", settings | {"INTERVAL": "1h"}, tmp_path):
        # Two pongs to the ping of the start, and maybe some to pings that were on their way.
        await until(lambda: _samples(client, before + 2), TIMEOUT_S)
        keys = await _read_keys(client)
    assert len(keys) == len(set(keys))
    assert set(known) <= set(keys)


async def _read_keys(client: httpx.AsyncClient) -> list[tuple[str, str]]:
    samples = (await client.get("/api/v1/samples")).json()["samples"]
    return [(sample["ping_event_id"], sample["pong_server"]) for sample in samples]


async def _samples(client: httpx.AsyncClient, at_least: int) -> int:
    try:
        rooms = (await client.get("/api/v1/rooms")).json()["rooms"]
    except httpx.TransportError:
        return 0
    samples = sum(room["sample_count"] for room in rooms)
    return samples if samples >= at_least else 0


async def test_with_nothing_configured_run_brings_its_own_network(
    client: httpx.AsyncClient, free_port: int, tmp_path: Path
) -> None:
    process = await start("run", {"PORT": str(free_port)}, tmp_path)
    try:

        async def ranked() -> list[str]:
            try:
                # Not by round trip: on a busy machine most of our own pings are void.
                table = (await client.get("/rankings.md?board=reception")).text
            except httpx.TransportError:
                return []
            rows = table.splitlines()[2:]
            return rows if len(rows) >= 3 else []

        assert await until(ranked, TIMEOUT_S)
    finally:
        process.send_signal(signal.SIGINT)
        ended = await end_of(process)
    assert ended.code == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert f"pingboard is at http://127.0.0.1:{free_port}/" in ended.stderr
