"""Why a pong did not count, and what its homeserver's admin can do about it."""

from __future__ import annotations

from typing import NamedTuple

from pingboard.model import Rejection
from pingboard.web.pages.language import mark


class Advice(NamedTuple):
    """Two sentences, to be translated."""

    explanation: str
    remedy: str


REMEDIES = {
    Rejection.INVALID_SERVER_NAME: Advice(
        mark("The sender’s homeserver name is not valid."),
        mark("The name is not valid in the Matrix specification; no bot can fix that."),
    ),
    Rejection.INVALID_MS: Advice(
        mark("“ms” is not a whole number, or out of range."),
        mark(
            "The bot should send whole milliseconds as a number, not as text. If they are far too "
            "large or negative, set the clock of its machine with NTP."
        ),
    ),
    Rejection.EDIT_OR_REPLY: Advice(
        mark("It is an edit, a reply or a reaction."),
        mark(
            "The bot should send each pong as a message of its own: not as an edit of an earlier "
            "one, nor as a reply."
        ),
    ),
    Rejection.CONTRADICTORY: Advice(
        mark("“pong” and “m.relates_to” contradict each other."),
        mark(
            "Both must have the same ping, “from” and “ms”. maubot’s echo plugin and "
            "“pingboard echo” get this right; update the bot."
        ),
    ),
    Rejection.UNKNOWN_PING: Advice(
        mark("The ping it names does not exist in the room."),
        mark(
            "The bot should name the event ID of the ping, and answer in the room that the ping "
            "came from."
        ),
    ),
    Rejection.NOT_A_PING: Advice(
        mark("The event it names is not a ping."),
        mark(
            "The bot should answer text messages (“m.text”) that begin with “!ping”, in upper or "
            "lower case, followed by nothing or by a space. Of an edit the new content counts, of "
            "a reply the text without the quote. This is how maubot reads them."
        ),
    ),
    Rejection.FORGED_FROM: Advice(
        mark("“from” is not the homeserver that sent the ping."),
        mark(
            "It must be everything after the first colon of the sender’s user ID, including the "
            "port if there is one."
        ),
    ),
    Rejection.IMPOSSIBLE_TIME: Advice(
        mark("Its time is before 2014-09-01 or more than 10 minutes in the future."),
        mark("The homeserver’s clock is wrong: let chrony or systemd-timesyncd set it."),
    ),
    Rejection.LATE: Advice(
        mark("It came more than 10 minutes after the ping."),
        mark(
            "Events reach this homeserver late, or its answers leave it late: check its load, its "
            "federation sender queue, and restarts."
        ),
    ),
    Rejection.DUPLICATE: Advice(
        mark("The homeserver had already answered that ping."),
        mark(
            "Two bots of this homeserver answer in the room, or one answers twice. The first "
            "answer counts, so nothing is lost; have one of them leave."
        ),
    ),
    Rejection.IMPLAUSIBLE: Advice(
        mark("Its round trip counts, but its “ms” contradicts it."),
        mark(
            "The bot’s clock is wrong: let chrony or systemd-timesyncd set it. Until then its "
            "one-way times mean little."
        ),
    ),
}
