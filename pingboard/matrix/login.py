"""Logs in with as few logins as possible: homeservers allow only a few an hour.

An access token of the settings is used as it is. With a password the token and device of the
first login are kept in the store; only where they stopped working is the password used again,
for the same device, because transaction IDs are counted by device.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pingboard.matrix.account import Account
from pingboard.matrix.session import Session
from pingboard.model import AccountError

if TYPE_CHECKING:
    from pingboard.matrix.writer import Writer


async def log_in(account: Account, writer: Writer) -> Session:
    """A session of the account; raises AccountError and HomeserverError, both name the variable."""

    if account.access_token is not None:
        return await Session.open(account)
    saved = await writer.saved_session()
    if saved.access_token is not None:
        try:
            kept = dataclasses.replace(account, access_token=saved.access_token)
            return await Session.open(kept, writer.save_login)
        except AccountError:
            pass  # logged out elsewhere, or expired: the password is asked for below
    same_device = dataclasses.replace(account, device_id=saved.device_id)
    return await Session.open(same_device, writer.save_login)
