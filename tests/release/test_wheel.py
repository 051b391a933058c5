"""What an installed wheel does, without a checkout: each command, as a user starts it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import httpx
import pytest

from pingboard.lab import Lab
from tests.commands import account_settings, environment, read_until

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(ROOT)], check=True)
    [wheel] = folder.glob("pingboard-*.whl")
    return wheel


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; what it depends on is this environment's."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder)
    packages = sysconfig.get_path("purelib", vars={"base": str(folder)})
    # A path in such a file is searched for modules, but the files like it there are not read: so
    # what is found is the wheel's pingboard, never the checkout.
    (Path(packages) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python")]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", str(wheel)], check=True)
    return folder / "bin/pingboard"


async def start(
    program: Path, command: str, settings: dict[str, str], folder: Path
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        str(program),
        *command.split(),
        env=environment(settings),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def end(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    _, stderr = await process.communicate()
    assert process.returncode == 0, stderr.decode()


def test_the_wheel_brings_its_migrations_templates_and_files(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "pingboard/alembic/env.py",
        "pingboard/web/templates/board.html",
        "pingboard/web/static/style.css",
        "pingboard/web/static/grafana.json",
        "pingboard/web/locale/de.po",
        "pingboard/web/examples.json",
        "pingboard/py.typed",
    } <= names
    assert any(name.startswith("pingboard/alembic/versions/0001") for name in names)


def test_pypi_takes_its_description(wheel: Path) -> None:
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", str(wheel)], check=True)


async def test_every_command_runs(program: Path, lab: Lab, tmp_path: Path) -> None:
    account = await lab.register(lab.homeservers[0], "wheel")
    bot = await lab.register(lab.homeservers[1], "wheelbot")
    settings = account_settings(account, lab.room_alias) | {"PORT": "0", "INTERVAL": "2s"}
    echoing = account_settings(bot, lab.room_alias)
    echo = await start(program, "echo", echoing, tmp_path)
    await read_until(echo, lab.room_alias)
    run = await start(program, "run", settings, tmp_path)
    url = (await read_until(run, "pingboard is at")).split()[-1]
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        assert (await client.get("/")).status_code == 200
        assert "pingboard_build_info{" in (await client.get("/metrics")).text
    await end(run)
    worker = await start(program, "worker", settings, tmp_path)
    await read_until(worker, "joined")
    serve = await start(program, "serve", settings, tmp_path)
    await read_until(serve, "pingboard serves")
    for command, code in (("table", 0), ("section", 0), ("doctor", None), ("db check", 0)):
        process = await start(program, command, settings, tmp_path)
        stdout, stderr = await process.communicate()
        assert code is None or process.returncode == code, stderr.decode()
        assert stdout
        assert b"Traceback" not in stderr
    for process in (worker, serve, echo):
        await end(process)


async def test_without_the_lab_run_says_how_to_get_it(program: Path, tmp_path: Path) -> None:
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(program.parents[1])}))
    without = packages / "without_synapse.pth"
    without.write_text("import sys; sys.modules['synapse'] = None\n")
    try:
        process = await start(program, "run", {"PORT": "0"}, tmp_path)
        _, stderr = await process.communicate()
    finally:
        without.unlink()
    assert process.returncode == 2
    assert stderr.decode().splitlines()[-1].startswith("pingboard: ")
    assert "pip install matrix-synapse" in stderr.decode()
    assert "PINGBOARD_HOMESERVER" in stderr.decode()
