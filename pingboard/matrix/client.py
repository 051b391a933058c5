"""matrix-nio at its edge: every call bounded in time, every fault an exception of ours.

nio returns errors as objects, waits out rate limits by itself, retries for ever, and keeps a model
of every room. None of that suits a measurement, so it is switched off here.
"""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from collections.abc import Awaitable, Sequence
from enum import Enum
from typing import Any, TypeVar, cast
from urllib.parse import urlencode, urljoin, urlsplit

import aiohttp
from nio import (
    Api,
    AsyncClient,
    AsyncClientConfig,
    DiscoveryInfoResponse,
    ErrorResponse,
    JoinedMembersResponse,
    JoinedRoomsResponse,
    JoinResponse,
    LocalProtocolError,
    LoginInfoResponse,
    LoginResponse,
    MessageDirection,
    Response,
    RoomMessagesResponse,
    RoomSendResponse,
    SyncResponse,
    WhoamiResponse,
)
from nio.responses import RoomEventRelationsResponse
from nio.schemas import Schemas, Validator

from pingboard.matrix import clock
from pingboard.matrix.protocol import PONG_RELATION
from pingboard.model import AccountError, ConfigurationError, HomeserverError, RateLimitedError

CALL_TIMEOUT_S = 30.0
"""What a call may take that the homeserver answers at once."""

MAX_RETRY_AFTER_S = 600.0
"""The longest wait that a homeserver can impose: beyond it we ask again, whatever it said."""

DEFAULT_RETRY_AFTER_S = 5.0

MAX_MESSAGE = 200
"""Characters of a homeserver's own words that are passed on."""

_USER_ID = re.compile(r"@\S*:\S+")

_LOST_ACCESS = frozenset({"M_UNKNOWN_TOKEN", "M_MISSING_TOKEN", "M_USER_DEACTIVATED"})

_REFUSALS = {
    "M_USER_LOCKED": "the homeserver's admin has locked the account",
    "M_USER_SUSPENDED": "the homeserver's admin has suspended the account",
    "M_RESOURCE_LIMIT_EXCEEDED": "the homeserver has reached a limit that its admin has set",
    "M_CONSENT_NOT_GIVEN": "the account has to agree to the homeserver's terms first",
}
"""What an operator has to know the word for; each is to be mended with the homeserver's admin."""

# What nio's parsing has been seen to raise on a broken answer; see also the fault cases.
_PARSING_ERRORS = (ValueError, TypeError, KeyError, AttributeError, RecursionError)

_SCHEMAS: dict[type[Response], Any] = {
    DiscoveryInfoResponse: Schemas.discovery_info,
    JoinResponse: Schemas.room_id,
    JoinedMembersResponse: Schemas.joined_members,
    JoinedRoomsResponse: Schemas.joined_rooms,
    LoginInfoResponse: Schemas.login_info,
    LoginResponse: Schemas.login,
    RoomMessagesResponse: Schemas.room_messages,
    RoomSendResponse: Schemas.room_event_id,
    SyncResponse: Schemas.sync,
    WhoamiResponse: Schemas.whoami,
}

_JSON_TYPES = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}

R = TypeVar("R", bound=Response)


class _PongRelation(Enum):
    """A kind of relation, as nio wants one."""

    RELATION = PONG_RELATION


