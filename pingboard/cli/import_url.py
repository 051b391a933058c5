"""An http(s) address -> its bytes, by way of redirects that lead where the first address may."""

from __future__ import annotations

import ipaddress
import socket
import time
import urllib.request
from http.client import HTTPMessage, HTTPResponse
from typing import IO, Self, cast
from urllib.error import URLError
from urllib.parse import urlsplit

MAX_REDIRECTS = 5
TIMEOUT_S = 60

MIN_BYTES_PER_S = 1_000
SLOW_AFTER_S = 60
"""An import holds the database: after so long an answer must have come at that rate."""


class Download:
    """The body of an answer, which must keep coming."""

    def __init__(self, answer: HTTPResponse) -> None:
        self.size = answer.length
        """in bytes, where the server says"""
        self._answer = answer
        self._count = 0
        self._waited_s = 0.0

    def read(self, size: int) -> bytes:
        """Return what has come, at most `size` bytes; raises TimeoutError where it is too slow."""
        began = time.monotonic()
        data = self._answer.read1(size)
        self._waited_s += time.monotonic() - began
        self._count += len(data)
        is_slow = self._count < MIN_BYTES_PER_S * self._waited_s
        if data and is_slow and self._waited_s > SLOW_AFTER_S:
            raise TimeoutError(f"it arrives at less than {MIN_BYTES_PER_S:,} bytes a second")
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._answer.close()


def open_url(url: str) -> Download:
    """Open it; raises OSError where it, or what it redirects to, can't be had or is not for us.

    ValueError where it is not an address.
    """
    if " " in url or not url.isprintable():
        raise ValueError("an address has no spaces; write %20 for one in its path")
    if "@" in urlsplit(url).netloc:  # urllib would take what follows a colon for a port
        raise ValueError("an address has no user and no password; download it, and import the file")
    opener = urllib.request.build_opener(_Redirects(is_private=_is_private(url)))
    return Download(cast("HTTPResponse", opener.open(url, timeout=TIMEOUT_S)))


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to http and https alone, and never from the Internet into our network."""

    max_redirections = MAX_REDIRECTS
    inf_msg = f"redirects in a circle, or more than {MAX_REDIRECTS} times: "

    def __init__(self, *, is_private: bool) -> None:
        self._may_be_private = is_private

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The request to go on with; raises URLError where that is not allowed."""
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise URLError(f"it redirects to {newurl}, which is neither http nor https")
        if not self._may_be_private and _is_private(newurl):
            raise URLError(f"it redirects to {newurl}, which is in a private network")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_private(url: str) -> bool:
    """Whether a name leads to any address that is not one of the Internet."""
    host = urlsplit(url).hostname or ""
    entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in entries]
    return not all(address.is_global for address in addresses)
