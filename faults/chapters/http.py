"""HTTP: what a site does with absurd, endless and hostile requests, and without its worker."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack, closing, suppress
from socket import create_connection
from statistics import median
from urllib.parse import quote
from xml.etree import ElementTree

from faults.case import case
from faults.claims import expect, until
from faults.invariants import USER_ID
from faults.scene import Scene
from faults.site import Site, open_site

ABSURD = [
    ("/api/v1/rankings?window=1y", "window"),
    ("/api/v1/rankings?board=%00", "board"),
    ("/api/v1/rankings?limit=0", "limit"),
    ("/api/v1/rankings?limit=" + "9" * 4000, "limit"),
    ("/api/v1/rankings?min_samples=-1", "min_samples"),
    ("/api/v1/rankings?min_samples=NaN", "min_samples"),
    ("/api/v1/rankings?from=yesterday", "from"),
    ("/api/v1/rankings?from=0001-01-01T00:00:00Z", "from"),
    ("/api/v1/rankings?to=9999-12-31T23:59:59Z", "to"),
    ("/api/v1/rankings?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from"),
    ("/api/v1/rankings?from=1990-01-01T00:00:00Z", "from"),
    ("/api/v1/rankings?room=" + "x" * 10_000, "room"),
    ("/api/v1/rankings?wndow=7d", "wndow"),
    ("/api/v1/samples?cursor=%F0%9F%92%A9", "cursor"),
    ("/api/v1/samples?cursor=WzEsMV0", "cursor"),
    ("/api/v1/samples?format=xml", "format"),
    ("/api/v1/matrix?ping_server=" + "a" * 300, "ping_server"),
    ("/api/v1/matrix?limit=1e9", "limit"),
    ("/api/v1/homeservers/" + "n" * 300, "name"),
    ("/badge/x.svg?label=" + "y" * 5000, "label"),
    ("/section.md?style=baroque", "style"),
    ("/section.md?" + "&".join(["room=%23a:b"] * 50), "room"),
]
"""Addresses, and the parameter that the problem has to name."""

HOSTILE = ["<svg onload=alert(1)>", "=cmd()", "a|b", "\u0430dmin", "[::1", ":99999", "x\n", "a\0b"]
ADDRESS = "203.0.113.77"


@case(51, "Absurd parameters", "4xx within 50 ms that names the parameter", short=False)
async def absurd(scene: Scene) -> str:
    async with open_site(scene) as site:
        seconds = [await _refusal(site, *request) for request in ABSURD]
    usual_ms, slowest_ms = median(seconds) * 1000, max(seconds) * 1000
    expect(slowest_ms <= scene.within(50), f"one took {slowest_ms:.0f} ms")
    return f"{len(seconds)} addresses; median {usual_ms:.1f} ms, slowest {slowest_ms:.1f} ms"


async def _refusal(site: Site, address: str, parameter: str) -> float:
    """Seconds that a refusal takes: the best of five, for other programs run here too."""
    replies = [await site.get(address) for _ in range(5)]
    reply, what = replies[0], address[:60]
    expect(400 <= reply.status < 500, f"{reply.status} for {what}")
    expect(reply.headers["content-type"] == "application/problem+json", f"no problem for {what}")
    named = [error["loc"][-1] for error in json.loads(reply.text).get("errors", [])]
    expect(parameter in named, f"{named} named for {what}")
    return min(reply.seconds for reply in replies)


@case(52, "100,000 different query strings", "memory grows by at most 100 MiB", short=False)
async def many_queries(scene: Scene) -> str:
    count = 100_000
    async with open_site(scene) as site:
        addresses = iter([_make_address(number) for number in range(count)])
        for _ in range(30):
            await site.get("/api/v1/rankings")
        before = site.memory_mib()

        async def ask() -> None:
            for address, status in addresses:
                reply = await site.get(address)
                expect(reply.status == status, f"{reply.status} for {address}")

        async with asyncio.TaskGroup() as clients:
            for _ in range(8):
                clients.create_task(ask())
        grown = site.memory_mib() - before
    expect(grown <= 100, f"grew by {grown:.0f} MiB")
    return f"{count} answered, memory grew by {grown:.0f} MiB"


def _make_address(number: int) -> tuple[str, int]:
    """An address that nobody asked for before, and the status of its answer."""
    kinds = [
        (f"/api/v1/rankings?min_samples={number + 1}", 200),
        (f"/badge/hs{number}.example.svg", 200),
        (f"/api/v1/rankings?room=%23x{number}:y", 404),
        (f"/api/v1/rankings?x{number}=1", 422),
        (f"/nowhere/{number}", 404),
    ]
    return kinds[number % len(kinds)]


@case(53, "1,000 idle connections", "/healthz and the board answer", short=False)
async def idle_connections(scene: Scene) -> str:
    async with open_site(scene) as site:

        async def is_ready() -> bool:
            return (await site.get("/readyz")).status == 200

        await until(is_ready, scene.within(30), "not ready before the connections")
        with ExitStack() as idle:
            for _ in range(1000):
                idle.enter_context(create_connection(("127.0.0.1", site.port)))
            replies = [await site.get(path) for path in ("/healthz", "/rankings.md", "/readyz")]
    codes = [reply.status for reply in replies]
    expect(codes == [200] * 3, f"answered {codes}: {replies[-1].text}")
    return f"answered within {max(reply.seconds for reply in replies) * 1000:.0f} ms"


@case(
    76,
    "Silent connections, endless heads, two Host lines, 3,000 parameters, pages abandoned",
    "refused or closed; others answered within 1 s, memory grows by at most 150 MiB",
)
async def hostile_clients(scene: Scene) -> str:
    async with open_site(scene) as site:
        await site.get("/")
        before, slowest_s = site.memory_mib(), 0.0
        with ExitStack() as held:
            for number in range(int(scene.long(200, 2000))):
                connection = held.enter_context(create_connection(("127.0.0.1", site.port)))
                if number % 10 == 0:  # a page that nobody waits for
                    connection.sendall(_write_head(f"/?window=30d&min_samples={number + 1}"))
                    connection.close()
            for refusal, head in REFUSED.items():
                answer = await asyncio.to_thread(_send_raw, site.port, head)
                # Of what is cut off in the middle the answer may be lost.
                is_refused = answer.startswith(b"HTTP/1.1 %d " % refusal) or not answer
                expect(is_refused, f"{answer[:60]!r}")
                expect(len(answer) < 20_000, f"{len(answer)} bytes")
            for path in ("/healthz", "/rankings.md", "/api/v1/rankings"):
                reply = await site.get(path)
                expect(reply.status == 200, f"{reply.status} for {path}")
                slowest_s = max(slowest_s, reply.seconds)
        grown = site.memory_mib() - before
    expect(slowest_s <= scene.within(1), f"answered after {slowest_s:.1f} s")
    expect(grown <= 150, f"grew by {grown:.0f} MiB")
    return f"answered within {slowest_s * 1000:.0f} ms, memory grew by {max(grown, 0):.0f} MiB"


def _write_head(target: str, *headers: str) -> bytes:
    lines = [f"GET {target} HTTP/1.1", "Host: one.example", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


REFUSED = {
    400: _write_head("/feed.atom", "Host: evil.example"),
    431: _write_head("/healthz", "X: " + "a" * 10_000_000),
    422: _write_head("/api/v1/rankings?" + "&".join(f"p{number}" for number in range(3000))),
}
"""Heads, by the status of their answer."""


def _send_raw(port: int, head: bytes) -> bytes:
    """What comes back before the connection is closed, or cut."""
    answer = b""
    with create_connection(("127.0.0.1", port), timeout=60) as connection, suppress(OSError):
        with suppress(OSError):  # refused before all of it was sent
            connection.sendall(head)
        while part := connection.recv(65536):
            answer += part
    return answer


@case(54, "Badge of an unknown or hostile name", "valid SVG, no script", short=False)
async def hostile_badges(scene: Scene) -> str:
    async with open_site(scene) as site:
        for name in ("unknown.example", *HOSTILE):
            reply = await site.get(f"/badge/{quote(name, safe='')}.svg")
            expect(reply.status == 200, f"{reply.status} for {name!r}")
            policy = reply.headers["content-security-policy"]
            expect("default-src 'none'" in policy, f"no policy for {name!r}")
            for element in ElementTree.fromstring(reply.text).iter():
                kind = element.tag.rpartition("}")[2]
                expect(kind not in ("script", "foreignObject", "a", "image"), f"{kind}: {name!r}")
                active = [
                    attribute
                    for attribute in element.attrib
                    if attribute.startswith("on") or "href" in attribute
                ]
                expect(not active, f"{active} for {name!r}")
    return f"{len(HOSTILE) + 1} of {len(HOSTILE) + 1}"


@case(55, "Worker dead for an hour", "answers 200 and says that the data is stale", short=False)
async def dead_for_an_hour(scene: Scene) -> str:
    async with open_site(scene) as site:
        await scene.worker.kill()
        _pass_an_hour(scene)
        for path in ("/", "/api/v1/rankings", "/rankings.md", "/api/v1/samples", "/healthz"):
            reply = await site.get(path)
            expect(reply.status == 200, f"{reply.status} for {path}")
        expect((await site.json("/api/v1/rooms"))["is_stale"] is True, "not said to be stale")
        readiness = await site.json("/readyz")
    expect(readiness.get("reason") == "stale", f"/readyz says {readiness}")
    return "200, is_stale, /readyz 503 stale"


def _pass_an_hour(scene: Scene) -> None:
    """As if the worker had last said an hour ago how it is: nothing else tells the site."""
    with closing(scene.database.connect()) as database:
        database.execute(
            "UPDATE worker SET synced_ts = synced_ts - 3600000, since_ts = since_ts - 3600000"
        )


@case(56, "Logs of all of this at DEBUG", "no token, no user ID, no client's address")
async def logs(scene: Scene) -> str:
    asked = [address for address, _ in ABSURD]
    asked += ["/", "/readyz", "/metrics", "/nowhere", f"/badge/{quote(HOSTILE[0], safe='')}.svg"]
    asked += [f"/api/v1/rankings?room={quote(scene.account.user_id)}"]
    headers = {
        "X-Forwarded-For": ADDRESS,
        "Authorization": f"Bearer {scene.account.account.access_token}",
    }
    async with open_site(scene) as site:
        replies = [await site.get(address, headers) for address in asked]
        _pass_an_hour(scene)
        replies.append(await site.get("/readyz", headers))
        log = site.log
    expect(all(reply.status < 504 for reply in replies), "a request failed")
    for user in scene.stage.users:
        expect(user.account.access_token not in log, "a token in the log")
    for claim, what in [
        (not USER_ID.search(log), "a user ID"),
        (ADDRESS not in log and "127.0.0.1:" not in log.replace(site.url, ""), "an address"),
        ("Traceback" not in log, "a traceback"),
    ]:
        expect(claim, f"{what} in the log: {log[-300:]}")
    return f"{len(replies)} requests, {len(log.splitlines())} lines"
