"""Where the next page begins, as an opaque text: a key and a digest that tells a changed one.

The digest needs no secret: a cursor gives access to nothing, so it only has to catch mistakes, such
as a text cut short, or a cursor that is taken over to another query.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from urllib.parse import urlencode

from starlette.responses import Response

Key = list[int] | list[str]
_DIGEST_BYTES = 6


def write_cursor(key: Key, query: str) -> str:
    """The cursor of a key in a query; `query` is what has to stay the same from page to page."""
    payload = json.dumps(key).encode()
    return base64.urlsafe_b64encode(payload + _digest(payload, query)).decode().rstrip("=")


def read_cursor(cursor: str, query: str) -> Key:
    """The key of a cursor; ValueError where it is not one that we gave for this query."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    payload, digest = raw[:-_DIGEST_BYTES], raw[-_DIGEST_BYTES:]
    # A text can have spare bits that decoding drops; only what we would write ourselves counts.
    if not payload or digest != _digest(payload, query):
        raise ValueError(
            "should be left out, or be the cursor that the page before gave for the same query"
        )
    key: Key = json.loads(payload)
    if write_cursor(key, query) != cursor:
        raise ValueError("should be the cursor of the page before, unchanged")
    return key


def link_next(response: Response, parameters: Mapping[str, str]) -> None:
    """Add the `Link` to the next page (RFC 8288).

    A relative reference, so that it holds under any host name and below any path prefix.
    """
    response.headers["Link"] = f'<?{urlencode(parameters)}>; rel="next"'


def _digest(payload: bytes, query: str) -> bytes:
    return hashlib.sha256(payload + b"\0" + query.encode()).digest()[:_DIGEST_BYTES]
