"""Rendered answers kept as bytes, in front of the whole app: a request that asks again for what has
not changed is answered here, without routing, without a query, without compressing.

What the app has to know of it:

* Kept is a 200 to GET or HEAD that says its length and whose `Cache-Control` does not say
  `no-store`. A stream (server-sent events, an export) passes untouched, as does all else.
* The key is the name that the site was asked by, the path, the query parameters in any order,
  `Accept`, and which of our languages `Accept-Language` prefers; so an answer may depend on these
  and on nothing else of the request. `Vary` has to name the headers where it does.
* An answer is as of a version of the data and a minute. The next request after either has changed
  is answered anew; so `Cache-Control` is the app's to say, and `no-cache` where it says nothing.
* The ETag is the app's own where it sets one, else a digest of the body: an answer that comes out
  the same after a change keeps its tag. Each content coding has a tag of its own (RFC 9110, 8.8.3).
* A path may offer a way to make its body anew in microseconds (see `renewal`); after a change that
  is taken, and the path itself is asked only where it fails.
* Requests that come while an answer is being made wait for it. One that took longer than 250 ms
  to make anew is then given for a second, whatever has changed: so that what is asked often costs
  no more than a part of one core.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import lru_cache
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Receive, Scope, Send

from pingboard.web.encodings import choose_encoding
from pingboard.web.entries import (
    Answer,
    Entry,
    make_answer,
    make_entry,
    renew_entry,
    send_answer,
)
from pingboard.web.middleware import IS_HEAD
from pingboard.web.pages.language import DEFAULT, choose_language
from pingboard.web.recorder import Recorder
from pingboard.web.renewal import invite
from pingboard.web.tally import APP, CACHE, Tally, take_notes

Key = tuple[object, ...]
Asked = tuple[str, bytes, bytes, str | None, bytes, bytes, bytes]
"""Path, query, Host, scheme, Accept, Accept-Language, Accept-Encoding; as they came."""

MAX_BYTES = 64 << 20
MAX_SHORTCUTS = 2048
LONGEST_REQUEST = 4096
"""Bytes of query and of the headers of the key together; a longer request is not kept."""

SLOW_S = 0.25
MOST_STALE_S = 1.0


class ByteCache:
    """The outermost ASGI layer. `version` gives anything that differs after a change."""

    def __init__(
        self,
        app: ASGIApp,
        version: Callable[[], Awaitable[object]],
        *,
        max_bytes: int = MAX_BYTES,
        slow_s: float = SLOW_S,
        tally: Tally | None = None,
    ) -> None:
        self.app = app
        self._tally = tally or Tally()
        self._version = version
        self._max_bytes = max_bytes
        self._slow_s = slow_s
        self._bytes = 0
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._flights: dict[Key, asyncio.Future[None]] = {}
        self._shortcuts: dict[Asked, Answer] = {}
        self._shortcut_version: object = None
        self._uncacheable: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from memory, or let the app answer and remember it."""
        if (
            scope["type"] != "http"
            or scope["method"] not in ("GET", "HEAD")
            # Before asking for the version: what says how the database is must not wait for it.
            or scope["path"] in self._uncacheable
        ):
            await self._tally.pass_on(self.app, scope, receive, send)
            return
        accept = codings = matches = languages = host = b""
        for name, value in scope["headers"]:
            if name == b"accept-encoding":
                codings = value
            elif name == b"accept":
                accept = value
            elif name == b"accept-language":
                languages = value
            elif name == b"if-none-match":
                matches = value
            elif name == b"host":
                host = value
        version = await self._version()
        if version != self._shortcut_version:
            self._shortcuts.clear()
            self._shortcut_version = version
        path, query, scheme = scope["path"], scope["query_string"], scope.get("scheme")
        asked = (path, query, host, scheme, accept, languages, codings)
        answer = self._shortcuts.get(asked)
        if answer is None:
            await self._answer(asked, version, matches, scope, receive, send)
        elif matches or scope["method"] == "HEAD":
            await self._send(answer, CACHE, scope["method"], matches, send)
        else:  # what is asked most, so without another call
            await send(answer.start)
            await send(answer.content)
            answer.served.value += 1

    async def _answer(
        self,
        asked: Asked,
        version: object,
        matches: bytes,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Answer what there is no shortcut to, and make one."""
        path, query, host, scheme, accept, languages, codings = asked
        length = sum(len(one) for one in (query, host, accept, languages, codings))
        if length > LONGEST_REQUEST:
            await self._tally.pass_on(self.app, scope, receive, send)
            return
        language = choose_language(languages.decode("latin-1")) if languages else DEFAULT
        key = (scheme, host, path, _canonical(query), accept, language)
        entry, source = self._find_at_once(key, version), CACHE
        if entry is None:
            entry, source = await self._find(key, version, scope, receive, send)
        if entry is None:
            return
        answer = self._encoded(key, entry, codings)
        if entry.version == version and len(self._shortcuts) < MAX_SHORTCUTS:
            self._shortcuts[asked] = answer
        await self._send(answer, source, scope["method"], matches, send)

    async def _send(
        self, answer: Answer, source: str, method: str, matches: bytes, send: Send
    ) -> None:
        status = await send_answer(answer, method, matches, send)
        self._tally.count(answer.handler, method, status, source).value += 1

    async def _find(
        self, key: Key, version: object, scope: Scope, receive: Receive, send: Send
    ) -> tuple[Entry | None, str]:
        """What the app makes, or has made for another request that was waited for, and who made it.

        None where the app has answered by itself.
        """
        while (flight := self._flights.get(key)) is not None:
            await flight
            if key not in self._entries:
                await self._tally.pass_on(self.app, scope, receive, send)
                return None, APP
            if (entry := self._find_at_once(key, version)) is not None:
                return entry, CACHE
        return await self._fly(key, version, scope, receive, send), APP

    def _find_at_once(self, key: Key, version: object) -> Entry | None:
        """An entry that is fresh, or made anew here and now; None where the app has to make it."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.version == version or self._is_good_enough(entry):
            self._entries.move_to_end(key)
            return entry
        renewed = renew_entry(entry)
        if renewed is None:
            return None
        if renewed is not entry:
            self._keep(key, renewed)
        renewed.version = version
        return renewed

    async def _fly(
        self, key: Key, version: object, scope: Scope, receive: Receive, send: Send
    ) -> Entry | None:
        """Ask the app while others wait; keep what it says if it may be kept."""
        flight = self._flights[key] = asyncio.get_running_loop().create_future()

        def land() -> None:
            if not flight.done():
                flight.set_result(None)
                del self._flights[key]

        started = time.monotonic()
        recorder = Recorder(send, scope["method"], land)
        try:
            asked, note = take_notes({**scope, "method": "GET"})
            offers = invite(asked)
            if scope["method"] == "HEAD":
                asked[IS_HEAD] = True
            await self.app(asked, receive, recorder)
            if scope["method"] == "HEAD" and not recorder.body:
                # What has no body now may have left it out, because nobody asked for it.
                await recorder.give_up()
            if recorder.passed_on:
                if recorder.is_uncacheable and len(self._uncacheable) < MAX_SHORTCUTS:
                    self._uncacheable.add(scope["path"])
                self._tally.add(note, scope["method"], recorder.start["status"])
                return None
            took_s = time.monotonic() - started
            renew, again = offers[0] if offers else None, key in self._entries
            entry = make_entry(recorder, version, took_s, note, renew, is_made_anew=again)
            self._keep(key, entry)
            return entry
        finally:
            land()

    def _is_good_enough(self, entry: Entry) -> bool:
        is_slow = entry.is_made_anew and entry.took_s > self._slow_s
        return is_slow and time.monotonic() - entry.made_at < MOST_STALE_S

    def _keep(self, key: Key, entry: Entry) -> None:
        old = self._entries.pop(key, None)
        self._bytes += entry.size - (old.size if old else 0)
        self._entries[key] = entry
        self._trim()

    def _encoded(self, key: Key, entry: Entry, accepted: bytes) -> Answer:
        coding = choose_encoding(accepted) if entry.is_text else b""
        answer = entry.codings.get(coding)
        if answer is None:
            served = self._tally.count(entry.handler, "GET", 200, CACHE)
            answer = entry.codings[coding] = make_answer(entry, coding, served)
            if self._entries.get(key) is entry:
                self._bytes += answer.size
                self._trim()
        return answer

    def _trim(self) -> None:
        while self._bytes > self._max_bytes and self._entries:
            _, dropped = self._entries.popitem(last=False)
            self._bytes -= dropped.size
            # They hold the bodies too.
            self._shortcuts.clear()


@lru_cache(maxsize=MAX_SHORTCUTS)
def _canonical(query: bytes) -> object:
    """The same for the same parameters in another order; repeated ones keep theirs."""
    if not query:
        return b""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
    return tuple(sorted(pairs, key=lambda pair: pair[0]))
