"""What keeps a worker from measuring: account and rooms -> findings. Reads only, joins nothing.

It asks the homeserver call by call instead of opening a session, to tell apart what that would sum
up in one error, and to run beside a live worker without a login of its own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from nio import (
    JoinedRoomsResponse,
    RoomGetStateEventResponse,
    RoomResolveAliasResponse,
    WhoamiResponse,
)

from pingboard.matrix.client import CALL_TIMEOUT_S, Client, checked
from pingboard.matrix.protocol import Event
from pingboard.matrix.session import ABSENT, find_homeserver, read_login_flows
from pingboard.model import AccountError, HomeserverError
from pingboard.model.findings import Finding, Verdict

MAX_CLOCK_DIFFERENCE_S = 3.0
"""The Date header has whole seconds, and the answer takes its time."""

DEFAULT_MESSAGES_A_SECOND = 0.2
"""What Synapse lets an account send unless it is told otherwise."""


class AccountCheck:
    """Asks about one account, finding by finding."""

    def __init__(self, homeserver: str, token: str | None) -> None:
        self._homeserver = homeserver
        self._token = token
        self.findings: list[Finding] = []
        self.user_id = ""

    async def run(self, rooms: Sequence[str], interval: timedelta, *, has_password: bool) -> None:
        """Ask everything; what can't be asked because of an earlier finding is left out."""
        self._url = await find_homeserver(self._homeserver)
        self._client = Client(self._url)
        self._client.access_token = self._token or ""
        try:
            if not await self._check_versions():
                return
            self._check_interval(len(rooms), interval)
            if not await self._check_login(has_password=has_password):
                return
            for room in rooms:
                await self._check_room(room)
        except (HomeserverError, aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            self._note(
                "homeserver",
                Verdict.FAULT,
                f"{self._url} does not answer: {str(error) or type(error).__name__}",
                "check PINGBOARD_HOMESERVER, the network, and the homeserver itself",
            )
        finally:
            await self._client.close()

    def _note(self, topic: str, verdict: Verdict, text: str, remedy: str = "") -> None:
        self.findings.append(Finding(topic, verdict, text, remedy))

    async def _check_versions(self) -> bool:
        # nio does not ask for them.
        response = await self._client.send("GET", "/_matrix/client/versions")
        body = await response.json(content_type=None) if response.status == 200 else None
        versions = body.get("versions") if isinstance(body, dict) else None
        if not versions or not isinstance(versions, list):
            self._note(
                "homeserver",
                Verdict.FAULT,
                f"{self._url} answers {response.status} and no Matrix versions",
                "set PINGBOARD_HOMESERVER to the server name, or to the address clients use",
            )
            return False
        self._note("homeserver", Verdict.OK, f"{self._url} speaks Matrix up to {versions[-1]}")
        if (date := response.headers.get("Date")) is not None:
            ahead_s = time.time() - parsedate_to_datetime(date).timestamp()
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
        if self._token is None:
            flows = await read_login_flows(self._client)
            can_log_in = has_password and "m.login.password" in flows
            self._note(
                "account",
                Verdict.OK if can_log_in else Verdict.FAULT,
                f"no token yet; the homeserver offers {', '.join(flows) or 'no login'}",
                "" if can_log_in else "set PINGBOARD_ACCESS_TOKEN",
            )
            return False
        try:
            me: WhoamiResponse = await checked(self._client.whoami(), CALL_TIMEOUT_S)
        except (AccountError, HomeserverError) as error:
            if isinstance(error, HomeserverError) and error.errcode is None:
                raise
            self._note(
                "account",
                Verdict.FAULT,
                f"the token is not accepted: {error}",
                "log in again and set PINGBOARD_ACCESS_TOKEN"
                if not has_password
                else "the worker will log in with PINGBOARD_PASSWORD",
            )
            return False
        self.user_id = me.user_id
        self._note("account", Verdict.OK, "the token is accepted")
        return True

    async def _check_room(self, room: str) -> None:
        room_id = room
        if room.startswith("#"):
            try:
                alias: RoomResolveAliasResponse = await checked(
                    self._client.room_resolve_alias(room), CALL_TIMEOUT_S
                )
            except HomeserverError as error:
                self._note(
                    room,
                    Verdict.FAULT,
                    f"the alias leads to no room: {error}",
                    "check the alias in PINGBOARD_ROOMS",
                )
                return
            room_id = alias.room_id
        joined: JoinedRoomsResponse = await checked(self._client.joined_rooms(), CALL_TIMEOUT_S)
        if room_id not in joined.rooms:
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
        create = await self._read_state(room_id, "m.room.create") or {}
        power = await self._read_state(room_id, "m.room.power_levels")
        version = create.get("room_version", "1")
        if await self._read_state(room_id, "m.room.encryption") is not None:
            self._note(
                room,
                Verdict.FAULT,
                "the room is encrypted, and nothing is sent there in the clear",
                "measure in a room without encryption",
            )
            return
        mine, needed = _read_power(power or {}, self.user_id)
        if power is not None and mine < needed:
            self._note(
                room,
                Verdict.FAULT,
                f"joined (version {version}), but sending needs power {needed} and ours is {mine}",
                "ask an admin of the room for the right to speak",
            )
            return
        self._note(room, Verdict.OK, f"joined (version {version}), may send")

    async def _read_state(self, room_id: str, event_type: str) -> Event | None:
        try:
            answer: RoomGetStateEventResponse = await checked(
                self._client.room_get_state_event(room_id, event_type), CALL_TIMEOUT_S
            )
        except HomeserverError as error:
            if error.errcode in ABSENT:
                return None
            raise
        return answer.content if isinstance(answer.content, dict) else None


def _read_power(levels: dict[str, Any], user_id: str) -> tuple[int, int]:
    """Return our power level and the one that a message needs, as the specification has them."""
    users, events = levels.get("users") or {}, levels.get("events") or {}
    mine = users.get(user_id, levels.get("users_default", 0))
    needed = events.get("m.room.message", levels.get("events_default", 0))
    return int(mine), int(needed)
