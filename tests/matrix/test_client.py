"""What a homeserver may wish for with a 429, in its body and in its header."""

from __future__ import annotations

import json

import pytest

from pingboard.matrix.client import DEFAULT_RETRY_AFTER_S, MAX_RETRY_AFTER_S, Client, checked
from pingboard.model import HomeserverError, RateLimitedError
from tests.cli.http_server import answering

HUGE = 10**400
"""More than a float can hold."""


async def ask_who_i_am(wish: str, **headers: str) -> None:
    """Ask a homeserver that answers 429 with this as `retry_after_ms`."""
    body = f'{{"errcode": "M_LIMIT_EXCEEDED", "error": "slower", "retry_after_ms": {wish}}}'
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with answering(429, {"Content-Type": "application/json", **named}, body.encode()) as url:
        client = Client(url.rstrip("/"))
        client.access_token = "secret"
        try:
            await checked(client.whoami(), 60)
        finally:
            await client.close()


@pytest.mark.parametrize(
    ("wish", "wait_s"),
    [
        (1500, 1.5),
        (HUGE, MAX_RETRY_AFTER_S),
        (-HUGE, 0.0),
        (-1, 0.0),
        (True, DEFAULT_RETRY_AFTER_S),
        (1e300, DEFAULT_RETRY_AFTER_S),
        (float("inf"), DEFAULT_RETRY_AFTER_S),
        (float("nan"), DEFAULT_RETRY_AFTER_S),
        ("soon", DEFAULT_RETRY_AFTER_S),
    ],
    ids=lambda value: str(value)[:9],
)
async def test_the_wish_in_a_body_is_kept_within_bounds(wish: object, wait_s: float) -> None:
    with pytest.raises(RateLimitedError) as caught:
        await ask_who_i_am(json.dumps(wish))
    assert caught.value.retry_after_s == wait_s


@pytest.mark.parametrize(
    ("wish", "wait_s"),
    [("2", 2.0), ("9" * 400, MAX_RETRY_AFTER_S), ("-1", 1.5), ("nan", 1.5), ("1e9", 1.5)],
    ids=lambda value: str(value)[:9],
)
async def test_the_wish_in_a_header_is_kept_within_bounds(wish: str, wait_s: float) -> None:
    with pytest.raises(RateLimitedError) as caught:
        await ask_who_i_am("1500", Retry_After=wish)
    assert caught.value.retry_after_s == wait_s


async def test_a_wish_that_is_too_long_to_be_read_is_a_fault_of_the_homeserver() -> None:
    with pytest.raises(HomeserverError):
        await ask_who_i_am("9" * 5000)
