"""The few calls of a homeserver that setting up takes: an account, the ping room, its members.

Accounts are made with Synapse's shared-secret registration. Unlike the client API's own it is not
rate limited, and needs no captcha or e-mail.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from pingboard.model import LabError

ALIAS_LOCALPART = "ping"


@dataclass(frozen=True, slots=True)
class LabAccount:
    """All that a client needs to act as a user. `repr` leaves the secrets out."""

    homeserver_url: str
    user_id: str
    access_token: str = field(repr=False)
    device_id: str
    password: str = field(repr=False)


async def register_account(
    http: aiohttp.ClientSession, homeserver_url: str, shared_secret: str, localpart: str
) -> LabAccount:
    """Register a user with a random password; a `LabError` where Synapse refuses (name taken)."""
    url = f"{homeserver_url}/_synapse/admin/v1/register"
    password = secrets.token_urlsafe(24)
    async with http.get(url) as response:
        nonce = (await response.json())["nonce"]
    request = {
        "nonce": nonce,
        "username": localpart,
        "password": password,
        "admin": False,
        "mac": _mac(shared_secret, nonce, localpart, password),
    }
    async with http.post(url, json=request) as response:
        answer = await response.json()
        if response.status != 200:
            raise LabError(f"can't register {localpart!r}: {answer.get('error', answer)}")
    return LabAccount(
        homeserver_url=homeserver_url,
        user_id=answer["user_id"],
        access_token=answer["access_token"],
        device_id=answer["device_id"],
        password=password,
    )


async def create_ping_room(http: aiohttp.ClientSession, owner: LabAccount) -> str:
    """Create the room that everybody can join as `#ping:...`; its room ID.

    `public_chat` makes the join rule public and the history visible to whoever has joined.
    """
    request = {
        "preset": "public_chat",
        "room_alias_name": ALIAS_LOCALPART,
        "name": "Ping",
        "topic": "Say !ping",
    }
    url = f"{owner.homeserver_url}/_matrix/client/v3/createRoom"
    async with http.post(url, json=request, headers=_authorization(owner)) as response:
        answer: dict[str, Any] = await response.json()
        if response.status != 200:
            raise LabError(f"can't create the ping room: {answer.get('error', answer)}")
    return str(answer["room_id"])


async def joined_members(
    http: aiohttp.ClientSession, member: LabAccount, room_id: str
) -> frozenset[str]:
    """The user IDs in a room, as seen by the homeserver of one of them."""
    url = f"{member.homeserver_url}/_matrix/client/v3/rooms/{room_id}/joined_members"
    async with http.get(url, headers=_authorization(member)) as response:
        response.raise_for_status()
        answer: dict[str, Any] = await response.json()
    return frozenset(answer["joined"])


def _authorization(account: LabAccount) -> dict[str, str]:
    return {"Authorization": f"Bearer {account.access_token}"}


def _mac(shared_secret: str, nonce: str, localpart: str, password: str) -> str:
    """Synapse's proof of the secret (its admin API, "Shared-Secret Registration")."""
    message = "\0".join((nonce, localpart, password, "notadmin"))
    return hmac.new(shared_secret.encode(), message.encode(), hashlib.sha1).hexdigest()
