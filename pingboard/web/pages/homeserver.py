"""/homeservers/{name}: one homeserver, for whoever runs it; and its history as an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, NamedTuple
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import RedirectResponse, Response

from pingboard import homeservers
from pingboard.boards import Boards
from pingboard.homeservers import Place, Profile, read_changes
from pingboard.model import (
    DEFAULT_BOARD,
    BoardName,
    Rejection,
    Standing,
    UnknownHomeserverError,
    Window,
    from_ts,
)
from pingboard.ranking.boards import Ranked, get_rule
from pingboard.ranking.clocks import Clock
from pingboard.ranking.comparison import Comparison, compare, diagnose
from pingboard.ranking.history import STEPS, Bucket
from pingboard.ranking.pairs import Pair
from pingboard.servername import read_server_name
from pingboard.web.charts import smoke, strip_plot
from pingboard.web.charts.histogram import draw_histogram
from pingboard.web.charts.scale import Scale
from pingboard.web.dependencies import GivenBoards, Now
from pingboard.web.pages import choices
from pingboard.web.pages.board import find_room, render_waiting
from pingboard.web.pages.layout import TAG, PageQuery, language_of, render
from pingboard.web.pages.remedies import REMEDIES
from pingboard.web.parameters import WindowQuery
from pingboard.web.worker_health import read_worker

SHOWN_PARTNERS = 5
BOARDS_OF_PINGS = frozenset(
    board for board in BoardName if get_rule(board).ranked is Ranked.PING_SERVERS
)
"""Those that a homeserver comes onto by its pings, not by its pongs."""
MIN_SAMPLES = 6
"""For the interval of a median, and so for a partner to be among the fastest or slowest."""
SIMILAR = 5

router = APIRouter(tags=[TAG], include_in_schema=False)

AnyName = Annotated[str, Path(min_length=1)]


class HomeserverPageQuery(WindowQuery, PageQuery):
    """Which room and when, the board whose number is shown over time, and whom to compare with."""

    board: BoardName | None = Field(
        None, description="Left out: `response`, or the first board that the homeserver is on."
    )
    with_: Annotated[str, Field(max_length=255)] = Field(
        "", alias="with", description="Another homeserver, to compare with."
    )


@dataclass(frozen=True, slots=True)
class PlaceRow:
    """A place on one board, beside the others."""

    place: Place
    comparison: Comparison
    strip: strip_plot.Strip


class Compared(NamedTuple):
    """One of two homeservers that are compared."""

    name: str
    standing: Standing | None
    """None where it is not on the board"""
    smoke: smoke.Smoke | None
    """None where nothing was heard of it; on one scale with the other's"""


class HomeserverComparison(NamedTuple):
    """Two homeservers side by side."""

    other: str
    compared: Sequence[Compared]
    """itself and the other; empty where the other was never heard"""
    similar: Sequence[str]
    """names that may have been meant instead"""


class PartnerRow(NamedTuple):
    """Another homeserver as this one sees it."""

    homeserver: str
    median_ms: float
    samples: int
    usual_ms: float | None
    """the middle of what it has with all others; None where it has no others"""


@dataclass(frozen=True, slots=True)
class PartnerTable:
    """The two ends of a list by speed; without overlap, so the slow end may be empty."""

    fastest: Sequence[PartnerRow]
    slowest: Sequence[PartnerRow]
    between: int
    """how many are left out as neither"""
    too_few: int
    """how many have too few samples to be compared"""


@router.get("/homeservers/{name:anything}")
def show_homeserver(
    request: Request,
    boards: GivenBoards,
    now: Now,
    name: AnyName,
    query: Annotated[HomeserverPageQuery, Query()],
) -> Response:
    """A homeserver's page; of an unknown one, the names that are like it."""
    room_id, alias = find_room(boards, query)
    if room_id is None:
        return render_waiting(request, boards, now)
    window = query.window_at(now)
    try:
        profile = homeservers.read_profile(boards, room_id, window, name, now=now)
    except UnknownHomeserverError:
        return _show_unknown(request, boards, name)
    path, language = request.url.path, language_of(request)
    default = profile.first_board or DEFAULT_BOARD
    board = query.board or default
    context: dict[str, Any] = {
        "name": name,
        "query": query,
        "kept": query.model_dump(
            mode="json", by_alias=True, exclude_defaults=True, exclude={"with_"}
        ),
        "board": board,
        "changes": read_changes(boards, room_id, window, name, default),
        "now": now,
        "worker": read_worker(boards.engine, now, room_id),
        "room": alias or room_id,
        "window": choices.describe_window(query, window, language),
        "windows": choices.link_windows(path, query),
        "boards": choices.link_boards(path, query, board, language, default),
        "meanings": choices.MEANINGS,
        "boards_of_pings": BOARDS_OF_PINGS,
        "parameters": choices.encode(query, leave_out=frozenset({"lang", "board", "with_"})),
        "base": str(request.base_url).rstrip("/"),
        "badge": f"?{urlencode({'room': query.room})}" if query.room else "",
        "explanations": REMEDIES,
        **_describe(profile),
        **_draw_over_time(boards, room_id, window, name, board, now, profile),
    }
    if other := read_server_name(query.with_.strip()):
        context["comparison"] = _compare_with(boards, room_id, window, (name, other), board, now)
    return render(request, "homeserver.html", context, room_id=room_id)


