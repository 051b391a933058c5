"""Conditional requests: does the client have the answer already (RFC 9110, section 13)?"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache

_ENTITY_TAG = re.compile(rb'"[^"]*"')
_VOLATILE = {
    b"json": re.compile(rb'"generated_at":"[^"]*"|"window":\{[^}]*\}'),
    b"html": re.compile(
        rb'<time class="[a-z ]*generated"[^>]*>[^<]*|data-from="[^"]*" data-to="[^"]*"'
    ),
}
"""By the kind of text: when it was made, and the window that it is of, which moves by itself."""
_DATE_BYTES = 29


def is_current(fields: Mapping[bytes, bytes], etag: bytes, modified_at: int | None) -> bool:
    """Whether a client with these request headers has an answer of this tag and date."""
    matches = fields.get(b"if-none-match")
    if matches is not None:
        return is_matched(matches, etag)
    since = parse_date(fields.get(b"if-modified-since", b""))
    return since is not None and modified_at is not None and modified_at <= since


def is_matched(given: bytes, etag: bytes) -> bool:
    """Whether an If-None-Match names the tag; by weak comparison."""
    if given in (etag, b"*"):
        return True
    return etag.removeprefix(b"W/") in _ENTITY_TAG.findall(given)


def make_tag(body: bytes, media_type: bytes) -> bytes:
    """Return the tag of a body; a weak one where it leaves out when the body was made."""
    stable = body
    for kind, volatile in _VOLATILE.items():
        if kind in media_type:
            stable = volatile.sub(b"", body, 2)
    weak = b"" if len(stable) == len(body) else b"W/"
    return b'%s"%s"' % (weak, hashlib.blake2b(stable, digest_size=9).hexdigest().encode())


def date_answer(
    headers: dict[bytes, bytes], etag: bytes, before: tuple[bytes, int | None] | None
) -> int | None:
    """Return since when an answer is as it is, seconds since 1970, and put it into its headers.

    `before` are the tag and the date of the last answer to the same. None where the answer changed
    twice within one second, which a date can't tell.
    """
    if b"last-modified" in headers:  # a file
        return parse_date(headers[b"last-modified"])
    modified_at: int | None = int(time.time())
    if before is not None and before[0] == etag:
        modified_at = before[1] or modified_at
    elif before is not None and before[1] in (None, modified_at):
        modified_at = None
    if modified_at is not None:
        headers[b"last-modified"] = formatdate(modified_at, usegmt=True).encode()
    return modified_at


def parse_date(text: bytes) -> int | None:
    """Return an HTTP date as seconds since 1970; None where it is none."""
    return _parse_date(text) if len(text) == _DATE_BYTES else None


@lru_cache(256)
def _parse_date(text: bytes) -> int | None:
    try:
        return int(parsedate_to_datetime(text.decode("latin-1")).timestamp())
    except ValueError:
        return None
