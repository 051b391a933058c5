"""Abuse from the room: strange characters, names, sizes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from faults.case import case
from faults.chapters.storage import postgresql
from faults.claims import expect, now_ts, until
from faults.faultproxy import changed_json
from faults.outputs import names_by_output
from faults.scene import Scene
from faults.user import Event, make_event, pong

TEXTS = [
    "\u0000",
    "a\u0000b",
    "\u202eevil",
    "\u200f",
    "💥" * 1000,
    "\r\n",
    "'; DROP TABLE ping",
    "%s",
]
LONG = "x" * 50_000

GOOD_NAMES = ["[::1]:8448", "pc.koesters.xyz:6167", "1.2.3.4", "xn--bcher-kva.example", "A.EXAMPLE"]
BAD_NAMES = [
    "evil|name",
    "<svg onload=alert(1)>",
    "=cmd()",
    "\u0430pple.example",
    "[::1",
    ":99999",
    "a.example:99999",
    "a.example\n",
    "a.example\u0000",
    "",
]
LOCALPARTS = ["with space", "💥", "", "a/b", "'; DROP TABLE sample"]


@case(46, "NUL, right-to-left marks, 50 kB bodies, lone surrogates", "no crash, on SQLite")
async def strange_texts(scene: Scene) -> str:
    await scene.start()
    return f"{await _say_strange_things(scene)}, {await _say_surrogates(scene)}"


@case(46, "All of these on PostgreSQL", "no crash, nothing lost")
async def strange_on_postgresql(scene: Scene) -> str:
    async with postgresql(scene):
        await scene.start()
        return f"{await _say_strange_things(scene)}, {await _say_surrogates(scene)}"


async def _say_surrogates(scene: Scene) -> str:
    """Half a character in every place of a pong, in a ping, in an event's ID and its sender."""
    ping = await scene.here.ping(scene.room_id)
    lone = "\ud800"
    events = [
        _event(f"$lone{number}", f"@bot:{scene.here.server}", content)
        for number, content in enumerate(
            [
                pong(ping, lone, 5),
                pong(f"${lone}", scene.here.server, 5),
                {"msgtype": "m.text", "body": f"!ping {lone}"},
            ]
        )
    ]
    events.append(_event(f"$id{lone}", f"@bot:{scene.here.server}", pong(ping, "x", 5)))
    events.append(_event("$sender", f"@{lone}:{scene.here.server}", pong(ping, "x", 5)))
    await _add(scene, events)
    await scene.has_more(2, scene.within(30))
    return f"{len(events)} events"


async def _say_strange_things(scene: Scene) -> str:
    """Every strange text in every place of a pong, and in a ping."""
    ping = await scene.here.ping(scene.room_id)
    said = 0
    for text in [*TEXTS, LONG]:
        claims = [pong(ping, text, 5)] if len(text) < 1000 else []
        block = {"ms": 5, "from": scene.here.server, "ping": text[:100]}
        claims.append({"msgtype": "m.notice", "body": text, "pong": block})
        claims.append({"msgtype": "m.text", "body": f"!ping {text}"})
        for content in claims:
            await scene.here.send(scene.room_id, content)
            said += 1
    await scene.has_more(4, scene.within(30))
    return f"{said} messages"


@case(
    47,
    "Senders with every kind of server name",
    "the table of accept and reject; each output gives them back",
)
async def names(scene: Scene) -> str:
    await scene.start()
    ping = await scene.here.ping(scene.room_id)
    events = [
        _event(f"$name{number}", f"@bot:{name}", pong(ping, scene.here.server, 40))
        for number, name in enumerate([*GOOD_NAMES, *BAD_NAMES])
    ]
    scene.invented |= {(ping, name): 40 for name in GOOD_NAMES}
    await _add(scene, events)

    def all_good() -> bool:
        had = {sample.pong_server for sample in scene.samples()}
        return had >= set(GOOD_NAMES)

    await until(all_good, scene.within(20), "a good name is missing")
    rejected = scene.database.rejections().get(("", "invalid_server_name"), 0)
    expect(rejected == len(BAD_NAMES), f"{rejected} of {len(BAD_NAMES)} counted as rejected")
    outputs = await names_by_output(_copy(scene), GOOD_NAMES)
    for output, names in outputs.items():
        missing = set(GOOD_NAMES) - names
        expect(not missing, f"{output} does not give {missing} back")
    return f"{len(GOOD_NAMES)} accepted, {rejected} rejected, {len(outputs)} outputs parsed"


@case(
    48, "Localparts with spaces, emoji, nothing", "no crash, counted by their server", short=False
)
async def localparts(scene: Scene) -> str:
    await scene.start()
    events = []
    for number, localpart in enumerate(LOCALPARTS):
        ping = await scene.here.ping(scene.room_id)
        server = f"s{number}.example"
        content = pong(ping, scene.here.server, 41)
        events.append(_event(f"$local{number}", f"@{localpart}:{server}", content))
        scene.invented[ping, server] = 41
    await _add(scene, events)

    await until(
        lambda: scene.invented.keys() <= scene.stored().keys(),
        scene.within(20),
        "a pong was not counted",
    )
    return f"{len(events)} counted"


def _copy(scene: Scene) -> Path:
    """The database as it is, in a file of its own."""
    copy = scene.directory / "copy.db"
    file = scene.database.url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as destination:
        source.backup(destination)
    return copy


async def _add(scene: Scene, events: list[Event]) -> None:
    """Let the next sync that has something of the room carry these events too."""
    added = False

    def add(body: dict[str, Any]) -> None:
        nonlocal added
        room = body.get("rooms", {}).get("join", {}).get(scene.room_id)
        if room and not added:
            room["timeline"]["events"] += events
            added = True

    scene.proxy.inject("/sync", changed_json(add))
    await scene.exchange(1)

    await until(lambda: added, scene.within(40), "no sync of the room")


def _event(event_id: str, sender: str, content: Event) -> Event:
    return make_event(event_id, sender, content, now_ts())
