"""Answers kept as bytes, in front of the whole app: a request that asks again for what has not
changed is answered here, without routing, without a query, without compressing.

What the app has to know of it:

* Kept is a 200 to GET or HEAD that says its length, at most `MAX_BODY_BYTES`, and whose
  `Cache-Control` does not say `no-store`. Streams and all else pass untouched.
* An answer may depend on the host that was asked, the path, the query parameters (in any order),
  which of `negotiation.MEDIA_TYPES` the client prefers to which, which of our languages it prefers
  to which, and on nothing else of the request. `Vary` has to name the headers where it does.
* An answer is as of a version of the data and a minute. The next request after either has changed
  is answered anew; `Cache-Control` is the app's to say, and `no-cache` where it says nothing.
* The ETag is the app's own where it sets one, else a digest of the body: an answer that comes out
  the same after a change keeps its tag, and its Last-Modified. The time at which JSON or a page was
  made, and the window that it is of, are no part of the digest (the tag is weak then): a window
  that ends now moves with each minute, though nothing happened. Each content coding has a tag of
  its own.
* Requests that come while an answer is being made wait for it, but not while it waits for its own
  client's turn (see limits).

Bounded is all that is kept: bodies in each coding, headers and keys, and `MAX_SHORTCUTS` short
requests as they came.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import parse_qsl

from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pingboard.web.limits import LET_GO
from pingboard.web.metrics import APP, CACHE, NO_RESPONSE, Requests, name_handler
from pingboard.web.middleware import as_get
from pingboard.web.negotiation import (
    choose_encoding,
    date_answer,
    encode,
    is_current,
    make_tag,
    order_media_types,
)
from pingboard.web.pages.language import DEFAULT, choose_language

CacheKey = tuple[object, ...]
Request = tuple[str, bytes, bytes, str, bytes, bytes, bytes]
"""Path, query, Host, scheme, Accept, Accept-Language, Accept-Encoding; as they came."""

MAX_BYTES = 64 << 20
MAX_BODY_BYTES = 4 << 20
MAX_SHORTCUTS = 1024
MAX_SHORTCUT_BYTES = 1024
"""Of a request that there is a shortcut for: together they are at most a mebibyte."""
MAX_KEY_BYTES = 4096
"""Of host, path and query; a longer request is not kept."""

MIN_THREAD_BYTES = 1 << 16
"""From here on a body is compressed in a thread."""

_OVERHEAD = 2048
"""Bytes that an entry, and each of its codings, takes besides what it holds: as measured."""

_NO_CONTENT: Message = {"type": "http.response.body", "body": b""}


@dataclass(slots=True)
class EncodedAnswer:
    """What is sent in one content coding, ready to be sent."""

    start: Message
    content: Message
    not_modified: Message
    etag: bytes
    modified_at: int | None
    handler: str


@dataclass(slots=True)
class Entry:
    """One answer of the app, in every coding that was asked for."""

    version: object
    headers: list[tuple[bytes, bytes]]
    """without those that depend on the coding"""
    etag: bytes
    modified_at: int | None
    body: bytes
    is_text: bool
    handler: str
    """the template of its path"""
    size: int
    answers: dict[bytes, EncodedAnswer] = field(default_factory=dict)


class Flight:
    """An answer that is being made, for all who asked for it.

    As `send` of the app it holds the response back if it can be kept; else it passes it on.
    """

    def __init__(self, flights: dict[CacheKey, Flight], key: CacheKey, send: Send) -> None:
        self._flights = flights
        self._key = key
        self._send = send
        self.landed = asyncio.Event()
        self.followers = 0
        self.is_passed_on = False
        """the app answers by itself, as it will the others"""
        self.status = NO_RESPONSE
        self.headers: dict[bytes, bytes] = {}
        self.body = bytearray()

    def land(self) -> None:
        """Let the others go on: by the answer, or each by itself."""
        if self._flights.get(self._key) is self:
            del self._flights[self._key]
        self.followers = 0
        self.landed.set()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.lower(): value for name, value in message["headers"]}
            # A stream has no length; its start must not wait for its first part.
            length = int(self.headers.get(b"content-length", MAX_BODY_BYTES + 1))
            no_store = b"no-store" in self.headers.get(b"cache-control", b"")
            if self.status != 200 or length > MAX_BODY_BYTES or no_store:
                self.is_passed_on = True
                self.land()
        elif not self.is_passed_on:
            self.body += message.get("body", b"")
        if self.is_passed_on:
            await self._send(message)


class ByteCache:
    """The layer around the app. `version` gives anything that differs after a change.

    Paths that are `never_kept` do not wait for the version: what says how the database is must not.
    """

    def __init__(
        self,
        app: ASGIApp,
        version: Callable[[], Awaitable[object]],
        *,
        max_bytes: int = MAX_BYTES,
        requests: Requests | None = None,
        never_kept: Collection[str] = (),
    ) -> None:
        self.app = app
        self._requests = requests or Requests(CollectorRegistry())
        self._version = version
        self._max_bytes = max_bytes
        self._never_kept = never_kept
        self._bytes = 0
        self._entries: OrderedDict[CacheKey, Entry] = OrderedDict()
        self._flights: dict[CacheKey, Flight] = {}
        self._shortcuts: dict[Request, EncodedAnswer] = {}
        self._shortcut_version: object = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        if method not in ("GET", "HEAD") or path in self._never_kept:
            await self._requests.ask(self.app, scope, receive, send)
            return
        fields = dict(scope["headers"])  # none is there twice (see middleware)
        version = await self._version()
        if version != self._shortcut_version:
            self._shortcuts.clear()
            self._shortcut_version = version
        request = (
            path,
            scope["query_string"],
            fields.get(b"host", b""),
            scope["scheme"],
            fields.get(b"accept", b""),
            fields.get(b"accept-language", b""),
            fields.get(b"accept-encoding", b""),
        )
        answer = self._shortcuts.get(request)
        source = CACHE
        if answer is None:
            answer, source = await self._find(request, version, scope, receive, send)
            if answer is None:
                return
        has_it = is_current(fields, answer.etag, answer.modified_at)
        await send(answer.not_modified if has_it else answer.start)
        await send(_NO_CONTENT if has_it or method == "HEAD" else answer.content)
        self._requests.counter(answer.handler, method, 304 if has_it else 200, source).inc()

    async def _find(
        self, request: Request, version: object, scope: Scope, receive: Receive, send: Send
    ) -> tuple[EncodedAnswer | None, str]:
        """Return what there is no shortcut to, and who made it; None where the app has answered."""
        path, query, host, scheme, accept, languages, codings = request
        if len(path) + len(query) + len(host) > MAX_KEY_BYTES:
            await self._requests.ask(self.app, scope, receive, send)
            return None, APP
        language = choose_language(languages.decode("latin-1")) if languages else DEFAULT
        media_types = order_media_types(accept)
        key = (scheme, host, path, _canonical(query), media_types, language)
        source = CACHE
        while (entry := self._find_fresh(key, version)) is None:
            flight = self._flights.get(key)
            if flight is None:
                source = APP
                entry = await self._make(key, version, scope, receive, send)
                break
            flight.followers += 1
            await flight.landed.wait()
            if flight.is_passed_on:
                await self._requests.ask(self.app, scope, receive, send)
                return None, APP
        if entry is None:
            return None, APP
        answer = await self._encode(key, entry, codings)
        is_short = sum(map(len, request)) <= MAX_SHORTCUT_BYTES
        is_fresh = entry.version == self._shortcut_version and self._entries.get(key) is entry
        if is_fresh and is_short and len(self._shortcuts) < MAX_SHORTCUTS:
            self._shortcuts[request] = answer
        return answer, source

    def _find_fresh(self, key: CacheKey, version: object) -> Entry | None:
        entry = self._entries.get(key)
        if entry is None or entry.version != version:
            return None
        self._entries.move_to_end(key)
        return entry

    async def _make(
        self, key: CacheKey, version: object, scope: Scope, receive: Receive, send: Send
    ) -> Entry | None:
        """Ask the app while others wait; keep what it says if it may be kept."""
        method, started = scope["method"], time.monotonic()
        flight = self._flights[key] = Flight(self._flights, key, send)
        # Made as for GET, for all who wait.
        inner = {**as_get(scope), LET_GO: flight.land}

        async def receive_alone() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect" and flight.followers:
                # The client has left, the others still wait: the app must not notice.
                await flight.landed.wait()
            return message

        entry = None
        try:
            await self.app(inner, receive_alone, flight)
            if flight.status == 200 and not flight.is_passed_on:
                entry = self._keep(key, flight, version, inner)
        finally:
            flight.land()
            status = None if entry else flight.status
            self._requests.record(inner, method, status, time.monotonic() - started)
        return entry

    def _keep(self, key: CacheKey, flight: Flight, version: object, scope: Scope) -> Entry:
        headers, body = flight.headers, bytes(flight.body)
        kind = headers.get(b"content-type", b"")
        etag = headers.pop(b"etag", None) or make_tag(body, kind)
        headers.pop(b"content-length", None)
        headers.setdefault(b"cache-control", b"no-cache")
        varies = headers.get(b"vary", b"")
        if b"accept-encoding" not in varies.lower():
            headers[b"vary"] = varies + b", Accept-Encoding" if varies else b"Accept-Encoding"
        old = self._entries.pop(key, None)
        modified_at = date_answer(headers, etag, (old.etag, old.modified_at) if old else None)
        is_text = kind.startswith(b"text/") or b"json" in kind or b"xml" in kind
        entry = Entry(
            version,
            list(headers.items()),
            etag,
            modified_at,
            body,
            is_text and b"content-encoding" not in headers,
            name_handler(scope),
            len(body) + len(key[2]) + len(key[3]) + _OVERHEAD,  # type: ignore[arg-type]
        )
        self._entries[key] = entry
        self._bytes += entry.size - (old.size if old else 0)
        self._trim()
        return entry

    async def _encode(self, key: CacheKey, entry: Entry, accepted: bytes) -> EncodedAnswer:
        coding = (choose_encoding(accepted) or b"") if entry.is_text else b""
        if coding in entry.answers:
            return entry.answers[coding]
        body, etag, headers = entry.body, entry.etag, [*entry.headers]
        if coding:
            is_long = len(body) >= MIN_THREAD_BYTES
            body = (
                await asyncio.to_thread(encode, coding, body) if is_long else encode(coding, body)
            )
            etag = b'%s-%s"' % (etag[:-1], coding)
            headers.append((b"content-encoding", coding))
        headers.append((b"etag", etag))
        unchanged = [pair for pair in headers if not pair[0].startswith(b"content-")]
        headers.append((b"content-length", b"%d" % len(body)))
        answer = entry.answers[coding] = EncodedAnswer(
            {"type": "http.response.start", "status": 200, "headers": headers},
            {"type": "http.response.body", "body": body},
            {"type": "http.response.start", "status": 304, "headers": unchanged},
            etag,
            entry.modified_at,
            entry.handler,
        )
        size = len(body) + _OVERHEAD
        entry.size += size
        if self._entries.get(key) is entry:
            self._bytes += size
            self._trim()
        return answer

    def _trim(self) -> None:
        while self._bytes > self._max_bytes and self._entries:
            _, dropped = self._entries.popitem(last=False)
            self._bytes -= dropped.size
            # They hold the bodies too.
            self._shortcuts.clear()


@lru_cache(1024)
def _canonical(query: bytes) -> bytes:
    """Return the same for the same parameters in another order; repeated ones keep theirs."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
    return repr(sorted(pairs, key=lambda pair: pair[0])).encode() if query else b""
