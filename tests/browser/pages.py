"""Every page there is, each a line: what all pages must fulfil is checked on each of them."""

from __future__ import annotations

from typing import NamedTuple


class PageOfOurs(NamedTuple):
    """One page."""

    path: str
    words: str
    """what it says, also without JavaScript"""
    status: int = 200


PAGES = {
    "board": PageOfOurs("/", "gottlieb.example"),
    "board-delivery": PageOfOurs("/?board=delivery&window=30d", "tchncs.example"),
    "board-german": PageOfOurs("/?lang=de", "Die schnellsten Matrix-Homeserver"),
    "board-found": PageOfOurs("/?q=example:&sort=-loss", "pc.koesters.example:6167"),
    "board-nobody": PageOfOurs("/?q=nobody", "No such homeserver"),
    "recipes": PageOfOurs("/recipes", "Home Assistant"),
    "board-empty": PageOfOurs("/?from=2026-01-01T00:00:00Z&window=1h", "no pongs"),
    "join": PageOfOurs("/join", "pingboard echo"),
    "join-counts": PageOfOurs("/join?homeserver=@bot:aria.example", "its pongs count"),
    "join-unknown": PageOfOurs("/join?homeserver=matrix.envs.example", "was never seen here"),
    "method": PageOfOurs("/method", "Latency is mostly geography"),
    "homeserver": PageOfOurs("/homeservers/asra.example", "only it became slower"),
    "homeserver-clock": PageOfOurs("/homeservers/aria.example?board=reception", "Fix it with NTP"),
    "homeserver-german": PageOfOurs("/homeservers/tor.example?lang=de", "an meinem Server"),
    "homeserver-compared": PageOfOurs(
        "/homeservers/asra.example?with=kde.example", "Both on the same scale."
    ),
    "homeserver-silent": PageOfOurs(
        "/homeservers/kde.example?window=1h&to=2026-01-01T00:00:00Z", "No pings or pongs"
    ),
    "homeserver-unknown": PageOfOurs("/homeservers/kdee.example", "Did you mean", 404),
    "embed": PageOfOurs("/embed?limit=5", "gottlieb.example"),
    "matrix": PageOfOurs("/matrix", "gottlieb.example"),
    "matrix-german": PageOfOurs("/matrix?lang=de&window=24h", "Wie schnell ist jedes Paar?"),
    "matrix-empty": PageOfOurs("/matrix?from=2026-01-01T00:00:00Z&window=1h", "UTC: no pongs"),
    "editions": PageOfOurs("/editions", "2026-W41"),
    "editions-german": PageOfOurs("/editions?board=delivery&lang=de", "Ränge nach Wochen"),
    "edition": PageOfOurs("/editions/2026-W41", "gottlieb.example"),
    "edition-unknown": PageOfOurs("/editions/2026-W99", "Unknown edition", 404),
    "problem": PageOfOurs("/?room=%23nowhere:one.example", "Unknown room", 404),
}

SHOTS = ("board", "homeserver", "matrix", "editions", "join-counts", "method", "embed")
"""Those that docs/screenshots has pictures of."""
