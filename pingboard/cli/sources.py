"""Files, addresses and stdin -> rows, with no more of them in memory than a chunk."""

from __future__ import annotations

import csv
import io
import json
import sys
from http.client import HTTPException
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pingboard.model import ConfigurationError
from pingboard.records import read_csv, read_pingstat, read_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pingboard.records import Record

    Read = Record | str


def open_source(source: str) -> tuple[IO[bytes], int | None]:
    """A file, an http(s) address or `-` for stdin; and its size in bytes, where that is known."""
    import urllib.request

    try:
        if source == "-":
            return sys.stdin.buffer, None
        if urlsplit(source).scheme in ("http", "https"):
            answer = urllib.request.urlopen(source, timeout=60)  # noqa: S310 (no other scheme)
            return answer, answer.length
        path = Path(source)
        return path.open("rb"), path.stat().st_size
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"it can't be read: {error}") from error


class Counted(io.RawIOBase):
    """A stream that tells how many bytes were read from it."""

    def __init__(self, stream: IO[bytes], on_read: Callable[[int], object]) -> None:
        self._stream = stream
        self._on_read = on_read

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As a raw stream does; ConfigurationError where the source breaks off."""
        try:
            data = self._stream.read(len(buffer))
        except (OSError, HTTPException) as error:
            raise ConfigurationError(f"it can't be read on: {error}") from error
        buffer[: len(data)] = data
        self._on_read(len(data))
        return len(data)


def read_pingstat_rows(stream: io.BufferedReader) -> Iterator[Read]:
    """The rows of a `stats.raw.json`."""
    import ijson

    if stream.peek(64).lstrip()[:1] != b"[":
        raise ConfigurationError("it is no list of rows; pingstat's stats.raw.json is needed")
    try:
        yield from map(read_pingstat, ijson.items(stream, "item", use_float=True))
    except ijson.JSONError as error:
        raise ConfigurationError(f"it is no JSON: {_first_line(error)}") from error


def read_ndjson_rows(stream: io.BufferedReader) -> Iterator[Read]:
    """The rows of an export as NDJSON."""
    for line in stream:
        if line.strip():
            yield _read_line(line)


def read_csv_rows(stream: io.BufferedReader) -> Iterator[Read]:
    """The rows of an export as CSV."""
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    try:
        yield from map(read_csv, csv.DictReader(text))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConfigurationError(f"it is no CSV: {error}") from error


READERS = {
    "pingstat": read_pingstat_rows,
    "ndjson": read_ndjson_rows,
    "csv": read_csv_rows,
}


def _read_line(line: bytes) -> Read:
    try:
        return read_record(json.loads(line))
    except (ValueError, RecursionError) as error:
        return f"is no JSON: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
