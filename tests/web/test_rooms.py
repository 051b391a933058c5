"""The list of rooms."""

from __future__ import annotations

import httpx

from pingboard.store.engine import Engine
from tests.web.site import ALIAS, ROOM, serve


def test_the_answer_is_the_example_of_the_description(site: httpx.Client) -> None:
    schemas = site.get("/openapi.json").json()["components"]["schemas"]
    assert site.get("/api/v1/rooms").json() == schemas["Rooms"]["examples"][0]


def test_a_room_without_pongs_is_listed_too(store: Engine) -> None:
    with serve(store) as client:
        rooms = client.get("/api/v1/rooms").json()["rooms"]
    assert rooms == [{"id": ROOM, "alias": ALIAS, "samples": 0, "last_pong_at": None}]


def test_it_takes_no_parameter(site: httpx.Client) -> None:
    answer = site.get("/api/v1/rooms", params={"room": ROOM})
    assert answer.status_code == 422
    assert answer.json()["detail"] == "room: unknown parameter; this path takes none"
