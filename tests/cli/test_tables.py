"""`pingboard table` and `pingboard section`: Markdown into a pipe, drawn on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pingboard.model import Sample, to_ts
from pingboard.store.engine import Engine
from tests.commands import environment, run
from tests.samples import make_ping, make_pong
from tests.web.site import ALIAS, open_store, record

COMMAND = (sys.executable, "-m", "pingboard")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Engine]:
    """A database with two pongs of an hour ago."""
    engine = open_store(tmp_path)
    ts = to_ts(datetime.now(UTC) - timedelta(hours=1))
    samples = []
    for number, (server, ms) in enumerate([("[::1]:8448", 403), ("b.example", 512)]):
        ping = replace(make_ping(number, room_id="!ping:one.example", vantage="main"), seen_ts=ts)
        samples.append(Sample(ping, make_pong(ping, server, ms), ms))
    record(engine, samples)
    yield engine
    engine.dispose()


def printed(folder: Path, *arguments: str) -> str:
    code, stdout, stderr = run(f"sqlite:///{folder}/pingboard.db", *arguments, folder=folder)
    assert code == 0, stderr
    return stdout


TABLE = "|Rank|Hostname|Median MS|\n|:---:|:---:|:---:|\n|1|[::1]:8448|403|\n|2|b.example|512|\n"


@pytest.mark.usefixtures("store")
def test_a_pipe_gets_the_markdown_table_and_nothing_else(tmp_path: Path) -> None:
    assert printed(tmp_path, "table") == TABLE
    assert printed(tmp_path, "table", "--limit", "1") == "".join(TABLE.splitlines(True)[:3])


@pytest.mark.usefixtures("store")
def test_a_pipe_gets_the_section(tmp_path: Path) -> None:
    text = printed(tmp_path, "section", "--style", "rooms", "--board", "response")
    assert text.startswith("## Dept of Ping 🏓\n")
    assert f"\n### [{ALIAS}](" in text
    assert text.endswith(f"\n\n{TABLE}")


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(("command", "name"), [("table", "[::1]:8448"), ("section", "one.example")])
def test_a_terminal_gets_a_drawn_table(tmp_path: Path, command: str, name: str) -> None:
    ours, theirs = pty.openpty()
    variables = environment({}) | {"TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen([*COMMAND, command], cwd=tmp_path, env=variables, stdout=theirs)
    os.close(theirs)
    drawn = b""
    try:
        while part := os.read(ours, 4096):
            drawn += part
    except OSError:  # how Linux tells that the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    text = drawn.decode()
    assert "│" in text
    assert name in text
    assert "|Rank|" not in text


def test_a_missing_database_is_one_line_and_none_is_made(tmp_path: Path) -> None:
    code, _, stderr = run(f"sqlite:///{tmp_path}/pingboard.db", "table", folder=tmp_path)
    assert code == 2
    (line,) = stderr.splitlines()
    assert "there is no database" in line
    assert list(tmp_path.iterdir()) == []