def _show_unknown(request: Request, boards: GivenBoards, name: str) -> Response:
    if name.endswith("/"):
        return RedirectResponse(request.url.replace(path=request.url.path.rstrip("/")))
    meant = read_server_name(name)
    if meant != name and homeservers.is_known(boards, meant):
        path = request.url.path.removesuffix(name) + quote(meant, safe="")
        return RedirectResponse(request.url.replace(path=path))
    similar = homeservers.find_similar(boards, meant[:255], SIMILAR)
    context = {"name": name, "similar": similar}
    return render(request, "homeserver_unknown.html", context, status=404)


def _describe(profile: Profile) -> Mapping[str, Any]:
    clock = profile.clock
    rows = _compare(profile, clock)
    return {
        "profile": profile,
        "rows": rows,
        "clock": clock,
        "diagnosis": diagnose({board: row.comparison for board, row in rows.items()}, clock),
        "sending": _cut_partners(
            [_see(pair, pair.pong_server, profile.usual_to_ms) for pair in profile.pongs_to]
        ),
        "receiving": _cut_partners(
            [_see(pair, pair.ping_server, profile.usual_from_ms) for pair in profile.pings_from]
        ),
        "rejected": [(Rejection(reason), pongs) for reason, pongs in profile.rejected.items()],
    }


def _compare(profile: Profile, clock: Clock | None) -> dict[BoardName, PlaceRow]:
    """A row for each board that it is on, all strips on one scale."""
    places = {board: place for board, place in profile.places.items() if place}
    scale = Scale.over(
        ms
        for place in places.values()
        for ms in (*place.others_ms, place.standing.median_ms, *(place.standing.ci95_ms or ()))
    )
    rows = {}
    for board, place in places.items():
        comparison = compare(board, place.standing, place.others_ms, clock)
        row = place.standing
        drawn = strip_plot.draw(
            scale,
            row.median_ms,
            row.ci95_ms,
            place.others_ms,
            comparison.others_median_ms,
            comparison.middle_ms,
        )
        rows[board] = PlaceRow(place, comparison, drawn)
    return rows


def _draw_over_time(
    boards: Boards,
    room_id: str,
    window: Window,
    name: str,
    board: BoardName,
    now: datetime,
    profile: Profile,
) -> Mapping[str, Any]:
    place = profile.places[board]
    samples = place.standing.samples if place else 0
    shown, step = window, smoke.choose_step(window, samples)
    buckets = homeservers.read_history(boards, room_id, shown, name, board, STEPS[step], now=now)
    span = smoke.find_span(buckets, window, STEPS[step])
    if span != window:
        shown, step = span, smoke.choose_step(span, samples)
        buckets = homeservers.read_history(
            boards, room_id, shown, name, board, STEPS[step], now=now
        )
    histogram = homeservers.read_histogram(boards, room_id, window, name, board)
    return {
        "step": step,
        "buckets": [(bucket, from_ts(bucket.start_ts)) for bucket in buckets],
        "smoke": smoke.draw(board, buckets, shown, STEPS[step]),
        "min_band": smoke.MIN_BAND,
        "shown": shown,
        "histogram": histogram,
        "histogram_chart": histogram
        and place
        and draw_histogram(histogram, place.standing.median_ms),
    }


def _compare_with(
    boards: Boards,
    room_id: str,
    window: Window,
    names: tuple[str, str],
    board: BoardName,
    now: datetime,
) -> HomeserverComparison:
    """Two homeservers on one board, their histories on one scale."""
    standings = {
        row.homeserver: row
        for row in boards.board(board, window, now=now, room=room_id).standings
        if row.homeserver in names
    }
    samples = min((row.samples for row in standings.values()), default=0)
    step = smoke.choose_step(window, samples)

    def read(shown: Window, step: str) -> list[list[Bucket]]:
        return [
            homeservers.read_history(boards, room_id, shown, name, board, STEPS[step], now=now)
            for name in names
        ]

    try:
        histories = read(window, step)
    except UnknownHomeserverError:
        similar = homeservers.find_similar(boards, names[1], SIMILAR)
        return HomeserverComparison(names[1], [], similar)
    spans = [smoke.find_span(history, window, STEPS[step]) for history in histories]
    shown = Window(min(span.start for span in spans), max(span.end for span in spans))
    if shown != window:
        step = smoke.choose_step(shown, samples)
        histories = read(shown, step)
    scale = smoke.find_scale(
        [bucket.band for history in histories for bucket in history if bucket.band]
    )
    return HomeserverComparison(
        names[1],
        [
            Compared(
                name,
                standings.get(name),
                smoke.draw(board, history, shown, STEPS[step], scale),
            )
            for name, history in zip(names, histories, strict=True)
        ],
        [],
    )


def _see(pair: Pair, other: str, usual_ms: Mapping[str, float]) -> PartnerRow:
    return PartnerRow(other, pair.median_ms, pair.samples, usual_ms.get(other))


def _cut_partners(partners: Sequence[PartnerRow]) -> PartnerTable:
    # A single lucky sample would be the fastest of all; where there are only such, they are shown.
    known = [partner for partner in partners if partner.samples >= MIN_SAMPLES] or partners
    fastest, rest = known[:SHOWN_PARTNERS], known[SHOWN_PARTNERS:]
    slowest = rest[-SHOWN_PARTNERS:]
    return PartnerTable(fastest, slowest, len(rest) - len(slowest), len(partners) - len(known))
