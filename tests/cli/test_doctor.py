"""`pingboard doctor`, `health` and `--version`: what an operator asks first."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from pingboard.cli.heartbeat import Heartbeat, find_fault
from pingboard.lab import Lab
from tests.commands import account_settings, environment, read_until, run_to_end, running


async def output(command: str, settings: Mapping[str, str], folder: Path) -> tuple[int, str]:
    """Exit code and stdout of a command."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pingboard", *command.split()),
        env=environment(settings),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
    )
    stdout, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, stdout.decode()


def by_topic(text: str) -> dict[str, list[dict[str, Any]]]:
    topics: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(text):
        topics.setdefault(finding["topic"], []).append(finding)
    return topics


async def test_with_nothing_configured_nothing_is_wrong(tmp_path: Path) -> None:
    code, text = await output("doctor", {}, tmp_path)
    assert code == 0
    assert "brings a lab of its own" in text


async def test_a_wrong_setting_is_a_fault_and_an_open_file_a_warning(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PINGBOARD_INTERVAL=5\n")
    code, text = await output("doctor", {}, tmp_path)
    assert code == 1
    assert text.startswith("fault   settings: PINGBOARD_INTERVAL: '5' has no unit; write 5s")
    (tmp_path / ".env").write_text("PINGBOARD_PORT=81\n")
    (tmp_path / ".env").chmod(0o644)
    code, text = await output("doctor", {"PORT": "82"}, tmp_path)
    assert code == 0
    assert "warning settings: PINGBOARD_PORT of .env: the environment has it too" in text
    assert "warning settings: .env: others can read it; chmod 600" in text


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_a_ca_bundle_that_can_not_be_used_is_a_fault_of_one_line(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    code, text = await output("doctor", {}, tmp_path)
    assert code == 1
    [line] = [line for line in text.splitlines() if "certificates" in line]
    assert line.startswith(f"fault   certificates: SSL_CERT_FILE: {bundle} can't be used: ")


async def test_doctor_sees_all_of_a_live_site_beside_its_worker(lab: Lab, tmp_path: Path) -> None:
    account = await lab.register(lab.homeservers[0], "examined")
    settings = account_settings(account, lab.room_alias) | {
        "INTERVAL": "1s",
        "LOG_FORMAT": "json",
        "RUNTIME_DIR": str(tmp_path / "run"),
    }
    async with running("worker", settings, tmp_path) as worker:
        for line in (await read_until(worker, "gap filled")).splitlines():
            assert set(json.loads(line)) >= {"timestamp", "level", "event"}
        code, text = await output("doctor --json", settings, tmp_path)
        health = await run_to_end("health", settings, tmp_path)
    assert (health.code, health.stderr) == (0, "")
    assert account.user_id not in text
    topics = by_topic(text)
    assert topics["homeserver"][0]["verdict"] == "ok"
    [clock] = topics["clock"]
    assert re.search(r"ours is [+-][0-5]?[0-9] s against the homeserver's$", clock["text"])
    assert topics["limits"][0]["verdict"] == "warning"
    assert topics["account"][0]["text"] == "the token is accepted"
    assert topics[lab.room_alias][0]["text"].endswith("may send")
    assert f"process {worker.pid} holds the lease" in topics["worker"][-1]["text"]
    assert code == (1 if topics["readyz"][0]["verdict"] == "fault" else 0)
    assert (await run_to_end("health", settings, tmp_path)).code == 1


@pytest.mark.parametrize(
    ("changed", "topic", "text"),
    [
        ({"HOMESERVER": "http://127.0.0.1:1"}, "homeserver", "does not answer"),
        ({"ACCESS_TOKEN": "wrong"}, "account", "the token is not accepted: M_UNKNOWN_TOKEN"),
        ({"ROOMS": "#no:one.example"}, "#no:one.example", "the alias leads to no room"),
        ({"ACCESS_TOKEN": "", "PASSWORD": "x"}, "account", "no token yet; the homeserver offers"),
    ],
)
async def test_each_fault_has_its_line(
    lab: Lab, tmp_path: Path, changed: dict[str, str], topic: str, text: str
) -> None:
    account = await lab.register(lab.homeservers[0], f"ill-{abs(hash(text)) % 10_000}")
    settings = account_settings(account, lab.room_alias) | changed
    _, output_text = await output("doctor --json", settings, tmp_path)
    assert text in by_topic(output_text)[topic][0]["text"]


async def test_the_version_is_printed(tmp_path: Path) -> None:
    assert await output("--version", {}, tmp_path) == (0, "pingboard 0.1.0\n")


async def test_help_begins_with_what_most_come_for_and_cuts_nothing(tmp_path: Path) -> None:
    _, text = await output("--help", {}, tmp_path)
    names = [line.split()[0] for line in text.partition("Commands:")[2].splitlines() if line]
    assert names[:3] == ["run", "echo", "table"]
    assert "..." not in text.partition("Commands:")[2]


def test_health_asks_its_own_machine_not_a_proxy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        (tmp_path / "serve.alive").write_text(f"http://127.0.0.1:{server.server_port}/")
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        assert find_fault(tmp_path) is None
        answering.join()


class Healthy(BaseHTTPRequestHandler):
    """Answers /healthz."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


# sdnotify leaves its socket to the garbage collector where there is no systemd.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_health_says_which_command_is_silent(tmp_path: Path) -> None:
    assert find_fault(tmp_path) == f"no command has a heartbeat in {tmp_path}"
    heart = Heartbeat()
    heart.start("worker", tmp_path)
    heart.beat()
    assert find_fault(tmp_path) is None

    os.utime(tmp_path / "worker.alive", (0, 0))
    assert str(find_fault(tmp_path)).startswith("the last heartbeat of worker was")
    heart.serve_at("http://127.0.0.1:1/")
    heart.beat()
    assert str(find_fault(tmp_path)).startswith("http://127.0.0.1:1/healthz does not answer")
    heart.stop()
    assert str(find_fault(tmp_path)).startswith("no command")
