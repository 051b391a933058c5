"""/api/v1/homeservers: who was heard, and one of them: "is it me or them?", and over time.

And a feed with an entry for each change of a homeserver.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, RootModel

from pingboard import homeservers
from pingboard.homeservers import Place, Profile
from pingboard.model import DEFAULT_BOARD, BoardName, Rejection, Window, from_ts
from pingboard.ranking.history import STEPS, Band, Bucket, choose_step, count_buckets
from pingboard.ranking.pairs import Pair
from pingboard.web import errors
from pingboard.web.api.paging import cut_page
from pingboard.web.dependencies import GivenBoards, Now
from pingboard.web.middleware import FRESH
from pingboard.web.pages.language import get_language
from pingboard.web.pages.layout import render_text
from pingboard.web.pages.remedies import REMEDIES
from pingboard.web.parameters import (
    HistoryQuery,
    HomeserverName,
    HomeserversQuery,
    ProfileQuery,
    RoomQuery,
    refusal,
)
from pingboard.web.schemas import (
    AnswerHead,
    Count,
    Instant,
    Loss,
    Milliseconds,
    NextCursor,
    describe_text,
    make_answer_head,
)

router = APIRouter(tags=["homeservers"])

MAX_BUCKETS = 2000


class HomeserverSummary(BaseModel):
    """How much was heard of a homeserver in the window."""

    model_config = ConfigDict(from_attributes=True)

    homeserver: str = Field(validation_alias="name", description="Matrix server name.")
    ping_sample_count: Count = Field(
        validation_alias="samples_as_ping_server",
        description="Samples with it as the ping server: pongs to its users' pings, by anybody.",
    )
    pong_sample_count: Count = Field(
        validation_alias="samples_as_pong_server",
        description="Samples with it as the pong server: pongs of its echo bots, to anybody.",
    )


class Homeservers(AnswerHead):
    """Every homeserver that pinged or answered in the window, by name."""

    homeservers: list[HomeserverSummary]
    next_cursor: NextCursor


class BoardPlace(BaseModel):
    """A homeserver's place on one board."""

    rank: int = Field(description="From 1.")
    homeserver_count: Count = Field(description="How many the board ranks.")
    median_ms: Milliseconds = Field(description="Median latency, milliseconds.")
    p5_ms: Milliseconds = Field(description="5th percentile, milliseconds.")
    p95_ms: Milliseconds = Field(description="95th percentile, milliseconds.")
    sample_count: Count = Field(
        validation_alias="samples", description="Samples that these numbers are of."
    )
    ci95_ms: tuple[Milliseconds, Milliseconds] | None = Field(
        description="95 % interval of the median; null below 6 samples."
    )

    @classmethod
    def of(cls, place: Place) -> BoardPlace:
        return cls.model_validate(
            {**place.standing._asdict(), "homeserver_count": place.homeservers}
        )


class BoardPlaces(RootModel[dict[BoardName, BoardPlace | None]]):
    """Its place on each board; null where it has no sample there."""

    model_config = ConfigDict(json_schema_extra={"required": [board.value for board in BoardName]})


class ClockOffset(BaseModel):
    """Its clock against ours, as NTP estimates it from our own pings."""

    model_config = ConfigDict(from_attributes=True)

    offset_ms: Milliseconds = Field(description="How far its clock is ahead of ours.")
    uncertainty_ms: Milliseconds = Field(description="The offset is right to within this.")
    is_wrong: bool = Field(description="The offset is larger than its uncertainty.")


class RejectedPongs(BaseModel):
    """Pongs of its bots that did not count."""

    reason: str = Field(description="From a closed list.")
    explanation: str = Field(description="The reason in words.")
    remedy: str = Field(description="What the admin of the homeserver can do about it.")
    pong_count: Count


class Partner(BaseModel):
    """All samples with one other homeserver (or with itself)."""

    homeserver: str
    median_ms: Milliseconds = Field(description="Median one-way latency, milliseconds.")
    sample_count: Count


class Partners(BaseModel):
    """The homeservers that it is fastest and slowest with."""

    homeserver_count: Count = Field(description="How many there are in all.")
    fastest: list[Partner] = Field(description="The fastest first.")
    slowest: list[Partner] = Field(description="The slowest first; none of `fastest`.")

    @classmethod
    def of(cls, partners: list[Partner], limit: int) -> Partners:
        """The two ends of a list that begins with the fastest."""
        return cls(
            homeserver_count=len(partners),
            fastest=partners[:limit],
            slowest=partners[limit:][-limit:][::-1],
        )


