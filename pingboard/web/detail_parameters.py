"""Query parameters of what stands behind a board: one homeserver, the matrix, the samples."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from pingboard.ranking.history import AUTOMATIC_BUCKETS, STEPS
from pingboard.web.parameters import (
    DEFAULT_LIMIT,
    MAX_SAMPLES,
    BoardQuery,
    Cursor,
    ImageQuery,
    Limit,
    WindowQuery,
    forget_null,
)

MAX_PAIRS = 100_000
MAX_RAW_SAMPLES = 1_000_000


def _check_step(name: str) -> str:
    if name not in STEPS:
        raise ValueError(f"should be one of {', '.join(STEPS)}")
    return name


StepName = Annotated[
    str, AfterValidator(_check_step), Field(json_schema_extra={"enum": list(STEPS)})
]
_Partner = Annotated[str, Field(min_length=1, max_length=255)] | None


class HomeserversQuery(WindowQuery):
    """A page of the homeservers in which room and when."""

    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor = None


class RankingsQuery(BoardQuery):
    """A page of a board."""

    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor = None


class ProfileQuery(WindowQuery):
    """One homeserver in which room and when."""

    limit: int = Field(5, ge=1, le=100, description="Most partners to give at each end.")


class HistoryQuery(ImageQuery):
    """One homeserver's number on which board, in which room, when, and how finely."""

    step: StepName | None = Field(
        None,
        description="Length of a bucket. Left out: the shortest with at most "
        f"{AUTOMATIC_BUCKETS} buckets.",
        examples=["6h"],
        json_schema_extra=forget_null,
    )


class MatrixQuery(WindowQuery):
    """Which pairs of ping and pong server."""

    ping_server: _Partner = Field(
        None, description="Only the pings of this homeserver.", json_schema_extra=forget_null
    )
    pong_server: _Partner = Field(
        None, description="Only the pongs of this homeserver.", json_schema_extra=forget_null
    )
    min_samples: int = Field(
        1, ge=1, le=MAX_SAMPLES, description="Leave out pairs with fewer samples."
    )
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_PAIRS, description="Most pairs on a page.")
    cursor: Cursor = None


class SampleFormat(StrEnum):
    """How samples are written."""

    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


class SamplesQuery(WindowQuery):
    """Which samples, and in which form."""

    ping_server: _Partner = Field(
        None, description="Only the pings of this homeserver.", json_schema_extra=forget_null
    )
    pong_server: _Partner = Field(
        None, description="Only the pongs of this homeserver.", json_schema_extra=forget_null
    )
    format: SampleFormat | None = Field(
        None,
        description="Left out: what `Accept` likes best, else `json`.",
        json_schema_extra=forget_null,
    )
    limit: Annotated[int, Field(ge=1, le=MAX_RAW_SAMPLES)] | None = Field(
        None,
        description="Most samples on a page. Left out: 1000 for `json`, all for the others.",
        examples=[1000],
        json_schema_extra=forget_null,
    )
    cursor: Cursor = None
