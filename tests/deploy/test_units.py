"""deploy/systemd: units that systemd accepts, that are hardened, and whose commands run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "deploy/systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
MAX_EXPOSURE = 30
"""In tenths, of 10.0."""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units, with this test's program instead of the one in /opt."""
    program = Path(sys.executable).with_name("pingboard")
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/opt/pingboard/bin/pingboard", str(program))
        (tmp_path / unit.name).write_text(text)
    return tmp_path


@pytest.mark.usefixtures("programs")
def test_systemd_accepts_the_units(installed: Path) -> None:
    units = sorted(map(str, installed.iterdir()))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True
    )
    # Of the machine's own units, or of a machine without systemd, we know nothing.
    lines = [line for line in verified.stderr.splitlines() if "pingboard" in line]
    assert lines == []


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("name", SERVICES)
def test_the_units_are_hardened(name: str) -> None:
    judged = subprocess.run(
        [
            *("systemd-analyze", "security", "--offline=yes", "--no-pager"),
            *(f"--threshold={MAX_EXPOSURE}", str(UNITS / name)),
        ],
        capture_output=True,
        text=True,
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_the_commands_of_the_units_exist(name: str) -> None:
    unit = (UNITS / name).read_text()
    match = re.search(r"/opt/pingboard/bin/pingboard ([a-z ]+)", unit)
    assert match is not None
    command = [sys.executable, "-m", "pingboard", *match[1].split(), "--help"]
    assert subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.parametrize("name", [name for name in SERVICES if "backup" not in name])
def test_a_restart_is_tried_unless_it_can_not_help(name: str) -> None:
    unit = (UNITS / name).read_text()
    for line in ("Type=notify", "WatchdogSec=60", "Restart=on-failure"):
        assert line in unit
    assert "RestartPreventExitStatus=2 4\n" in unit


@pytest.mark.parametrize("name", SERVICES)
def test_commands_by_hand_run_as_a_unit_does(name: str) -> None:
    by_hand = (UNITS.parent / "pingboard").read_text()
    unit = (UNITS / name).read_text().splitlines()
    wanted = dict(re.findall(r"--property=(\w+)=(\S+)", by_hand))
    assert len(wanted) == 7
    for key, value in wanted.items():
        assert any(line.startswith(f"{key}={value}") for line in unit), key
    assert "/opt/pingboard/bin/pingboard " in by_hand
