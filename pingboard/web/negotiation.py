"""Accept, Accept-Encoding and Accept-Language -> the form of an answer (RFC 9110, section 12.5).

werkzeug reads the q-values of all three. A header longer than `MAX_HEADER_BYTES` counts as absent:
no client sends one, and what is chosen is remembered.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
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


def choose_media_type(accept: str, offered: Sequence[str]) -> str:
    """Return the media type that the header prefers among those offered; ties go to the first.

    Also the first where it accepts none: an answer in another form is of more use than a 406.
    """
    return max(offered, key=_read_media_types(accept).quality)


@lru_cache(256)
def order_media_types(accept: bytes) -> tuple[int, ...]:
    """Return the place of each of `MEDIA_TYPES` in the order that the header prefers.

    All that `choose_media_type` depends on, in a few bytes, whatever the client sent.
    """
    accepted = _read_media_types(accept.decode("latin-1"))
    weights = [accepted.quality(media_type) for media_type in MEDIA_TYPES]
    order = sorted(set(weights), reverse=True)
    return tuple(order.index(weight) for weight in weights)


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
