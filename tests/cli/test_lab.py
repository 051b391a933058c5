"""The lab that `run` brings by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from pingboard.cli import lab
from pingboard.settings import load_settings


def test_a_lab_has_a_database_of_its_own_that_is_gone_afterwards(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PINGBOARD_DATABASE_URL", "sqlite:///real.db")
    with lab.lab_database(load_settings()) as settings:
        path = Path(settings.database_url.removeprefix("sqlite:///"))
        path.touch()
        assert path.is_absolute()
        assert tmp_path not in path.parents
    assert not path.parent.exists()


@pytest.mark.parametrize(("needed_kb", "homeservers"), [(0, 6), (1 << 50, 3)])
def test_a_lab_is_as_large_as_there_is_memory_for(
    monkeypatch: pytest.MonkeyPatch, needed_kb: int, homeservers: int
) -> None:
    monkeypatch.setattr(lab, "LARGE_LAB_KB", needed_kb)
    assert lab.count_homeservers() == homeservers