class Client(AsyncClient):  # type: ignore[misc]  # nio has no types
    """An AsyncClient that stamps when a sync response began to arrive, and keeps no room state.

    It honours HTTPS_PROXY, HTTP_PROXY and NO_PROXY, and follows redirects only if told to: aiohttp
    drops the access token on the way, and turns a POST into a GET.
    """

    def __init__(self, homeserver: str, user: str = "", *, follows_redirects: bool = False) -> None:
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
        self.date, self.dated_ns = "", 0
        """our homeserver's clock in its last answer, as in HTTP, and `clock.now_ns()` then"""
        # Not aiohttp's trust_env: it looks them up anew, in a thread, on the way of each request.
        self._proxy = _proxy_of(homeserver)
        self.connections = 0
        """how many were opened so far"""
        tracing = aiohttp.TraceConfig()
        tracing.on_connection_create_end.append(self._count_connection)
        self.client_session = aiohttp.ClientSession(trace_configs=[tracing])
        self._follows_redirects = follows_redirects

    async def send(
        self,
        method: str,
        path: str,
        data: Any = None,
        headers: dict[str, str] | None = None,
        trace_context: Any = None,  # noqa: ARG002 (nio's signature)
        timeout: float | None = None,  # noqa: ASYNC109 (nio's signature)
    ) -> aiohttp.ClientResponse:
        response = await self.client_session.request(
            method,
            self.homeserver + path,
            data=data,
            headers=headers,
            timeout=aiohttp.ClientTimeout(
                self.config.request_timeout if timeout is None else timeout or None
            ),
            allow_redirects=self._follows_redirects,
            proxy=self._proxy,
        )
        # Here, before the body is read and parsed: at a thousand pongs that takes 0.1 s.
        self.date, self.dated_ns = response.headers.get("Date", ""), clock.now_ns()
        if "/sync?" in path:
            self.arrived_ns, self.arrived_ts = self.dated_ns, clock.now_ts()
        if 300 <= response.status < 400 and "Location" in response.headers:
            response.release()
            destination = urljoin(str(response.url), response.headers["Location"])
            address = destination.partition("/_matrix/")[0][:MAX_MESSAGE]
            raise HomeserverError(
                f"redirects to {address}, so set that address", status=response.status
            )
        return response

    async def _count_connection(self, *_trace: object) -> None:
        self.connections += 1

    async def join_via(self, room: str, via: Sequence[str]) -> Any:
        """Join by alias or ID, asking these servers for the way in (nio's `join` takes none)."""
        method, path = Api.join(self.access_token, room)
        # `via` since version 1.12 of the specification, `server_name` before.
        query = urlencode([(key, name) for key in ("via", "server_name") for name in via])
        # By default a request gets half a minute; a federated join takes minutes.
        return await self._send(JoinResponse, method, f"{path}&{query}" if via else path, timeout=0)

    async def pongs_of(self, room_id: str, event_id: str, position: str | None) -> Any:
        """A page of the events that are related to a ping as pongs (nio knows no such kind)."""
        method, path = Api.room_get_event_relations(
            self.access_token, room_id, event_id, _PongRelation.RELATION, None,
            MessageDirection.back, position, None, 100,
        )  # fmt: skip
        return await self._send(
            RoomEventRelationsResponse, method, path, response_data=(room_id, event_id)
        )

    async def create_matrix_response(
        self,
        response_class: type[Response],
        transport_response: aiohttp.ClientResponse,
        data: tuple[Any, ...] | None = None,
        save_to: Any = None,
    ) -> Response:
        """Parse an answer; HomeserverError that says what in it breaks the specification."""
        status = transport_response.status
        try:
            response = await super().create_matrix_response(
                response_class, transport_response, data, save_to
            )
        except _PARSING_ERRORS as error:
            fault = await _describe_fault(response_class, transport_response) or repr(error)
            raise HomeserverError(f"answered {status}, but {fault}", status=status) from error
        if 200 <= status < 300 and isinstance(response, ErrorResponse):
            described = await _describe_fault(response_class, transport_response)
            raise HomeserverError(
                f"answered {status}, but {described or 'not as specified'}", status=status
            )
        return cast("Response", response)

    async def receive_response(self, response: Response) -> None:
        """Take over a login; leave room state, and a soft logout, to others."""
        if not isinstance(response, SyncResponse | ErrorResponse):
            await super().receive_response(response)


