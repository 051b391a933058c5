"""What others make of the interface without us: clients from the description, and data frames."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pandas as pd
import pytest

from pingboard.model import WorkerState, to_ts
from pingboard.store.engine import Engine
from pingboard.store.status import record_worker
from tests.web.site import (
    ALIAS,
    EXAMPLE_SAMPLES,
    NOW,
    ROOM,
    make_editions,
    open_store,
    record,
    serve,
)

PACKAGE = "generated_client"
EDITION = "2026-W42"
TYPESCRIPT = Path(__file__).with_name("typescript")
NOT_READ = ("image/svg+xml", "application/atom+xml")
"""What the generator has no type for."""
DESCRIPTION = json.loads(Path("openapi.json").read_text(encoding="utf-8"))
OPERATIONS = {
    operation["operationId"]: operation
    for path in DESCRIPTION["paths"].values()
    for operation in path.values()
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A database with samples, an edition, and a worker that runs."""
    engine = open_store(tmp_path_factory.mktemp("clients"))
    record(engine, EXAMPLE_SAMPLES)
    make_editions(engine, NOW + timedelta(days=7))
    record_worker(engine, "main", WorkerState.RUNNING, to_ts(NOW), to_ts(NOW))
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The client that openapi-python-client generates."""
    folder = tmp_path_factory.mktemp("generated")
    command = ("generate", "--path", "openapi.json", "--meta", "none", "--output-path")
    said = subprocess.run(
        [sys.executable, "-m", "openapi_python_client", *command, folder / PACKAGE],
        check=True,
        capture_output=True,
        text=True,
    )
    unread = set(re.findall(r"Unsupported content_type (\S+)\)", said.stdout + said.stderr))
    assert unread == {*NOT_READ}
    sys.path.insert(0, str(folder))
    yield importlib.import_module(PACKAGE)
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def operations(generated: ModuleType) -> dict[str, ModuleType]:
    """Its module of each operation."""
    api = importlib.import_module(f"{PACKAGE}.api")
    names = [module.name for module in pkgutil.walk_packages(api.__path__, f"{PACKAGE}.api.")]
    modules = {name.rpartition(".")[2]: importlib.import_module(name) for name in names}
    return {name: modules[name] for name in OPERATIONS}


def connect(generated: ModuleType, site: httpx.Client) -> Any:
    """A generated client of a site."""
    return generated.Client(base_url=str(site.base_url).rstrip("/"))


def call(operation: ModuleType, client: Any) -> Any:
    """The answer to the operation with the parameters that it needs."""
    values = {"room": ROOM, "room_id": ROOM, "name": "one.example"}
    if "edition" in operation.__name__:
        values["name"] = EDITION
    needed = [
        name
        for name, parameter in inspect.signature(operation._get_kwargs).parameters.items()
        if parameter.default is inspect.Parameter.empty
    ]
    return operation.sync_detailed(client=client, **{name: values[name] for name in needed})


def test_every_operation_of_a_generated_client_works(
    engine: Engine, generated: ModuleType, operations: dict[str, ModuleType]
) -> None:
    with ThreadPoolExecutor(1) as thread, ExitStack() as stack:
        with serve(engine) as site:
            client = stack.enter_context(connect(generated, site))
            live = thread.submit(call, operations.pop("follow_live"), client)
            for name, operation in operations.items():
                answer = call(operation, client)
                assert answer.status_code in (200, 302), name
                described = OPERATIONS[name]["responses"].get("200", {})
                if "application/json" in described.get("content", {}):
                    assert answer.parsed is not None, name
                    assert "Problem" not in type(answer.parsed).__name__
            while "pingboard_live_listeners 1.0" not in site.get("/metrics").text:
                pass
        # A stream ends when the server does.
        assert live.result(60).status_code == 200


def test_a_generated_client_gives_instants_and_numbers(
    engine: Engine, generated: ModuleType, operations: dict[str, ModuleType]
) -> None:
    with serve(engine) as site, connect(generated, site) as client:
        start = datetime(2026, 10, 11, tzinfo=UTC)
        answer = operations["get_rankings"].sync(client=client, room=ALIAS, from_=start, to=NOW)
    assert (answer.window.from_at, answer.window.to_at) == (start, NOW)
    assert [(row.rank, row.homeserver, row.median_ms) for row in answer.standings] == [
        (1, "one.example", 403),
        (2, "two.example", 512),
    ]


@pytest.fixture(scope="module")
def typescript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a TypeScript client, compiled with the types that openapi-typescript makes."""
    if shutil.which("npm") is None and os.environ.get("CI"):
        pytest.fail("npm is missing")
    if shutil.which("npm") is None:
        pytest.skip("npm is missing; see .ci/run")
    folder = tmp_path_factory.mktemp("typescript")
    shutil.copytree(TYPESCRIPT, folder, dirs_exist_ok=True)
    description = Path("openapi.json").resolve()
    for command in (
        "npm install --no-package-lock --no-audit --no-fund --ignore-scripts",
        f"npx --no-install openapi-typescript {description} --output api.ts",
        "npx --no-install tsc",
    ):
        ended = subprocess.run(command.split(), cwd=folder, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder


def test_every_operation_of_a_typescript_client_works(engine: Engine, typescript: Path) -> None:
    arguments = (ROOM, "one.example", EDITION)
    with serve(engine) as site:
        command = ("node", "client.js", str(site.base_url).rstrip("/"), *arguments)
        ended = subprocess.run(command, cwd=typescript, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    moved = {path for path, status in said["statuses"].items() if status == 302}
    assert moved == {path for path, of in DESCRIPTION["paths"].items() if "302" in str(of)}
    assert {*said["statuses"].values()} == {200, 302}
    assert said["medians"] == [[1, "one.example", 403], [2, "two.example", 512]]
    assert said["generated_at"] == "2026-10-12T00:00:00.000Z"


@pytest.mark.parametrize("format_", ["csv", "ndjson"])
def test_pandas_reads_samples_as_instants_and_numbers(site: httpx.Client, format_: str) -> None:
    text = site.get("/api/v1/samples", params={"format": format_}).text
    instants = ["ping_seen_at", "pong_seen_at"]
    frame = (
        pd.read_csv(StringIO(text), parse_dates=instants)
        if format_ == "csv"
        else pd.read_json(StringIO(text), lines=True)
    )
    assert len(frame) == len(EXAMPLE_SAMPLES)
    for column in instants:
        assert isinstance(frame[column].dtype, pd.DatetimeTZDtype)
    for column in ("one_way_ms", "round_trip_ms", "ping_origin_server_ts"):
        assert pd.api.types.is_integer_dtype(frame[column])
    medians = frame.groupby("pong_server")["round_trip_ms"].median()
    assert medians.to_dict() == {"one.example": 403, "two.example": 512}
