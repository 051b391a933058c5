"""What an import reads: refused in constant memory where it is no export."""

from __future__ import annotations

import http.server
import io
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from urllib.error import URLError

import pytest

from pingboard.cli import import_url
from pingboard.cli.import_sources import READERS
from pingboard.cli.import_url import open_url
from pingboard.file_formats import Record
from pingboard.model import ConfigurationError

MIB = 1 << 20


class Endless(io.RawIOBase):
    """A beginning, and then the same for ever."""

    def __init__(self, start: bytes, part: bytes) -> None:
        self._start, self._part = start, part

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._start or self._part * max(1, len(buffer) // len(self._part))
        data = data[: len(buffer)]
        self._start = self._start[len(data) :]
        buffer[: len(data)] = data
        return len(data)


@pytest.mark.parametrize(
    ("form", "start", "part"),
    [
        ("pingstat", b"[", b"["),
        ("pingstat", b"[", b'{"a":'),
        ("pingstat", b'["', b"x"),
        ("pingstat", b'[{"', b"x"),
        ("pingstat", b"[", b" "),
        ("ndjson", b'{"', b"x"),
        ("csv", ",".join(Record._fields).encode() + b"\n", b"x"),
        ("csv", b"", b"a,"),
    ],
)
def test_what_has_no_end_is_refused_in_constant_memory(
    form: str, start: bytes, part: bytes
) -> None:
    stream = io.BufferedReader(Endless(start, part))
    tracemalloc.start()
    try:
        with pytest.raises(ConfigurationError, match=r"^it(s lines)? (has|is|are) "):
            for _ in READERS[form](stream):  # type: ignore[arg-type]
                pass
        assert tracemalloc.get_traced_memory()[1] < 20 * MIB
    finally:
        tracemalloc.stop()


def test_nested_brackets_in_a_line_are_a_fault_of_that_line() -> None:
    stream = io.BufferedReader(io.BytesIO(b'{"a":' + b"[" * 100_000 + b"\n"))
    (fault,) = READERS["ndjson"](stream)  # type: ignore[arg-type]
    assert str(fault).startswith("is not JSON: ")


@pytest.fixture
def redirect() -> Iterator[Callable[[str], str]]:
    """Makes an address that redirects to another; `{self}` in that is the address itself."""
    targets: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", targets[0].format(self=f"{self.path}x"))
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def redirect_to(target: str) -> str:
        targets[:] = [target]
        return f"http://127.0.0.1:{server.server_port}/"

    yield redirect_to
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_redirect_to_another_scheme_is_not_followed(
    redirect: Callable[[str], str], target: str
) -> None:
    with pytest.raises(OSError, match=r"neither http nor https|is not allowed"):
        open_url(redirect(target))


def test_redirects_without_end_are_given_up(redirect: Callable[[str], str]) -> None:
    with pytest.raises(OSError, match="redirect"):
        open_url(redirect("{self}"))


def test_a_redirect_does_not_lead_from_the_internet_into_our_network(
    redirect: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = redirect("http://127.0.0.1:1/")
    known = import_url._is_private
    monkeypatch.setattr(import_url, "_is_private", lambda url: url != address and known(url))
    with pytest.raises(URLError, match="private network"):
        open_url(address)


@pytest.mark.parametrize(
    ("url", "is_private"),
    [
        ("http://127.0.0.1/", True),
        ("http://[::1]/", True),
        ("http://192.168.1.2/", True),
        ("http://169.254.169.254/", True),
        ("http://[::ffff:10.0.0.1]/", True),
        ("http://8.8.8.8/", False),
    ],
)
def test_private_addresses_are_known(url: str, is_private: bool) -> None:
    assert import_url._is_private(url) is is_private
