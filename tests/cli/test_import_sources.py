"""What an import reads: refused in constant memory where it is no export."""

from __future__ import annotations

import io
import tracemalloc

import pytest

from pingboard.cli.import_sources import READERS
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
