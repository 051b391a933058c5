"""A path's way to make its answer anew in microseconds, for the byte cache.

After each new pong the leaderboard's table is asked for again. Nothing of the request has changed
then, and the board is kept in order; what would take longest is to route and to parse it once more.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from starlette.requests import Request
from starlette.types import Scope

Renew = Callable[[], tuple[bytes, datetime] | None]
"""The whole body as it would be made now, and as of when it is; None where the path itself has to
be asked. Called on the event loop: it must wait for nothing, and not raise."""

_OFFERS = "pingboard.renewal"


def invite(scope: Scope) -> list[Renew]:
    """Let whoever answers put a way here."""
    offers: list[Renew] = []
    scope[_OFFERS] = offers
    return offers


def offer(request: Request, renew: Renew) -> None:
    """Offer a way to make the answer to this request anew; nothing but the body may change."""
    offers = request.scope.get(_OFFERS)
    if offers is not None:
        offers.append(renew)
