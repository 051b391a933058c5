"""matrix-nio at its edge: every call bounded in time, every fault an exception of ours.

nio returns errors as objects, waits out rate limits by itself, retries for ever, and keeps a model
of every room. None of that suits a measurement, so it is switched off here.
"""

from __future__ import annotations

import asyncio
import re
import time
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlencode

import aiohttp
from nio import (
    Api,
    AsyncClient,
    AsyncClientConfig,
    ErrorResponse,
    JoinResponse,
    LocalProtocolError,
    MessageDirection,
    Response,
    SyncResponse,
)
from nio.responses import RoomEventRelationsResponse

from pingboard.matrix import clock
from pingboard.matrix.protocol import PONG_RELATION
from pingboard.model import AccountError, HomeserverError, RateLimitedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

CALL_TIMEOUT_S = 30.0
"""What a call may take that the homeserver answers at once."""

MAX_RETRY_AFTER_S = 600.0
"""The longest wait that a homeserver can impose: beyond it we ask again, whatever it said."""

DEFAULT_RETRY_AFTER_S = 5.0

MAX_MESSAGE = 200
"""Characters of a homeserver's own words that are passed on."""

_USER_ID = re.compile(r"@\S*:\S+")

_LOST_ACCESS = frozenset({"M_UNKNOWN_TOKEN", "M_MISSING_TOKEN", "M_USER_DEACTIVATED"})

# What nio's parsing has been seen to raise on a broken answer; see also the fault cases.
_NO_MATRIX = (ValueError, TypeError, KeyError, AttributeError, RecursionError)

R = TypeVar("R", bound=Response)


class _Pongs(Enum):
    """A kind of relation, as nio wants one."""

    RELATION = PONG_RELATION


class Client(AsyncClient):  # type: ignore[misc]  # nio has no types
    """An AsyncClient that stamps when a sync response began to arrive, and keeps no room state."""

    def __init__(self, homeserver: str, user: str = "") -> None:
        super().__init__(
            homeserver,
            user,
            config=AsyncClientConfig(
                max_limit_exceeded=0,
                max_timeouts=0,
                encryption_enabled=False,
                store_sync_tokens=False,
                request_timeout=30,
            ),
        )
        self.arrived_ns = 0
        """`clock.now_ns()` when the headers of the last sync response were there"""
        self.arrived_ts = 0
        """the same moment by the wall clock, ms since the epoch"""

    async def send(self, method: str, path: str, *args: Any, **kwargs: Any) -> Any:
        response = await super().send(method, path, *args, **kwargs)
        if "/sync?" in path:
            # Here, before the body is read and parsed: at a thousand pongs that takes 0.1 s.
            self.arrived_ns, self.arrived_ts = clock.now_ns(), time.time_ns() // 1_000_000
        return response

    async def join_via(self, room: str, via: Sequence[str]) -> Any:
        """Join by alias or ID, asking these servers for the way in (nio's `join` takes none)."""
        method, path = Api.join(self.access_token, room)
        # `via` since version 1.12 of the specification, `server_name` before.
        query = urlencode([(key, name) for key in ("via", "server_name") for name in via])
        return await self._send(JoinResponse, method, f"{path}&{query}" if via else path)

    async def pongs_of(self, room_id: str, event_id: str, position: str | None) -> Any:
        """A page of the events that are related to a ping as pongs (nio knows no such kind)."""
        method, path = Api.room_get_event_relations(
            self.access_token, room_id, event_id, _Pongs.RELATION, None,
            MessageDirection.back, position, None, 100,
        )  # fmt: skip
        return await self._send(
            RoomEventRelationsResponse, method, path, response_data=(room_id, event_id)
        )

    async def receive_response(self, response: Response) -> None:
        if not isinstance(response, SyncResponse):
            await super().receive_response(response)


async def checked(call: Awaitable[R | ErrorResponse], seconds: float) -> R:
    """The answer of a call, awaited for at most `seconds`.

    Raises RateLimitedError, AccountError where the access token is not (or no longer) valid, and
    HomeserverError for everything else that can go wrong on the way.
    """
    try:
        async with asyncio.timeout(seconds):
            response = await call
    except TimeoutError:
        raise HomeserverError(f"no answer within {seconds:.0f} s") from None
    except (aiohttp.ClientError, OSError) as error:
        raise HomeserverError(f"can't be reached: {error or type(error).__name__}") from error
    except LocalProtocolError as error:
        raise AccountError(f"not logged in: {error}") from error
    except _NO_MATRIX as error:
        raise HomeserverError(
            f"answered with something that is no Matrix response ({type(error).__name__})"
        ) from error
    if isinstance(response, ErrorResponse):
        raise _error_of(response)
    return cast("R", response)


def _error_of(response: ErrorResponse) -> HomeserverError | AccountError:
    transport: aiohttp.ClientResponse | None = response.transport_response
    status = transport.status if transport is not None else None
    if status == 429 or response.status_code == "M_LIMIT_EXCEEDED":
        wait = _retry_after_s(response, transport)
        return RateLimitedError(f"asks to wait {wait:.1f} s", wait)
    # It goes to the log, where no user ID belongs; Synapse names the one that is not allowed.
    message = _USER_ID.sub("(user)", " ".join(str(response.message).split()))[:MAX_MESSAGE]
    text = f"{response.status_code or 'no Matrix error code'}: {message}"
    if response.status_code in _LOST_ACCESS:
        return AccountError(text)
    return HomeserverError(f"answered {status}, {text}", response.status_code)


def _retry_after_s(response: ErrorResponse, transport: aiohttp.ClientResponse | None) -> float:
    """What the answer asks for, in seconds, kept between 0 and `MAX_RETRY_AFTER_S`.

    The header counts where it is there (specification, "Rate limiting"), then the deprecated
    `retry_after_ms`; nonsense in either is no wish.
    """
    header = transport.headers.get("Retry-After", "") if transport is not None else ""
    in_body = response.retry_after_ms
    if header.isascii() and header.isdigit():
        wished = float(header[:9])
    elif isinstance(in_body, int) and not isinstance(in_body, bool):
        wished = in_body / 1000
    else:
        wished = DEFAULT_RETRY_AFTER_S
    return min(max(wished, 0.0), MAX_RETRY_AFTER_S)
