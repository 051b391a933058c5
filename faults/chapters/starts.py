"""Homeserver and network: what is away at the start, and an account or a room that refuses us."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from time import monotonic
from urllib.parse import quote, unquote

from faults.case import case
from faults.chapters.storage import postgresql
from faults.chapters.tokens import count_logins
from faults.claims import expect, until
from faults.faultproxy import answer, delayed, reset
from faults.scene import Scene

NOT_IN_TIME = b"<html>504 Gateway Time-out</html>"
ENCRYPTION = {"algorithm": "m.megolm.v1.aes-sha2"}

REFUSALS = {
    "M_FORBIDDEN": "its account may not send",
    "M_USER_LOCKED": "locked its account",
    "M_USER_SUSPENDED": "suspended its account",
    "M_RESOURCE_LIMIT_EXCEEDED": "reached a limit",
    "M_CONSENT_NOT_GIVEN": "has to agree to the homeserver",
}


@case(64, "Homeserver away at the start", "waits, says so once; up within 65 s of its return")
async def homeserver_away(scene: Scene) -> str:
    away_s = scene.long(8, 180)
    scene.proxy.inject("/", reset())
    await scene.worker.launch()
    await scene.expect_readiness("unreachable")
    await asyncio.sleep(away_s)
    scene.proxy.clear()
    seconds = await _is_up(scene, scene.within(65))
    lines = _lines(scene, "waiting_for=")
    expect(len(lines) == 2, f"{len(lines)} lines of waiting: {lines}")
    return f"away {away_s:g} s, pinged {seconds:.1f} s after"


@case(64, "Database away at the start", "waits, says so once; up within 65 s of its return")
async def database_away(scene: Scene) -> str:
    away_s = scene.long(8, 180)
    async with postgresql(scene):
        socket = Path(unquote(scene.database.url.rpartition("host=")[2])) / ".s.PGSQL.5432"
        away = socket.with_name("away")
        socket.rename(away)
        await scene.worker.launch()

        await until(
            lambda: "waiting for it" in scene.worker.log,
            scene.within(20),
            "it does not say that it waits",
        )
        await asyncio.sleep(away_s)
        expect(scene.worker.is_running, f"it has ended: {scene.worker.log[-300:]}")
        away.rename(socket)
        seconds = await _is_up(scene, scene.within(65))
        lines = _lines(scene, "pingboard: ")
        expect(len(lines) == 2, f"{len(lines)} lines of waiting: {lines}")
    return f"away {away_s:g} s, pinged {seconds:.1f} s after"


@case(
    64,
    "Homeserver, database and worker started in random order, as after a reboot",
    "up within 65 s of the last, each time",
    alone=True,
)
async def rebooted(scene: Scene) -> str:
    reboots, pause_s = int(scene.long(1, 20)), scene.long(1, 15)
    homeserver = scene.homeservers[0]
    slowest_s, orders = 0.0, set()
    async with postgresql(scene) as server:
        await scene.start()
        await scene.has_more(1, scene.within(20))
        starts = {"h": homeserver.start, "d": server.start, "w": scene.worker.launch}
        for _ in range(reboots):
            await asyncio.gather(scene.worker.kill(), server.stop(), homeserver.kill())
            order = random.sample(sorted(starts), len(starts))
            for name in order:
                await starts[name]()
                await asyncio.sleep(random.uniform(0, pause_s))
            slowest_s = max(slowest_s, await _is_up(scene, scene.within(65)))
            orders.add("".join(order))
        expect("Traceback" not in scene.worker.log, "a traceback in the log")
    return f"{reboots} reboots in {len(orders)} orders, pinged {slowest_s:.1f} s after the slowest"


@case(65, "A join that takes long", "joined, nothing ends", short=False)
async def slow_join(scene: Scene) -> str:
    join_s = 180
    scene.proxy.inject("/join/", delayed(join_s))
    await scene.worker.launch()
    seconds = await _is_up(scene, join_s + scene.within(20))
    return f"{join_s:g} s, pinged after {seconds:.1f} s"


@case(65, "A join that fails once", "tried again")
async def failing_join(scene: Scene) -> str:
    fault = scene.proxy.inject("/join/", answer(504, NOT_IN_TIME), times=1)
    await scene.worker.launch()
    seconds = await _is_up(scene, scene.within(20))
    expect(fault.hits == 1, "no join met it")
    return f"pinged after {seconds:.1f} s"


@case(
    65,
    "The room is not there at the start",
    "waits, says so once; up within 65 s of its making",
    short=False,
)
async def room_away(scene: Scene) -> str:
    away_s = scene.long(8, 180)
    alias = f"#{scene.alias_localpart}-later:{scene.here.server}"
    scene.worker = scene.make_worker(changes={"ROOMS": alias})
    await scene.worker.launch()
    await scene.expect_readiness("joining")
    await asyncio.sleep(away_s)
    room_id, _ = await scene.make_room("later")
    scene.rooms.append(room_id)
    seconds = await _is_up(scene, scene.within(65))
    lines = _lines(scene, "waiting_for=")
    # Between its making and its opening it is not the alias that is unknown: a third line.
    expect(2 <= len(lines) <= 3, f"{len(lines)} lines of waiting: {lines}")
    return f"away {away_s:g} s, pinged {seconds:.1f} s after"


@case(65, "One room of two bans us", "the other is pinged; joined within 65 s of the pardon")
async def banned_from_one(scene: Scene) -> str:
    second, alias = await scene.make_room("second")
    subject = {"user_id": scene.account.user_id}
    await scene.stage.owner.call("POST", f"rooms/{quote(second)}/ban", subject)
    await scene.start(ROOMS=f"{alias} {scene.alias}")
    await scene.has_more(2, scene.within(20))
    await scene.expect_readiness("ready")
    await scene.stage.owner.call("POST", f"rooms/{quote(second)}/unban", subject)
    begin = monotonic()

    await until(
        lambda: bool(scene.database.samples(second)),
        scene.within(65),
        "the second room is not pinged",
    )
    return f"pinged {monotonic() - begin:.1f} s after the pardon"


@case(65, "An upgrade whose join fails once", "followed within 125 s", short=False)
async def failing_upgrade(scene: Scene) -> str:
    await scene.start()
    await scene.has_more(1, scene.within(20))
    fault = scene.proxy.inject("/join/", answer(504, NOT_IN_TIME), times=1)
    successor = await scene.upgrade()
    begin = monotonic()

    await until(
        lambda: len(scene.database.samples(successor)) >= 2, scene.within(125), "not followed"
    )
    expect(fault.hits == 1, "no join met it")
    return f"followed after {monotonic() - begin:.1f} s"


@case(68, "A token that has ended, with a password", "one login, kept over a restart")
async def renewed_token(scene: Scene) -> str:
    changes = {"ACCESS_TOKEN": "syt_ended", "PASSWORD": scene.account.account.password}
    for _ in range(2):
        await scene.start(**changes)
        await scene.has_more(1, scene.within(20))
        await scene.worker.terminate()
    logins = count_logins(scene)
    expect(logins == 1, f"{logins} logins")
    return "1 login, 2 starts"


@case(70, "Each refusal of a send", "/readyz says which, nothing ends")
async def refused_sends(scene: Scene) -> str:
    refusals = list(REFUSALS.items())[: int(scene.long(2, len(REFUSALS)))]
    for errcode, words in refusals:
        fault = scene.proxy.inject("/send/", answer(403, {"errcode": errcode, "error": "no"}))
        begin = monotonic()
        await scene.start()
        await scene.expect_readiness("room", words)
        # A locked account is tried again after each sync that is answered.
        most = scene.proxy.count("sync", begin) if errcode == "M_USER_LOCKED" else 1
        expect(1 <= fault.hits <= most, f"{errcode}: tried {fault.hits} times")
        scene.proxy.clear()
        await scene.worker.terminate()
    return f"{len(refusals)} refusals, each said"


@case(70, "The account is locked while the worker runs", "/readyz says so, until it is unlocked")
async def locked_account(scene: Scene) -> str:
    await scene.start()
    await scene.has_more(1, scene.within(20))
    locked = {"errcode": "M_USER_LOCKED", "error": "locked", "soft_logout": True}
    refused = scene.proxy.inject("/send/", answer(401, locked))

    await scene.has_met(refused)
    scene.proxy.inject("/", answer(401, locked))
    # What the proxy holds open knows nothing of it.
    await scene.there.ping(scene.room_id)
    await scene.expect_readiness("locked")
    scene.proxy.clear()
    await scene.expect_readiness("ready")
    return "locked, then ready"


@case(71, "An encrypted room", "one line, /readyz says so, nothing in the clear", short=False)
async def encrypted(scene: Scene) -> str:
    await scene.stage.owner.set_state(scene.room_id, "m.room.encryption", ENCRYPTION)
    await scene.start()
    await scene.expect_readiness("room", "encrypted")
    await asyncio.sleep(30)
    await _expect_clear_of(scene)
    return "1 line, no send"


@case(71, "A room that becomes encrypted", "one line, /readyz says so, nothing in the clear")
async def becoming_encrypted(scene: Scene) -> str:
    await scene.start()
    await scene.has_more(1, scene.within(20))
    await scene.stage.owner.set_state(scene.room_id, "m.room.encryption", ENCRYPTION)
    await scene.expect_readiness("room", "encrypted")
    before = scene.proxy.count("send")
    await asyncio.sleep(scene.long(3, 30))
    expect(scene.proxy.count("send") == before, "something was sent in the clear")
    lines = _lines(scene, "encrypted")
    expect(len(lines) == 1, f"{len(lines)} lines")
    return "1 line, no further send"


@case(71, "An encrypted room, for the echo bot", "one line, nothing in the clear, ends with code 1")
async def encrypted_echo(scene: Scene) -> str:
    await scene.stage.owner.set_state(scene.room_id, "m.room.encryption", ENCRYPTION)
    scene.worker = scene.make_worker(("pingboard", "echo"), "echo")
    scene.heals, scene.end_codes = False, frozenset({1})
    await scene.worker.launch()
    await scene.there.ping(scene.room_id)
    code = await scene.worker.end(scene.within(20))
    expect(code == 1, f"ended with code {code}")
    await _expect_clear_of(scene)
    return "1 line, no send"


async def _is_up(scene: Scene, within_s: float) -> float:
    """Wait until the worker listens and has a sample; the seconds that it took."""
    begin = monotonic()
    await until(scene.worker.is_ready, within_s, "it does not listen")
    await scene.has_more(1, scene.within(20))
    return monotonic() - begin


async def _expect_clear_of(scene: Scene) -> None:
    expect(scene.proxy.count("send") == 0, "something was sent in the clear")
    lines = _lines(scene, "encrypted")
    expect(len(lines) == 1, f"{len(lines)} lines: {lines[:2]}")


def _lines(scene: Scene, words: str) -> list[str]:
    """The lines of its log with these words, but those for who looks for faults in pingboard."""
    lines = scene.worker.log.splitlines()
    return [line for line in lines if words in line and "level=debug" not in line]
