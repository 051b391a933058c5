"""Which form of an answer a client wants, and does it have it already? (RFC 9110, 12.5 and 13)

werkzeug reads the q-values of Accept, Accept-Encoding and Accept-Language. Such a header counts as
absent where it is longer than `MAX_HEADER_BYTES`: no client sends one, and what is chosen is
remembered.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache

import brotli
import zstandard
from werkzeug.datastructures import Accept, MIMEAccept
from werkzeug.http import parse_accept_header

MAX_HEADER_BYTES = 1000

STREAM_WINDOW_LOG = 17
"""Of a stream, how far back its coding refers: 128 KiB, because many may be open for long."""

MEDIA_TYPES = (
    "application/json",
    "text/html",
    "text/markdown",
    "text/csv",
    "application/x-ndjson",
    "text/event-stream",
)
"""Every media type that is offered beside another."""

_CODINGS: dict[str, Callable[[bytes], bytes]] = {
    # Made once for each version and sent often, so a little more work than on the fly is worth it.
    "zstd": lambda body: zstandard.compress(body, 9),
    "br": lambda body: brotli.compress(body, quality=5),
    # No time in the header: the same bytes for the same body.
    "gzip": lambda body: gzip.compress(body, 6, mtime=0),
}

_ENTITY_TAG = re.compile(rb'"[^"]*"')
_VOLATILE = {
    b"json": re.compile(rb'"generated_at":"[^"]*"|"window":\{[^}]*\}'),
    b"html": re.compile(
        rb'<time class="[a-z ]*generated"[^>]*>[^<]*|data-from="[^"]*" data-to="[^"]*"'
    ),
}
"""By the kind of text: when it was made, and the window that it is of, which moves by itself."""
_DATE_BYTES = 29


def choose_media_type(accept: str, offered: Sequence[str]) -> str:
    """Return the media type that the header prefers among those offered; ties go to the first.

    Also the first where it accepts none: an answer in another form is of more use than a 406.
    """
    return max(offered, key=_read_media_types(accept).quality)


def names_json(accept: str) -> bool:
    """Whether the header names JSON, by which pingstat decides; `*/*` does not."""
    return "application/json" in accept


@lru_cache(256)
def order_media_types(accept: bytes) -> tuple[int, ...]:
    """Return whether JSON is named, and the place of each of `MEDIA_TYPES` in the order preferred.

    All that `names_json` and `choose_media_type` depend on, in a few bytes, whatever the client
    sent.
    """
    text = accept.decode("latin-1")
    accepted = _read_media_types(text)
    weights = [accepted.quality(media_type) for media_type in MEDIA_TYPES]
    order = sorted(set(weights), reverse=True)
    return names_json(text), *(order.index(weight) for weight in weights)


@lru_cache(256)
def choose_encoding(accepted: bytes) -> bytes | None:
    """Return the coding that the header prefers, b"" for none; None where it accepts nothing.

    Of equal weight, the one that compresses best.
    """
    weights = parse_accept_header(_shorten(accepted.decode("latin-1")), Accept)
    best = max(_CODINGS, key=weights.quality)
    identity = next((weight for name, weight in weights if name.lower() == "identity"), None)
    if weights.quality(best) and weights.quality(best) >= (identity or 0):
        return best.encode()
    if identity is None:  # acceptable unless it is refused (RFC 9110, section 12.5.3)
        identity = next((weight for name, weight in weights if name == "*"), 1.0)
    return b"" if identity else None


def encode(coding: bytes, body: bytes) -> bytes:
    """Return the body in a coding that `choose_encoding` gave."""
    return _CODINGS[coding.decode()](body)


def encode_stream(coding: bytes, parts: Iterable[str]) -> Iterator[bytes]:
    """Yield a text as it comes, in a coding of `choose_encoding`; quick rather than small."""
    encode_part, finish = _open_stream(coding)
    for part in parts:
        yield encode_part(part.encode())
    yield finish()


def _open_stream(coding: bytes) -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    """Return what encodes the next bytes of a stream, and what ends it."""
    if coding == b"zstd":
        parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=STREAM_WINDOW_LOG)
        zstd = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        return zstd.compress, zstd.flush
    if coding == b"br":
        br = brotli.Compressor(quality=3, lgwin=STREAM_WINDOW_LOG)
        return br.process, br.finish
    if coding == b"gzip":
        gz = zlib.compressobj(4, wbits=31)  # 31: with gzip's header
        return gz.compress, gz.flush
    return bytes, bytes


def _read_media_types(accept: str) -> MIMEAccept:
    """Parameters, such as a charset, make no difference to what we offer."""
    accepted = parse_accept_header(_shorten(accept), MIMEAccept)
    return MIMEAccept([(kind.partition(";")[0], weight) for kind, weight in accepted])


def _shorten(header: str) -> str:
    return header if len(header) <= MAX_HEADER_BYTES else ""


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
    except (ValueError, OverflowError):
        return None
