"""Content codings: which one a client wants, and bytes in it (RFC 9110, section 12.5.3)."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

import brotli
import zstandard

_CODINGS: dict[bytes, Callable[[bytes], bytes]] = {
    # Made once for each version and sent often, so a little more work than on the fly is worth it.
    b"zstd": lambda body: zstandard.compress(body, 9),
    b"br": lambda body: brotli.compress(body, quality=5),
    # No time in the header: the same bytes for the same body.
    b"gzip": lambda body: gzip.compress(body, 6, mtime=0),
}


def encode_stream(coding: bytes, parts: Iterable[str]) -> Iterator[bytes]:
    """A text as it comes, in a coding that `choose_encoding` gave; quick rather than small."""
    encode_part, finish = _open_stream(coding)
    for part in parts:
        yield encode_part(part.encode())
    yield finish()


def _open_stream(coding: bytes) -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    """What encodes the next bytes of a stream, and what ends it."""
    if coding == b"zstd":
        zstd = zstandard.ZstdCompressor(3).compressobj()
        return zstd.compress, zstd.flush
    if coding == b"br":
        br = brotli.Compressor(quality=3)
        return br.process, br.finish
    if coding == b"gzip":
        gz = zlib.compressobj(4, wbits=31)  # 31: with gzip's header
        return gz.compress, gz.flush
    return bytes, bytes


def encode(coding: bytes, body: bytes) -> bytes:
    """The body in a coding that `choose_encoding` gave."""
    return _CODINGS[coding](body)


@lru_cache(1024)
def choose_encoding(accepted: bytes) -> bytes:
    """The coding that an Accept-Encoding header prefers; empty for none.

    Of equal weight, the one that compresses best.
    """
    weights = dict(_read_weight(part) for part in accepted.lower().split(b","))
    of_others = weights.get(b"*", 0.0)
    best, best_weight = b"", 0.0
    for coding in _CODINGS:
        weight = weights.get(coding, of_others)
        if weight > best_weight:
            best, best_weight = coding, weight
    return best if best_weight >= weights.get(b"identity", 0.0) else b""


def _read_weight(part: bytes) -> tuple[bytes, float]:
    coding, _, parameters = part.partition(b";")
    name, _, weight = parameters.strip().partition(b"=")
    try:
        return coding.strip(), float(weight) if name.strip() == b"q" else 1.0
    except ValueError:
        return coding.strip(), 0.0
