"""`pingboard serve` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

from pingboard.lab.network import reserved_port


@contextmanager
def serve(path: Path) -> Iterator[tuple[int, int]]:
    """Serve a SQLite file; gives port and process ID."""
    command = [sys.executable, "-m", "pingboard", "serve"]
    with reserved_port() as port:
        settings = {"PINGBOARD_DATABASE_URL": f"sqlite:///{path}", "PINGBOARD_PORT": str(port)}
        environment = os.environ | settings
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as server:
            try:
                wait_for(f"http://127.0.0.1:{port}/rankings.md?board=delivery")
                yield port, server.pid
            finally:
                server.terminate()


def wait_for(url: str) -> None:
    """Ask until there is an answer."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(url) as answer:
                answer.read()
                return
        except URLError:
            time.sleep(0.1)
    raise RuntimeError("the server does not answer")
