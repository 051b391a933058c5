"""Answers as the byte cache keeps them: what the app said -> what is sent, in each coding.

Without I/O but for the sending itself.
"""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache

from starlette.types import Message, Send

from pingboard.web.encodings import encode
from pingboard.web.recorder import Recorder
from pingboard.web.renewal import Renew
from pingboard.web.tally import Count, Note

Headers = list[tuple[bytes, bytes]]

_OVERHEAD = 2048
"""What an entry, and each of its codings, takes besides the body: as measured, roughly."""

_NO_CONTENT: Message = {"type": "http.response.body", "body": b""}

_ENTITY_TAG = re.compile(rb'"[^"]*"')


@dataclass(slots=True)
class Entry:
    """One answer, in every coding that was asked for."""

    version: object
    made_at: float
    took_s: float
    is_made_anew: bool
    """the first time may have taken long for other reasons"""
    headers: Headers
    """without those that depend on the coding"""
    etag: bytes
    body: bytes
    is_text: bool
    handler: str
    """the template of its path"""
    renew: Renew | None
    codings: dict[bytes, Answer] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return _OVERHEAD + len(self.body) + sum(one.size for one in self.codings.values())


@dataclass(slots=True)
class Answer:
    """What is sent, ready to be sent."""

    start: Message
    content: Message
    not_modified: Message
    etag: bytes
    handler: str
    served: Count
    """how many GETs it was the answer to, without the app"""

    @property
    def size(self) -> int:
        return _OVERHEAD + len(self.content["body"])


def make_entry(
    recorder: Recorder,
    version: object,
    took_s: float,
    note: Note,
    renew: Renew | None,
    *,
    is_made_anew: bool,
) -> Entry:
    headers = {name.lower(): value for name, value in recorder.start["headers"]}
    kind = headers.get(b"content-type", b"")
    if b"etag" in headers:
        renew = None
    etag = headers.pop(b"etag", None) or _digest(recorder.body)
    headers.pop(b"content-length", None)
    headers.setdefault(b"cache-control", b"no-cache")
    varies = [one.strip() for one in headers.get(b"vary", b"").split(b",") if one.strip()]
    if b"accept-encoding" not in [one.lower() for one in varies]:
        headers[b"vary"] = b", ".join([*varies, b"Accept-Encoding"])
    is_text = kind.startswith(b"text/") or b"json" in kind or b"xml" in kind
    return Entry(
        version,
        time.monotonic(),
        took_s,
        is_made_anew,
        list(headers.items()),
        etag,
        recorder.body,
        is_text and b"content-encoding" not in headers,
        note.handler,
        renew,
    )


def renew_entry(entry: Entry) -> Entry | None:
    """The entry with its body made anew, itself where that is the same; None where it can't be."""
    made = entry.renew() if entry.renew is not None else None
    if made is None:
        return None
    body, at = made
    if body == entry.body:
        return entry
    headers = [_date(pair, at) for pair in entry.headers]
    return replace(entry, headers=headers, body=body, etag=_digest(body), codings={})


def _digest(body: bytes) -> bytes:
    return b'"%s"' % hashlib.blake2b(body, digest_size=9).hexdigest().encode()


def _date(header: tuple[bytes, bytes], at: datetime) -> tuple[bytes, bytes]:
    if header[0] != b"last-modified":
        return header
    return header[0], _write_date(at.replace(microsecond=0))


# Many pongs come within one second.
@lru_cache(maxsize=2)
def _write_date(at: datetime) -> bytes:
    return format_datetime(at, usegmt=True).encode()


def make_answer(entry: Entry, coding: bytes, served: Count) -> Answer:
    body, etag, headers = entry.body, entry.etag, [*entry.headers]
    if coding:
        body = encode(coding, entry.body)
        etag = b'%s-%s"' % (etag[:-1], coding)
        headers.append((b"content-encoding", coding))
    headers.append((b"etag", etag))
    unchanged = [pair for pair in headers if not pair[0].startswith(b"content-")]
    headers.append((b"content-length", b"%d" % len(body)))
    return Answer(
        {"type": "http.response.start", "status": 200, "headers": headers},
        {"type": "http.response.body", "body": body},
        {"type": "http.response.start", "status": 304, "headers": unchanged},
        etag,
        entry.handler,
        served,
    )


async def send_answer(answer: Answer, method: str, matches: bytes, send: Send) -> int:
    """Send it; the status that it had."""
    if matches and is_matched(matches, answer.etag):
        await send(answer.not_modified)
        await send(_NO_CONTENT)
        return 304
    await send(answer.start)
    await send(answer.content if method == "GET" else _NO_CONTENT)
    return 200


def is_matched(given: bytes, etag: bytes) -> bool:
    """Whether an If-None-Match names the tag; by weak comparison (RFC 9110, 13.1.2)."""
    if given in (etag, b"*"):
        return True
    return etag.removeprefix(b"W/") in _ENTITY_TAG.findall(given)
