"""The list of rooms."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest

from pingboard.model import RoomState, WorkerState, to_ts, write_instant
from pingboard.store.engine import Engine
from pingboard.store.ingest import Ingest
from pingboard.store.rooms import record_room_state
from pingboard.store.status import record_worker
from tests.web.site import ALIAS, NOW, ROOM, serve


def test_a_room_without_pongs_is_listed_too(store: Engine) -> None:
    with serve(store) as client:
        rooms = client.get("/api/v1/rooms").json()["rooms"]
    assert rooms == [
        {
            "room": {"id": ROOM, "alias": ALIAS},
            "state": "joined",
            "predecessor_room_id": None,
            "sample_count": 0,
            "last_pong_at": None,
        }
    ]


def test_an_upgraded_room_is_named_by_its_successor(store: Engine) -> None:
    Ingest(store, "test").record_room("!new", ALIAS, ROOM)
    with serve(store) as client:
        rooms = {room["room"]["id"]: room for room in client.get("/api/v1/rooms").json()["rooms"]}
    assert (rooms["!new"]["room"]["alias"], rooms["!new"]["predecessor_room_id"]) == (ALIAS, ROOM)
    assert (rooms[ROOM]["room"]["alias"], rooms[ROOM]["state"]) == (None, "upgraded")


@pytest.mark.parametrize("state", RoomState)
def test_a_room_is_listed_whatever_keeps_the_worker_from_measuring_in_it(
    store: Engine, state: RoomState
) -> None:
    record_room_state(store, ROOM, state)
    with serve(store) as client:
        [room] = client.get("/api/v1/rooms").json()["rooms"]
    assert room["state"] == state


@pytest.mark.parametrize(
    ("ago", "is_stale"), [(timedelta(minutes=1), False), (timedelta(hours=1), True)]
)
def test_with_the_worker_dead_all_is_served_and_called_stale(
    store: Engine, ago: timedelta, is_stale: bool
) -> None:
    synced_ts = to_ts(NOW - ago)
    record_worker(store, "main", WorkerState.RUNNING, synced_ts, synced_ts)
    with serve(store) as client:
        answer = client.get("/api/v1/rooms").json()
        assert client.get("/api/v1/rankings").status_code == 200
    assert answer["is_stale"] is is_stale
    assert answer["last_sync_at"] == write_instant(NOW - ago)


def test_the_room_list_takes_no_room(site: httpx.Client) -> None:
    answer = site.get("/api/v1/rooms", params={"room": ROOM})
    assert answer.status_code == 422
    assert answer.json()["detail"] == "room: unknown parameter; known: limit, cursor"
