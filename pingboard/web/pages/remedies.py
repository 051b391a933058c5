"""Why a pong did not count, and what its homeserver's admin can do about it; of the catalogue."""

from __future__ import annotations

from typing import NamedTuple

from pingboard.model import Rejection
from pingboard.web.pages.language import mark


class Advice(NamedTuple):
    """Two sentences of the catalogue, still to be translated."""

    explanation: str
    remedy: str


REMEDIES = {
    Rejection.INVALID_SERVER_NAME: Advice(
        mark("The sender’s homeserver name is not valid."),
        mark("The name breaks the grammar of the Matrix specification: no bot can mend that."),
    ),
    Rejection.INVALID_MS: Advice(
        mark("“ms” is not a whole number, or out of all bounds."),
        mark(
            "Let the bot send whole milliseconds as a number, not as text. If they are far too "
            "many or below zero, set the clock of its machine by NTP."
        ),
    ),
    Rejection.EDIT_OR_REPLY: Advice(
        mark("It is an edit, a reply or a reaction."),
        mark(
            "Let the bot send each pong as a message of its own, related to nothing else: neither "
            "an edit of an earlier one nor a reply."
        ),
    ),
    Rejection.CONTRADICTORY: Advice(
        mark("“pong” and “m.relates_to” contradict each other."),
        mark(
            "Both have to say the same: ping, “from” and “ms”. maubot’s echo plugin and "
            "“pingboard echo” do; update the bot."
        ),
    ),
    Rejection.UNKNOWN_PING: Advice(
        mark("The ping that it names does not exist in the room."),
        mark(
            "Let the bot name the event ID of the ping, and answer in the room that the ping came "
            "from."
        ),
    ),
    Rejection.NOT_A_PING: Advice(
        mark("The event that it names is not a ping."),
        mark(
            "Let the bot answer a text message (“m.text”) that begins with “!ping”, in any case, "
            "and then ends or goes on with a space. An edit is read as its new content, a reply "
            "without the lines that it quotes. This is how maubot reads it."
        ),
    ),
    Rejection.FORGED_FROM: Advice(
        mark("“from” is not the homeserver that sent the ping."),
        mark(
            "It has to be all that follows the first colon of the sender’s user ID, with the port "
            "if there is one."
        ),
    ),
    Rejection.IMPOSSIBLE_TIME: Advice(
        mark("Its time is before 2014-09-01 or more than 10 minutes in the future."),
        mark("The clock of the homeserver is wrong: let chrony or systemd-timesyncd keep it."),
    ),
    Rejection.LATE: Advice(
        mark("It came more than 10 minutes after the ping."),
        mark(
            "Events reach this homeserver late, or its answers leave it late: look at its load, at "
            "the queue of its federation sender, and at restarts."
        ),
    ),
    Rejection.DUPLICATE: Advice(
        mark("The homeserver had answered that ping before."),
        mark(
            "Two bots of this homeserver answer in the room, or one does twice. The first answer "
            "counts, so nothing is lost; let one of them leave."
        ),
    ),
    Rejection.IMPLAUSIBLE: Advice(
        mark("It counts by its round trip, but its “ms” contradicts that."),
        mark(
            "The bot’s clock is off: let chrony or systemd-timesyncd keep it. Until then its "
            "one-way numbers mean little."
        ),
    ),
}