class HomeserverProfile(AnswerHead):
    """One homeserver in one room and window."""

    homeserver: str
    boards: BoardPlaces
    answers: Loss = Field(description="How it answered our own pings; by the time of the ping.")
    clock: ClockOffset | None = Field(description="null where none of our pings tells it.")
    rejected: list[RejectedPongs] = Field(
        description="Its pongs that did not count, most first; of each UTC day that the window has."
    )
    sending: Partners = Field(
        description="As the ping server: how long its pings take to each pong server."
    )
    receiving: Partners = Field(
        description="As the pong server: how long the pings of each ping server take to it."
    )

    @classmethod
    def of(cls, profile: Profile, answer: AnswerHead, query: ProfileQuery) -> HomeserverProfile:
        return cls(
            **dict(answer),
            homeserver=profile.name,
            boards=BoardPlaces(
                {board: place and BoardPlace.of(place) for board, place in profile.places.items()}
            ),
            answers=Loss.of(profile.sent, profile.lost),
            clock=profile.clock and ClockOffset.model_validate(profile.clock),
            rejected=[
                RejectedPongs(
                    reason=reason, **REMEDIES[Rejection(reason)]._asdict(), pong_count=pongs
                )
                for reason, pongs in profile.rejected.items()
            ],
            sending=Partners.of(
                [_partner(pair.pong_server, pair) for pair in profile.pongs_to], query.limit
            ),
            receiving=Partners.of(
                [_partner(pair.ping_server, pair) for pair in profile.pings_from], query.limit
            ),
        )


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
        return cls(
            **dict(Loss.of(bucket.sent, bucket.lost)),
            from_at=from_ts(bucket.start_ts),
            sample_count=bucket.samples,
            **(bucket.band._asdict() if bucket.band else dict.fromkeys(Band._fields)),
        )


class History(AnswerHead):
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
    "/api/v1/homeservers",
    summary="The homeservers of a room",
    responses=errors.UNKNOWN_ROOM_RESPONSE,
)
def list_homeservers(
    response: Response,
    boards: GivenBoards,
    now: Now,
    query: Annotated[HomeserversQuery, Query()],
) -> Homeservers:
    """Those that pinged or answered in the window, by name."""
    answer, window = make_answer_head(boards, query, now), query.window_at(now)
    page, cursor = cut_page(
        homeservers.list_homeservers(boards, answer.room.id, window),
        query,
        response,
        lambda homeserver: homeserver.name,
        binding=f"homeservers {answer.room.id}",
        parameters=query.keep(window),
    )
    return Homeservers(
        **dict(answer),
        homeservers=[HomeserverSummary.model_validate(homeserver) for homeserver in page],
        next_cursor=cursor,
    )


@router.get(
    "/api/v1/homeservers/{name}",
    summary="One homeserver in detail",
    responses=errors.UNKNOWN_HOMESERVER_RESPONSE,
)
def get_homeserver(
    boards: GivenBoards, now: Now, name: HomeserverName, query: Annotated[ProfileQuery, Query()]
) -> HomeserverProfile:
    """Its place on each board, its loss, its rejected pongs by reason, and its partners."""
    answer = make_answer_head(boards, query, now)
    profile = homeservers.read_profile(boards, answer.room.id, query.window_at(now), name, now=now)
    return HomeserverProfile.of(profile, answer, query)


@router.get(
    "/api/v1/homeservers/{name}/history",
    summary="One homeserver over time",
    responses=errors.UNKNOWN_HOMESERVER_RESPONSE,
)
def get_homeserver_history(
    boards: GivenBoards, now: Now, name: HomeserverName, query: Annotated[HistoryQuery, Query()]
) -> History:
    """Percentiles of its latency on one board, and its loss, in buckets of equal length."""
    answer, window = make_answer_head(boards, query, now), query.window_at(now)
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


def _partner(name: str, pair: Pair) -> Partner:
    return Partner(homeserver=name, median_ms=pair.median_ms, sample_count=pair.samples)


FEED_LENGTH = timedelta(days=31)
"""How far back the entries of a feed go."""

_NAMESPACE = uuid.UUID("b9b7e0b4-3f0a-5d8e-9a52-1c6d7f3f5a10")


@router.get(
    "/homeservers/{name:anything}/feed.atom",
    summary="Changes of a homeserver as an Atom feed",
    response_class=Response,
    responses={
        **errors.UNKNOWN_HOMESERVER_RESPONSE,
        **describe_text("application/atom+xml", "The feed"),
    },
)
def get_homeserver_feed(
    request: Request,
    boards: GivenBoards,
    now: Now,
    name: Annotated[str, Path(min_length=1, max_length=255, examples=["two.example"])],
    query: Annotated[RoomQuery, Query()],
) -> Response:
    """An entry each time it fell silent, came back, or became much slower or faster, for 31 days.

    /method says what counts as a change. Latencies are of the first board that it is on.
    """
    room_id, alias = boards.find_room(query.room)
    window = Window(now - FEED_LENGTH, now)
    profile = homeservers.read_profile(boards, room_id, window, name, now=now)
    board = profile.first_board or DEFAULT_BOARD
    changes = homeservers.read_changes(boards, room_id, window, name, board)
    entries: list[dict[str, Any]] = [
        {
            # An hour may be dated differently once more is known, a day hardly ever.
            "id": uuid.uuid5(
                _NAMESPACE, f"{room_id} {name} {change.kind} {change.at:%Y-%m-%d}"
            ).urn,
            "change": change,
            "at": change.at.isoformat().replace("+00:00", "Z"),
        }
        for change in reversed(changes)
    ]
    context = {
        "base": str(request.base_url),
        "name": name,
        "room": alias or room_id,
        "chosen_room": f"?{urlencode({'room': query.room})}" if query.room else "",
        "entries": entries,
        "language": get_language("en"),
        "updated": entries[0]["at"] if entries else "1970-01-01T00:00:00Z",
    }
    text = render_text("homeserver_feed.atom", context)
    return Response(text, headers={"Cache-Control": FRESH}, media_type="application/atom+xml")
