"""What pingboard tells its user in one line; the tree is in the package's docstring."""

from __future__ import annotations

import re


class PingboardError(Exception):
    """Something that pingboard tells its user in one line."""


class ConfigurationError(PingboardError):
    """A setting or an argument is wrong; the message names it and gives an example."""


class AccountError(PingboardError):
    """The homeserver turns the account away: wrong password, revoked token, deactivated."""


class HomeserverError(PingboardError):
    """The homeserver can't be reached or answered with an error; trying again may help.

    `errcode` is the Matrix error code (`M_FORBIDDEN`), None where the answer carried none; `status`
    is the answer's HTTP status, None where there was no answer.
    """

    def __init__(self, message: str, errcode: str | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.errcode = errcode
        self.status = status


class RateLimitedError(HomeserverError):
    """The homeserver asks to wait `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message, "M_LIMIT_EXCEEDED")
        self.retry_after_s = retry_after_s


class EncryptedRoomError(HomeserverError):
    """The room is encrypted, so nothing may be sent there in the clear."""

    def __init__(self) -> None:
        super().__init__(
            "the room is encrypted, so it can't be measured: nothing may be sent in the clear",
            "M_FORBIDDEN",
        )


class StoreError(PingboardError):
    """The database can't be opened, or is not one of ours."""


class DamagedHourError(StoreError):
    """A closed hour of the database can't be read; `description` says which one, and why."""

    def __init__(self, description: str) -> None:
        super().__init__(
            f"{description}; restore the last backup: what happened since is filled in from the "
            "rooms' history (`pingboard db check` names all that is damaged)"
        )
        self.description = description


class LeaseError(StoreError):
    """Another worker writes to the database; there is one at a time."""


class LabError(PingboardError):
    """A lab can't start or go on; the message names the part and ends with its last log lines."""


class UnknownRoomError(PingboardError):
    """No room of that alias or ID is configured or has samples."""


class UnknownHomeserverError(PingboardError):
    """Nothing was heard of a homeserver of that name."""


def hide_password(address: str) -> str:
    """Return it without a user and a password, even where it is malformed otherwise."""
    return re.sub(r"//[^/]*@", "//…@", address)
