"""The examples of the API's description, as the site of the tests answers: `make openapi`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import httpx

import pingboard.web
from tests.web.site import EXAMPLE_SAMPLES, open_store, record, serve

FILE = Path(pingboard.web.__file__).with_name("examples.json")

TWO = "/api/v1/homeservers/two.example"

ADDRESSES = {
    "History": f"{TWO}/history?from=2026-10-11T12:00:00Z&step=6h",
    "HomeserverProfile": TWO,
    "Homeservers": "/api/v1/homeservers",
    "Matrix": "/api/v1/matrix",
    "Rankings": "/api/v1/rankings?limit=10",
    "Rooms": "/api/v1/rooms",
    "Samples": "/api/v1/samples?limit=1",
    "ShieldsEndpoint": "/badge/two.example.json",
}
"""What is asked for each; the others need more than this site has."""


def ask(site: httpx.Client) -> dict[str, Any]:
    """Return the examples by their schema, in order."""
    examples: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    for schema, address in ADDRESSES.items():
        examples[schema] = site.get(address).raise_for_status().json()
    examples["RawSample"] = examples["Samples"]["samples"][0]
    return examples


def main() -> None:
    """Write them."""
    with tempfile.TemporaryDirectory() as folder:
        engine = open_store(Path(folder))
        record(engine, EXAMPLE_SAMPLES)
        with serve(engine) as site:
            examples = ask(site)
        engine.dispose()
    text = json.dumps(examples, indent=1, ensure_ascii=False)
    FILE.write_text(f"{text}\n", "utf-8")


if __name__ == "__main__":
    main()
