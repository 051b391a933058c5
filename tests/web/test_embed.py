"""/embed: what it says to a browser."""

from __future__ import annotations

import httpx

from pingboard.store.engine import Engine
from tests.web.site import make_answers, record, serve


def test_without_the_setting_embed_is_a_403_that_names_it(site: httpx.Client) -> None:
    answer = site.get("/embed")
    assert answer.status_code == 403
    assert "PINGBOARD_EMBED_ORIGINS" in answer.text
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "iframe" not in site.get("/").text


def test_the_embedded_board_names_who_may_show_it_and_runs_no_script(store: Engine) -> None:
    for number in range(12):
        record(store, make_answers(f"s{number}.example", [400 + number]))
    origins = ["https://blog.example", "http://127.0.0.1:8000"]
    with serve(store, embed_origins=origins) as client:
        embedded, board = client.get("/embed?window=24h"), client.get("/?window=24h")
        whole = client.get("/embed?limit=12").text
    policy = embedded.headers["content-security-policy"]
    assert policy.endswith("frame-ancestors https://blog.example http://127.0.0.1:8000")
    assert "script-src" not in policy
    assert "<script" not in embedded.text
    assert (embedded.text.count("<bdi>s"), whole.count("<bdi>s")) == (10, 12)
    assert 'href="/?window=24h" target="_blank"' in embedded.text
    assert "24 hours" in embedded.text
    assert 'id="stale"' in embedded.text
    assert f'&lt;iframe src="{client.base_url}embed?window=24h"' in board.text
    assert "frame-ancestors 'none'" in board.headers["content-security-policy"]