def _proxy_of(url: str) -> str | None:
    """The proxy that the environment sets for an address, None where it is reached directly."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in ("localhost", "127.0.0.1", "::1") or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy is not None and urlsplit(proxy).scheme not in ("http", "https"):
        raise ConfigurationError(
            f"{parts.scheme.upper()}_PROXY: only HTTP proxies can be used, "
            "for example HTTPS_PROXY=http://proxy.example.org:3128"
        )
    return proxy


async def _describe_fault(
    response_class: type[Response], transport_response: aiohttp.ClientResponse
) -> str | None:
    """What in an answer breaks the specification, for an operator; None where it is not known."""
    try:
        body = json.loads(await transport_response.read())
    except RecursionError:
        return "its JSON is nested too deep"
    except ValueError:
        return f"with no JSON ({transport_response.content_type})"
    if not isinstance(body, dict):
        return f"with {_JSON_TYPES[type(body)]} instead of an object"
    schema = _SCHEMAS.get(response_class)
    error = next(Validator(schema).iter_errors(body), None) if schema is not None else None
    if error is None:
        return _describe_null(body)
    if error.validator == "required":
        return str(error.message)[:MAX_MESSAGE]
    where = ".".join(str(part) for part in error.absolute_path)
    kind = _JSON_TYPES.get(type(error.instance), "something")
    expected = f", not {error.validator_value}" if error.validator == "type" else ""
    return _USER_ID.sub("(user)", f"{where} is {kind}{expected}")[:MAX_MESSAGE]


def _describe_null(body: dict[str, Any], path: tuple[str, ...] = ()) -> str | None:
    """The first null where an object or an array can belong, at most three levels down."""
    for key, value in body.items():
        if value is None:
            return f"{'.'.join((*path, key))} is null"
        if isinstance(value, dict) and len(path) < 2:
            fault = _describe_null(value, (*path, key))
            if fault is not None:
                return fault
    return None


async def checked(call: Awaitable[R | ErrorResponse], seconds: float) -> R:
    """The answer of a call, awaited for at most `seconds`.

    Raises RateLimitedError, AccountError where the access token is not (or no longer) valid, and
    HomeserverError for everything else that can go wrong on the way.
    """
    try:
        async with asyncio.timeout(seconds):
            response = await call
    except TimeoutError:
        raise HomeserverError(f"does not answer within {seconds:.0f} s") from None
    except (aiohttp.ClientError, OSError) as error:
        raise HomeserverError(f"can't be reached: {error or type(error).__name__}") from error
    except LocalProtocolError as error:
        raise AccountError(f"not logged in: {error}") from error
    if isinstance(response, ErrorResponse):
        raise _error_of(response)
    return cast("R", response)


def _error_of(response: ErrorResponse) -> HomeserverError | AccountError:
    transport: aiohttp.ClientResponse | None = response.transport_response
    status = transport.status if transport is not None else None
    if status == 429 or response.status_code == "M_LIMIT_EXCEEDED":
        wait = _retry_after_s(response, transport)
        return RateLimitedError(f"asks to wait {wait:.1f} s", wait)
    if response.status_code in _REFUSALS:
        text = f"refuses: {_REFUSALS[response.status_code]} ({response.status_code})"
        return HomeserverError(text, response.status_code, status)
    if response.status_code is None:
        return HomeserverError(f"answered {status}, without a Matrix error code", status=status)
    # It goes to the log, where no user ID belongs; Synapse names the one that is not allowed.
    message = _USER_ID.sub("(user)", " ".join(str(response.message).split()))[:MAX_MESSAGE]
    text = f"{response.status_code}: {message}"
    if response.status_code in _LOST_ACCESS:
        return AccountError(text)
    return HomeserverError(f"answered {status}, {text}", response.status_code, status)


def _retry_after_s(response: ErrorResponse, transport: aiohttp.ClientResponse | None) -> float:
    """What the answer asks for, in seconds, kept between 0 and `MAX_RETRY_AFTER_S`.

    The header counts where it is there (specification, "Rate limiting"), then the deprecated
    `retry_after_ms`; nonsense in either is no wish.
    """
    header = transport.headers.get("Retry-After", "") if transport is not None else ""
    in_body = response.retry_after_ms
    if header.isascii() and header.isdigit():
        wished_ms = float(header[:9]) * 1000
    elif isinstance(in_body, int) and not isinstance(in_body, bool):
        wished_ms = in_body
    else:
        wished_ms = DEFAULT_RETRY_AFTER_S * 1000
    # Before dividing: an integer may have more digits than a float can hold.
    return min(max(wished_ms, 0), MAX_RETRY_AFTER_S * 1000) / 1000
