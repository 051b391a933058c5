"""Logs in with as few logins as possible: homeservers allow only a few an hour.

An access token of the settings is used as it is. With a password the token and device of the
first login are kept in the store; only where they stopped working is the password used again,
for the same device, because transaction IDs are counted by device.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

from pingboard.matrix.session import Account, Session
from pingboard.model import AccountError

if TYPE_CHECKING:
    from pingboard.store.ingest import Ingest


async def log_in(account: Account, ingest: Ingest) -> Session:
    """A session of the account; raises AccountError and HomeserverError, both name the variable."""

    async def keep(device_id: str, access_token: str) -> None:
        await asyncio.to_thread(ingest.save_login, device_id, access_token)

    if account.access_token is not None:
        return await Session.open(account)
    saved = await asyncio.to_thread(ingest.saved_session)
    if saved.access_token is not None:
        try:
            kept = dataclasses.replace(account, access_token=saved.access_token)
            return await Session.open(kept, keep)
        except AccountError:
            pass  # logged out elsewhere, or expired: the password is asked for below
    return await Session.open(dataclasses.replace(account, device_id=saved.device_id), keep)
