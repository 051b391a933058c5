"""How the OpenAPI description shows samples: streamed answers are not built from these models."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from pingboard.web.schemas import Answer, Instant

SAMPLE_EXAMPLE: JsonDict = {
    "room_id": "!ping:one.example",
    "ping_event_id": "$ping0",
    "ping_server": "ours.example",
    "pong_server": "one.example",
    "one_way_ms": 190,
    "round_trip_ms": 380,
    "ping_seen_at": "2026-10-11T12:00:00.000Z",
    "pong_seen_at": "2026-10-11T12:00:00.380Z",
    "ping_origin_server_ts": 1791720000000,
    "pong_origin_server_ts": 1791720000190,
    "provenance": "live",
}

SAMPLES_EXAMPLE: JsonDict = {
    "generated_at": "2026-10-12T00:00:00.000Z",
    "room": {"id": "!ping:one.example", "alias": "#ping:one.example"},
    "unit": "ms",
    "window": {"from_at": "2026-10-05T00:00:00.000Z", "to_at": "2026-10-12T00:00:00.000Z"},
    "kept_from_at": None,
    "next_cursor": "WzE3OTE3MjAwMDAwMDAsIDEsIDJddJZTF5AZ",
    "samples": [SAMPLE_EXAMPLE],
}

NDJSON_EXAMPLE = (
    '{"room_id":"!ping:one.example","ping_event_id":"$ping0","ping_server":"ours.example",'
    '"pong_server":"one.example","one_way_ms":190,"round_trip_ms":380,'
    '"ping_seen_at":"2026-10-11T12:00:00.000Z","pong_seen_at":"2026-10-11T12:00:00.380Z",'
    '"ping_origin_server_ts":1791720000000,"pong_origin_server_ts":1791720000190,'
    '"provenance":"live"}\n'
)

CSV_EXAMPLE = (
    ",".join(SAMPLE_EXAMPLE) + "\r\n!ping:one.example,$ping0,ours.example,one.example,190,380,"
    "2026-10-11T12:00:00.000Z,2026-10-11T12:00:00.380Z,1791720000000,1791720000190,live\r\n"
)


class RawSample(BaseModel):
    """One ping x one pong server: all that is kept of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [SAMPLE_EXAMPLE]})

    room_id: str = Field(description="Of a room's upgrades, the one that it was sent in.")
    ping_event_id: str
    ping_server: str
    pong_server: str
    one_way_ms: int = Field(
        description="Milliseconds from the ping's send to its arrival at the pong server, as the "
        "bot claims; two clocks made it, so it may be negative."
    )
    round_trip_ms: int | None = Field(
        description="Milliseconds from our send to the pong's arrival, by our clock; only for our "
        "own pings whose pong we saw arrive."
    )
    ping_seen_at: Instant = Field(
        description="When we received the ping, UTC; for history its `origin_server_ts`."
    )
    pong_seen_at: Instant = Field(description="The same of the pong. A window is of these.")
    ping_origin_server_ts: int = Field(
        description="By the ping server's clock, which may be wrong: ms since 1970."
    )
    pong_origin_server_ts: int = Field(
        description="By the pong server's clock, which may be wrong: ms since 1970."
    )
    provenance: Literal["live", "gap_fill", "import"] = Field(description="How it came to us.")


class Samples(Answer):
    """A page of samples, in the order in which their pings were stored."""

    model_config = ConfigDict(json_schema_extra={"examples": [SAMPLES_EXAMPLE]})

    kept_from_at: Instant | None = Field(
        description="Single samples of before are not kept here any more, though boards still have "
        "them; null where all are."
    )
    next_cursor: str | None = Field(description="For the next page; null on the last.")
    samples: list[RawSample]


RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": Samples,
        "description": "The samples",
        "headers": {
            "Link": {
                "description": 'The next page, `<?...>; rel="next"`, relative to this one; absent '
                "on the last.",
                "schema": {"type": "string"},
            }
        },
        "content": {
            "application/json": {},  # the first is what a client gets who does not choose
            "application/x-ndjson": {"schema": {"type": "string"}, "example": NDJSON_EXAMPLE},
            "text/csv": {"schema": {"type": "string"}, "example": CSV_EXAMPLE},
        },
    }
}
"""For the OpenAPI description."""
