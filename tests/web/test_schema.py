"""Everything that the OpenAPI description says, against a running server with real data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import GenerationMode

from pingboard.model import WorkerState, to_ts
from pingboard.store.status import record_worker
from pingboard.web.app import describe
from tests.web.site import EXAMPLE_SAMPLES, NOW, open_store, record, serve

COMMITTED = Path("openapi.json")
EXAMPLES = 12


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    engine = open_store(tmp_path_factory.mktemp("schema"))
    record(engine, EXAMPLE_SAMPLES)
    record_worker(engine, "main", WorkerState.RUNNING, to_ts(NOW), to_ts(NOW))
    with serve(engine) as client:
        yield str(client.base_url)
    engine.dispose()


def reconcile(case: schemathesis.Case[Any]) -> None:
    """Make parameters agree that are right alone: JSON Schema can't say what holds between two.

    Of `from`, `to` and `window` one is left, none of them with an `edition`; a `step` is one of a
    day, and it is the first page.
    """
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    case.query.pop("cursor", None)
    case.query.pop("from", None)
    if "to" in case.query:
        case.query.pop("window", None)
    if "edition" in case.query:
        for name in ("to", "window", "min_samples"):
            case.query.pop(name, None)
    if "step" in case.query:
        case.query["window"] = "24h"


description = json.loads(describe())
schema = schemathesis.openapi.from_dict(description)


def _test_of(operation_id: str) -> Any:
    @schema.include(operation_id=operation_id).parametrize()
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    def test(case: schemathesis.Case[Any], address: str) -> None:
        reconcile(case)
        case.call_and_validate(base_url=address)

    return test


# A function each: all that one function is parametrized to has one ID, of which a distributed run
# would take the last alone.
for operation_id in (
    operation["operationId"]
    for path in description["paths"].values()
    for operation in path.values()
):
    # The live stream has no end that could be waited for; it has tests of its own.
    if operation_id != "follow_live":
        globals()[f"test_{operation_id}_answers_as_described"] = _test_of(operation_id)


def test_the_committed_description_is_that_of_this_version() -> None:
    """A change of the interface is to be seen in the diff; see docs/api.md for what may change."""
    committed = COMMITTED.read_text(encoding="utf-8")
    assert committed == describe(), "if the change is meant: make openapi"


def test_json_comes_first_wherever_it_is_offered() -> None:
    """Many generated clients take the first media type."""
    for operations in description["paths"].values():
        for response in operations["get"]["responses"].values():
            offered = [*response.get("content", {})]
            assert "application/json" not in offered[1:]
