"""The command line: what is wrong is said in one line, what may pass is waited for."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pingboard.lab import Lab
from tests.commands import account_settings, end_of, read_until, run, run_to_end, running, start


async def one_line(command: str, settings: dict[str, str], folder: Path, *, code: int = 2) -> str:
    """The only line that a refused command says."""
    ended = await run_to_end(command, settings, folder)
    assert ended.code == code, ended.stderr
    lines = ended.stderr.splitlines()
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("pingboard: ")
    return lines[0].removeprefix("pingboard: ")


@pytest.mark.parametrize("command", ["worker", "echo"])
async def test_a_missing_account_is_one_line(command: str, tmp_path: Path) -> None:
    line = await one_line(command, {}, tmp_path)
    assert line.startswith("PINGBOARD_HOMESERVER is not set; for example ")


async def first_lines(process: asyncio.subprocess.Process, count: int) -> list[str]:
    """The first lines of a command that goes on."""
    assert process.stderr is not None
    async with asyncio.timeout(240):
        return [(await process.stderr.readline()).decode() for _ in range(count)]


@pytest.mark.parametrize("command", ["worker", "echo"])
async def test_a_homeserver_that_is_not_up_yet_is_waited_for(
    lab: Lab, command: str, free_port: int, tmp_path: Path
) -> None:
    account = await lab.register(lab.homeservers[0], f"early-{command}")
    url = f"http://127.0.0.1:{free_port}"
    settings = account_settings(account, lab.room_alias) | {"HOMESERVER": url}
    async with running(command, settings, tmp_path) as process:
        [line] = await first_lines(process, 1)
        assert f"PINGBOARD_HOMESERVER: {url} can't be reached" in line
        async with forwarding(free_port, account.homeserver_url):
            lines = await first_lines(process, 2)
    assert "no longer waiting" in lines[0]
    assert lab.room_alias in lines[1]


@contextlib.asynccontextmanager
async def forwarding(port: int, url: str) -> AsyncIterator[None]:
    """Connections to a port of this machine lead to an address while it runs."""
    target = urlsplit(url)

    async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            sink.write(data)
        sink.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            there, sink = await asyncio.open_connection(target.hostname, target.port)
            with contextlib.closing(sink):
                await asyncio.gather(pipe(reader, sink), pipe(there, writer))

    server = await asyncio.start_server(forward, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()


async def test_a_wrong_token_is_one_line_with_a_code_of_its_own(lab: Lab, tmp_path: Path) -> None:
    settings = {"HOMESERVER": lab.homeservers[0].url, "ACCESS_TOKEN": "syt_wrong"}
    line = await one_line("worker", settings | {"ROOMS": lab.room_alias}, tmp_path, code=4)
    assert line.startswith(f"PINGBOARD_ACCESS_TOKEN: {lab.homeservers[0].url} does not accept it")
    assert "syt_wrong" not in line


async def test_a_wrong_password_is_one_line(lab: Lab, tmp_path: Path) -> None:
    account = await lab.register(lab.homeservers[0], "forgetful")
    settings = {
        "HOMESERVER": account.homeserver_url,
        "USER": account.user_id,
        "PASSWORD": "not-it",
        "ROOMS": lab.room_alias,
    }
    line = await one_line("worker", settings, tmp_path, code=4)
    assert line.startswith(f"PINGBOARD_PASSWORD: {account.homeserver_url} does not accept it")
    assert "not-it" not in line


@pytest.mark.parametrize("command", ["worker", "echo"])
async def test_a_room_that_is_not_there_yet_is_waited_for(
    lab: Lab, command: str, tmp_path: Path
) -> None:
    account = await lab.register(lab.homeservers[0], f"lost-{command}")
    room = f"#nowhere-{command}:{lab.homeservers[0].server_name}"
    async with running(command, account_settings(account, room), tmp_path) as process:
        [line] = await first_lines(process, 1)
        assert "waiting" in line
        assert f"to join {room}" in line


async def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        for command in ("serve", "run"):
            line = await one_line(command, {"PORT": str(port)}, tmp_path)
            assert line.startswith(f"PINGBOARD_PORT: port {port} of 127.0.0.1 is in use")


async def test_serve_refuses_tables_that_are_not_current_when_it_may_not_migrate(
    tmp_path: Path,
) -> None:
    ended = await run_to_end("serve", {"MIGRATE": "0", "PORT": "0"}, tmp_path)
    assert ended.code == 2
    assert ended.stderr.splitlines()[-1].endswith("run: pingboard db upgrade")
    assert run(f"sqlite:///{tmp_path}/pingboard.db", "db", "upgrade", folder=tmp_path)[0] == 0
    async with running("serve", {"MIGRATE": "0", "PORT": "0"}, tmp_path) as process:
        assert "pingboard serves" in (await first_lines(process, 1))[0]


async def test_a_second_worker_on_one_database_is_refused(lab: Lab, tmp_path: Path) -> None:
    settings = account_settings(await lab.register(lab.homeservers[0], "only"), lab.room_alias)
    async with running("worker", settings, tmp_path) as first:
        assert "joined" in (await first_lines(first, 1))[0]
        second = await run_to_end("worker", settings, tmp_path)
    assert second.code == 3
    assert "another pingboard worker" in second.stderr
    assert len(second.stderr.splitlines()) == 1


async def test_systemd_is_notified_that_the_worker_is_ready_and_alive(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = account_settings(await lab.register(lab.homeservers[0], "unit"), lab.room_alias)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(240)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        async with running("worker", settings, tmp_path):
            told = [await asyncio.to_thread(systemd.recv, 100) for _ in range(2)]
    assert told == [b"READY=1", b"WATCHDOG=1"]


async def until_samples(database: Path, count: int) -> None:
    query = "SELECT count(*) FROM sample"
    async with asyncio.timeout(240):
        with contextlib.closing(sqlite3.connect(database)) as connection:
            while connection.execute(query).fetchone()[0] < count:  # noqa: ASYNC110 (a process)
                await asyncio.sleep(0.05)


async def test_no_token_and_no_user_id_is_logged(lab: Lab, tmp_path: Path) -> None:
    account = await lab.register(lab.homeservers[0], "quiet")
    settings = account_settings(account, lab.room_alias) | {"INTERVAL": "1s", "LOG_LEVEL": "DEBUG"}
    process = await start("worker", settings, tmp_path)
    log = await read_until(process, "gap filled")
    await until_samples(tmp_path / "pingboard.db", 4)
    process.terminate()
    ended = await end_of(process)
    log += ended.stderr
    assert ended.code == 0
    assert "joined" in log
    assert account.access_token not in log
    assert account.user_id not in log
    assert not re.search(r"@[^:\s…]+:", log)


async def test_a_password_is_used_once_and_the_login_is_kept(lab: Lab, tmp_path: Path) -> None:
    account = await lab.register(lab.homeservers[0], "thrifty")
    settings = {
        "HOMESERVER": account.homeserver_url,
        "USER": account.user_id,
        "PASSWORD": account.password,
        "ROOMS": lab.room_alias,
    }
    logins = []
    for _ in range(2):
        process = await start("worker", settings, tmp_path)
        await read_until(process, "joined")
        process.terminate()
        await process.communicate()
        with sqlite3.connect(tmp_path / "pingboard.db") as database:
            logins += database.execute("SELECT device_id, access_token FROM session").fetchall()
        database.close()
    assert len(logins) == 2
    assert logins[0] == logins[1]
    assert None not in logins[0]
