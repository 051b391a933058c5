"""What keeps a worker from measuring: account and rooms -> findings. Reads only, joins nothing.

It asks the homeserver with plain requests instead of a session, to tell apart what a session would
sum up in one error, and to run beside a live worker without a login of its own.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp

from pingboard.matrix.session import find_homeserver
from pingboard.model.findings import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

TIMEOUT_S = 15
MAX_CLOCK_DIFFERENCE_S = 3.0
"""The Date header has whole seconds, and the answer takes its time."""

DEFAULT_MESSAGES_A_SECOND = 0.2
"""What Synapse lets an account send unless it is told otherwise."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the homeserver said to a request."""

    status: int
    body: dict[str, Any]
    date: str | None


class Diagnosis:
    """Asks about one account, finding by finding."""

    def __init__(self, homeserver: str, token: str | None) -> None:
        self._homeserver = homeserver
        self._token = token
        self.findings: list[Finding] = []
        self.user_id = ""

    async def run(self, rooms: Sequence[str], interval: timedelta, *, has_password: bool) -> None:
        """Ask everything; what can't be asked because of an earlier finding is left out."""
        url = await find_homeserver(self._homeserver)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as http:
            self._http, self._url = http, url.rstrip("/")
            try:
                if not await self._check_versions():
                    return
                self._check_interval(len(rooms), interval)
                if not await self._check_login(has_password=has_password):
                    return
                for room in rooms:
                    await self._check_room(room)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                self._note(
                    "homeserver",
                    Verdict.FAULT,
                    f"{self._url} does not answer: {str(error) or type(error).__name__}",
                    "check PINGBOARD_HOMESERVER, the network, and the homeserver itself",
                )

    def _note(self, topic: str, verdict: Verdict, text: str, remedy: str = "") -> None:
        self.findings.append(Finding(topic, verdict, text, remedy))

    async def _get(self, path: str, *, with_token: bool = True) -> Answer:
        headers = {"Authorization": f"Bearer {self._token}"} if with_token and self._token else {}
        address = f"{self._url}/_matrix/client{path}"
        async with self._http.get(address, headers=headers, allow_redirects=False) as response:
            body = await response.json(content_type=None) if response.status < 500 else {}
            date = response.headers.get("Date")
            return Answer(response.status, body if isinstance(body, dict) else {}, date)

    async def _check_versions(self) -> bool:
        answer = await self._get("/versions", with_token=False)
        versions = answer.body.get("versions")
        if answer.status != 200 or not versions:
            self._note(
                "homeserver",
                Verdict.FAULT,
                f"{self._url} answers {answer.status} and no Matrix versions",
                "set PINGBOARD_HOMESERVER to the server name, or to the address clients use",
            )
            return False
        self._note("homeserver", Verdict.OK, f"{self._url} speaks Matrix up to {versions[-1]}")
        if answer.date is not None:
            ahead_s = time.time() - parsedate_to_datetime(answer.date).timestamp()
            is_far = abs(ahead_s) > MAX_CLOCK_DIFFERENCE_S
            self._note(
                "clock",
                Verdict.WARNING if is_far else Verdict.OK,
                f"ours is {ahead_s:+.0f} s against the homeserver's",
                "let both machines take their time from NTP" if is_far else "",
            )
        return True

    def _check_interval(self, rooms: int, interval: timedelta) -> None:
        rate = rooms / interval.total_seconds()
        if rate > DEFAULT_MESSAGES_A_SECOND:
            self._note(
                "limits",
                Verdict.WARNING,
                f"{rate:.2g} pings a second are more than a homeserver allows by default "
                f"({DEFAULT_MESSAGES_A_SECOND:g})",
                "raise PINGBOARD_INTERVAL, or this account's limit (Synapse: rc_message)",
            )

    async def _check_login(self, *, has_password: bool) -> bool:
        offer = await self._get("/v3/login", with_token=False)
        flows = [str(flow.get("type")) for flow in offer.body.get("flows", [])]
        if self._token is None:
            can_log_in = has_password and "m.login.password" in flows
            self._note(
                "account",
                Verdict.OK if can_log_in else Verdict.FAULT,
                f"no token yet; the homeserver offers {', '.join(flows) or 'no login'}",
                "" if can_log_in else "set PINGBOARD_ACCESS_TOKEN",
            )
            return False
        me = await self._get("/v3/account/whoami")
        if me.status != 200:
            self._note(
                "account",
                Verdict.FAULT,
                f"the token is not accepted: {_describe(me)}",
                "log in again and set PINGBOARD_ACCESS_TOKEN"
                if not has_password
                else "the worker will log in with PINGBOARD_PASSWORD",
            )
            return False
        self.user_id = str(me.body.get("user_id"))
        self._note("account", Verdict.OK, "the token is accepted")
        return True

    async def _check_room(self, room: str) -> None:
        room_id = room
        if room.startswith("#"):
            directory = await self._get(f"/v3/directory/room/{quote(room, safe='')}")
            if directory.status != 200:
                self._note(
                    room,
                    Verdict.FAULT,
                    f"the alias leads to no room: {_describe(directory)}",
                    "check the alias in PINGBOARD_ROOMS",
                )
                return
            room_id = str(directory.body.get("room_id"))
        joined = await self._get("/v3/joined_rooms")
        if room_id not in joined.body.get("joined_rooms", []):
            self._note(
                room,
                Verdict.FAULT,
                "the account has not joined the room",
                "the worker joins at its start; where that fails, invite the account or open the "
                "room",
            )
            return
        await self._check_state(room, room_id)

    async def _check_state(self, room: str, room_id: str) -> None:
        path = f"/v3/rooms/{quote(room_id, safe='')}/state"
        create, power, encryption = await asyncio.gather(
            self._get(f"{path}/m.room.create/"),
            self._get(f"{path}/m.room.power_levels/"),
            self._get(f"{path}/m.room.encryption/"),
        )
        version = create.body.get("room_version", "1")
        if encryption.status == 200:
            self._note(
                room,
                Verdict.FAULT,
                "the room is encrypted, and nothing is sent there in the clear",
                "measure in a room without encryption",
            )
            return
        mine, needed = _read_power(power.body, self.user_id)
        if power.status == 200 and mine < needed:
            self._note(
                room,
                Verdict.FAULT,
                f"joined (version {version}), but sending needs power {needed} and ours is {mine}",
                "ask an admin of the room for the right to speak",
            )
            return
        self._note(room, Verdict.OK, f"joined (version {version}), may send")


def _read_power(levels: dict[str, Any], user_id: str) -> tuple[int, int]:
    """Return our power level and the one that a message needs, as the specification has them."""
    users, events = levels.get("users", {}), levels.get("events", {})
    mine = users.get(user_id, levels.get("users_default", 0))
    needed = events.get("m.room.message", levels.get("events_default", 0))
    return int(mine), int(needed)


def _describe(answer: Answer) -> str:
    return f"{answer.status} {answer.body.get('errcode', '')}".strip()
