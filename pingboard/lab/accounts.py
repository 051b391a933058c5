"""Accounts on the lab's homeservers, made with Synapse's shared-secret registration.

In comes a homeserver's URL, its secret and a localpart; out comes an account with a token. Unlike
the client API's own registration it is not rate limited and needs no captcha or e-mail.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

import aiohttp

from pingboard.lab.errors import LabError


@dataclass(frozen=True, slots=True)
class Account:
    """All that a client needs to act as a user. `repr` leaves the secrets out."""

    homeserver_url: str
    user_id: str
    access_token: str = field(repr=False)
    device_id: str
    password: str = field(repr=False)


async def register_account(
    http: aiohttp.ClientSession, homeserver_url: str, shared_secret: str, localpart: str
) -> Account:
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
    return Account(
        homeserver_url=homeserver_url,
        user_id=answer["user_id"],
        access_token=answer["access_token"],
        device_id=answer["device_id"],
        password=password,
    )


def _mac(shared_secret: str, nonce: str, localpart: str, password: str) -> str:
    """Synapse's proof of the secret (its admin API, "Shared-Secret Registration")."""
    message = "\0".join((nonce, localpart, password, "notadmin"))
    return hmac.new(shared_secret.encode(), message.encode(), hashlib.sha1).hexdigest()
