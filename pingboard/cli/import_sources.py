"""Files, addresses and stdin -> rows, with no more of them in memory than a chunk."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from pingboard.cli.import_url import Download, open_url
from pingboard.file_formats import Record, read_csv, read_pingstat, read_record
from pingboard.model import ConfigurationError

Read = Record | str

MAX_VALUE_BYTES = 1 << 20
"""Of a row, or a text in it; what is longer is no export, and must not fill the memory."""


def open_source(source: str) -> tuple[IO[bytes] | Download, int | None]:
    """A file, an http(s) address or `-` for stdin; and its size in bytes, where that is known."""
    try:
        if source == "-":
            return sys.stdin.buffer, None
        if urlsplit(source).scheme in ("http", "https"):
            download = open_url(source)
            return download, download.size
        path = Path(source)
        return path.open("rb"), path.stat().st_size
    except HTTPError as error:
        raise ConfigurationError(_describe_refusal(error)) from error
    except (OSError, ValueError, HTTPException) as error:
        raise ConfigurationError(f"it can't be read: {_describe(error)}") from error


def _describe_refusal(error: HTTPError) -> str:
    """Return what a server says that does not have what was asked for, such as a room."""
    detail = ""
    with error, contextlib.suppress(OSError, ValueError, HTTPException, RecursionError):
        answer = json.loads(error.read(10_000))
        if isinstance(answer, dict):
            text = str(answer.get("detail") or answer.get("error") or "")
            detail = f": {''.join(filter(str.isprintable, text))}"
    return f"it can't be read: the other side answers {error.code} {error.reason}{detail[:300]}"


def _describe(error: Exception) -> str:
    """Return what an operating system or a server says, without the name of the source."""
    reason = getattr(error, "reason", None) or error
    return getattr(reason, "strerror", None) or _first_line(reason)


class Counted(io.RawIOBase):
    """A stream that tells how many bytes were read from it, and has no fewer than its size."""

    def __init__(
        self, stream: IO[bytes] | Download, size: int | None, on_read: Callable[[int], object]
    ) -> None:
        self._stream = stream
        self._missing = size or 0
        self._on_read = on_read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """As a raw stream does; ConfigurationError where the source breaks off."""
        try:
            data = self._stream.read(len(buffer))
        except (OSError, HTTPException) as error:
            raise ConfigurationError(f"reading it failed: {_describe(error)}") from error
        self._missing -= len(data)
        if not data and self._missing > 0:
            raise ConfigurationError(f"it breaks off {self._missing:,} bytes before its end")
        buffer[: len(data)] = data
        self._on_read(len(data))
        return len(data)


def read_pingstat_rows(stream: io.BufferedReader) -> Iterator[Read]:
    """The rows of a `stats.raw.json`."""
    import ijson

    if _peek_first(stream) != b"[":
        raise ConfigurationError("it is not a list of rows, as pingstat's stats.raw.json is")
    is_empty = True
    try:
        for row in _read_flat_objects(stream):
            is_empty = False
            yield read_pingstat(row)
    except ijson.JSONError as error:
        raise ConfigurationError(f"it is not JSON: {_first_line(error)}") from error
    if is_empty:
        raise ConfigurationError(
            "it has no rows; does the other side have that room, and is max_age long enough?"
        )


class _Watched:
    """A stream of JSON that has an event now and then."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream
        self.bytes_without_event = 0

    def read(self, size: int) -> bytes:
        """Read on; ConfigurationError where one value has no end."""
        data = self._stream.read(size)
        self.bytes_without_event += len(data)
        if self.bytes_without_event > MAX_VALUE_BYTES:
            raise ConfigurationError(f"it has a value of more than {MAX_VALUE_BYTES} bytes")
        return data


def _read_flat_objects(stream: io.BufferedReader) -> Iterator[dict[str, Any]]:
    """The objects of a list, in constant memory: none has a list or an object in it."""
    import ijson

    watched, row, key, depth = _Watched(stream), dict[str, Any](), "", 0
    for event, value in ijson.basic_parse(watched, use_float=True):
        watched.bytes_without_event = 0
        if event in ("start_map", "start_array"):
            depth += 1
            if depth > 2 or (depth == 2 and event == "start_array"):
                raise ConfigurationError("it has a list or an object inside a row")
            row = {}
        elif event in ("end_map", "end_array"):
            depth -= 1
            if event == "end_map":
                yield row
        elif event == "map_key":
            key = value
        elif depth == 2:
            row[key] = value
        else:
            yield value  # no object, which is said of it as of any other wrong row


def _read_lines(stream: io.BufferedReader) -> Iterator[bytes]:
    while line := stream.readline(MAX_VALUE_BYTES):
        if len(line) == MAX_VALUE_BYTES:
            raise ConfigurationError(f"it has a line of {MAX_VALUE_BYTES} bytes or more")
        yield line


def read_ndjson_rows(stream: io.BufferedReader) -> Iterator[Read]:
    """The rows of an export as NDJSON."""
    first = _peek_first(stream)
    if first not in (b"{", b""):
        hint = "; pingstat's is imported by `pingboard import pingstat`" if first == b"[" else ""
        raise ConfigurationError(f"its lines are not JSON objects{hint}")
    for line in _read_lines(stream):
        if line.strip():
            yield _read_line(line)


def read_csv_rows(stream: io.BufferedReader) -> Iterator[Read]:
    """The rows of an export as CSV."""
    first = _peek_first(stream)
    if first in (b"{", b"["):
        command = "pingstat" if first == b"[" else "ndjson"
        raise ConfigurationError(f"it is JSON, not CSV; try `pingboard import {command}`")
    line = stream.peek(4096).partition(b"\n")[0]
    delimiter = ";" if b";" in line and b"," not in line else ","
    lines = (line.decode() for line in _read_lines(stream))
    rows = csv.DictReader(lines, delimiter=delimiter)
    try:
        missing = [name for name in Record._fields if name not in (rows.fieldnames or ())]
        if missing:
            raise ConfigurationError(
                f"its first line lacks {missing[0]!r}, a column of `pingboard export --format csv`"
            )
        for row in rows:
            yield "has more values than columns" if None in row else read_csv(row)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConfigurationError(f"it is not CSV: {error}") from error


def _peek_first(stream: io.BufferedReader) -> bytes:
    """Return the first byte that says something; a byte order mark is skipped for good."""
    if stream.peek(3)[:3] == codecs.BOM_UTF8:
        stream.read(3)
    return stream.peek(4096).lstrip()[:1]


READERS = {
    "pingstat": read_pingstat_rows,
    "ndjson": read_ndjson_rows,
    "csv": read_csv_rows,
}


def _read_line(line: bytes) -> Read:
    try:
        return read_record(json.loads(line))
    except (ValueError, RecursionError) as error:
        return f"is not JSON: {_first_line(error)}"


def _first_line(error: object) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
