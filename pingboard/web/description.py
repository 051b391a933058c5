"""The OpenAPI description: FastAPI's, with its examples whole.

FastAPI leaves out everything that is null from the description, in examples too; an example is then
no answer that the API gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel


def install(app: FastAPI) -> None:
    """Let the app describe itself so; call it when all paths are there."""
    describe = app.openapi

    def describe_whole() -> dict[str, Any]:
        if app.openapi_schema is None:
            schemas = describe()["components"]["schemas"]
            for model in _models(BaseModel):
                extra = model.model_config.get("json_schema_extra")
                if isinstance(extra, dict) and "examples" in extra and model.__name__ in schemas:
                    schemas[model.__name__]["examples"] = extra["examples"]
        return describe()

    app.openapi = describe_whole  # type: ignore[method-assign]


def _models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Our models, each once for every base."""
    for model in base.__subclasses__():
        if model.__module__.startswith("pingboard.web"):
            yield model
            yield from _models(model)
