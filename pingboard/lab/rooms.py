"""The ping room: make it, and see who is in it, through the client-server API."""

from typing import Any

import aiohttp

from pingboard.lab.accounts import Account
from pingboard.lab.errors import LabError

ALIAS_LOCALPART = "ping"


async def create_ping_room(
    http: aiohttp.ClientSession, owner: Account, room_version: str | None
) -> str:
    """Create the room that everybody can join as `#ping:...`; its room ID.

    `public_chat` makes the join rule public and the history visible to whoever has joined.
    """
    request = {
        "preset": "public_chat",
        "room_alias_name": ALIAS_LOCALPART,
        "name": "Ping",
        "topic": "Say !ping",
    }
    if room_version is not None:
        request["room_version"] = room_version
    url = f"{owner.homeserver_url}/_matrix/client/v3/createRoom"
    async with http.post(url, json=request, headers=_authorization(owner)) as response:
        answer: dict[str, Any] = await response.json()
        if response.status != 200:
            raise LabError(f"can't create the ping room: {answer.get('error', answer)}")
    return str(answer["room_id"])


async def joined_members(
    http: aiohttp.ClientSession, member: Account, room_id: str
) -> frozenset[str]:
    """The user IDs in a room, as seen by the homeserver of one of them."""
    url = f"{member.homeserver_url}/_matrix/client/v3/rooms/{room_id}/joined_members"
    async with http.get(url, headers=_authorization(member)) as response:
        response.raise_for_status()
        answer: dict[str, Any] = await response.json()
    return frozenset(answer["joined"])


def _authorization(account: Account) -> dict[str, str]:
    return {"Authorization": f"Bearer {account.access_token}"}
