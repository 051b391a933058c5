"""/api/v1/homeservers/{name}/history: one homeserver over time."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from pingboard import homeservers
from pingboard.model import BoardName, from_ts
from pingboard.ranking.history import STEPS, Bucket, choose_step, count_buckets
from pingboard.web import errors
from pingboard.web.dependencies import GivenBoards, Now
from pingboard.web.parameters import HistoryQuery, HomeserverName, refusal
from pingboard.web.schemas import Answer, Count, Instant, Loss, Milliseconds, describe

router = APIRouter(
    tags=["homeservers"],
    responses=errors.UNKNOWN_HOMESERVER_RESPONSE,
)

MAX_BUCKETS = 2000


class HistoryBucket(Loss):
    """What happened in [from_at, from_at + step); latencies are null without samples."""

    from_at: Instant = Field(description="Its first instant, UTC.")
    sample_count: Count
    p5_ms: Milliseconds | None = Field(description="5th percentile, milliseconds.")
    p25_ms: Milliseconds | None = Field(description="25th percentile, milliseconds.")
    median_ms: Milliseconds | None = Field(description="Median latency, milliseconds.")
    p75_ms: Milliseconds | None = Field(description="75th percentile, milliseconds.")
    p95_ms: Milliseconds | None = Field(description="95th percentile, milliseconds.")

    @classmethod
    def of_bucket(cls, bucket: Bucket) -> HistoryBucket:
        """A bucket as the API shows it."""
        p5, p25, median, p75, p95 = bucket.band or [None] * 5
        return cls(
            **dict(Loss.of(bucket.sent, bucket.lost)),
            from_at=from_ts(bucket.start_ts),
            sample_count=bucket.samples,
            p5_ms=p5,
            p25_ms=p25,
            median_ms=median,
            p75_ms=p75,
            p95_ms=p95,
        )


class History(Answer):
    """A homeserver's number on one board over time; empty buckets included."""

    homeserver: str
    board: BoardName
    step: str = Field(description="Length of a bucket, as it can be asked for.")
    step_s: int = Field(description="Length of a bucket, seconds.")
    buckets: list[HistoryBucket] = Field(
        description="In order, aligned to whole steps of UTC. `sent_count`, `lost_count` and "
        "`loss` are those of our own pings to it, whichever the board; by the time of the ping."
    )


@router.get(
    "/api/v1/homeservers/{name}/history",
    operation_id="get_homeserver_history",
    summary="One homeserver over time",
    responses=errors.UNKNOWN_HOMESERVER_RESPONSE,
)
def get_homeserver_history(
    boards: GivenBoards, now: Now, name: HomeserverName, query: Annotated[HistoryQuery, Query()]
) -> History:
    """Percentiles of its latency on one board, and its loss, in buckets of equal length."""
    answer, window = describe(boards, query, now), query.window_at(now)
    step_name = query.step or choose_step(window)
    step = STEPS[step_name]
    if count_buckets(window, step) > MAX_BUCKETS:
        raise refusal(
            "step",
            f"should be longer: the window has more than {MAX_BUCKETS} buckets of {step_name}; "
            f"left out, it is {choose_step(window)}",
        )
    board = query.board or query.ask(boards, now).name
    buckets = homeservers.read_history(boards, answer.room.id, window, name, board, step, now=now)
    return History(
        **dict(answer),
        homeserver=name,
        board=board,
        step=step_name,
        step_s=int(step.total_seconds()),
        buckets=[HistoryBucket.of_bucket(bucket) for bucket in buckets],
    )
