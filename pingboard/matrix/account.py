"""The account: a password becomes an access token, an access token tells who we are.

Raises AccountError where the homeserver does not accept it, HomeserverError where it can't be
asked; both name the variable.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nio import WhoamiResponse

from pingboard.matrix.client import CALL_TIMEOUT_S, Client, checked
from pingboard.model import AccountError, HomeserverError

OnLogin = Callable[[str, str], Awaitable[None]]
"""Told the device ID and the access token of a new login."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who we are on which homeserver; a token, or a user ID and a password."""

    homeserver: str
    user_id: str | None = None
    access_token: str | None = None
    password: str | None = None
    device_id: str | None = None


async def authenticate(client: Client, account: Account) -> None:
    """Log in with the password, on the account's device where it has one."""
    if account.device_id:
        client.device_id = account.device_id
    try:
        await checked(client.login(account.password, device_name="pingboard"), CALL_TIMEOUT_S)
    except HomeserverError as error:
        if error.errcode in ("M_FORBIDDEN", "M_USER_DEACTIVATED", "M_INVALID_USERNAME"):
            raise AccountError(
                f"PINGBOARD_PASSWORD: {account.homeserver} does not accept it for "
                f"PINGBOARD_USER ({error.errcode})"
            ) from error
        raise _unreachable(account, error) from error


async def ask_who_we_are(client: Client, account: Account) -> WhoamiResponse:
    """Whose access token it is, and which device's."""
    try:
        me: WhoamiResponse = await checked(client.whoami(), CALL_TIMEOUT_S)
    except AccountError as error:
        raise AccountError(
            f"PINGBOARD_ACCESS_TOKEN: {account.homeserver} does not accept it ({error})"
        ) from error
    except HomeserverError as error:
        raise _unreachable(account, error) from error
    if account.user_id and me.user_id != account.user_id:
        raise AccountError(
            "PINGBOARD_USER is not the user whom PINGBOARD_ACCESS_TOKEN belongs to; leave it out, "
            "or take the token of that user"
        )
    return me


def _unreachable(account: Account, error: HomeserverError) -> HomeserverError:
    return HomeserverError(
        f"PINGBOARD_HOMESERVER: {account.homeserver} {error}; it is the address that a client "
        "uses, for example PINGBOARD_HOMESERVER=https://matrix.example.org",
        error.errcode,
    )
