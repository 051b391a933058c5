"""/join and /method."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest

from pingboard.model import Batch, Rejected, Rejection, WorkerState, to_ts
from pingboard.store.engine import Engine
from pingboard.store.ingest import Ingest
from pingboard.store.status import record_worker
from pingboard.web.pages.layout import Site, describe_room
from tests.samples import make_sample
from tests.web.site import NOW, ROOM, make_answers, open_store, record, serve, text_of


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A room in which one answers, one is turned away, one fell silent, and one only pings."""
    engine = open_store(tmp_path_factory.mktemp("join"))
    record(engine, make_answers("one.example", range(400, 410)))
    seen_ts = to_ts(NOW) - 5000
    rejected = [Rejected(n, ROOM, "liar.example", Rejection.FORGED_FROM, seen_ts) for n in range(3)]
    Ingest(engine, "test").record(Batch(rejected=rejected))
    record(engine, [make_sample(1, "gone.example", "gone.example")])
    with serve(engine) as client:
        yield client
    engine.dispose()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("one.example", "its pongs count"),
        ("@echo:one.example", "its pongs count"),
        ("ours.example", "but no bot there answers"),
        ("liar.example", "answers, but none of its pongs count"),
        ("gone.example", "not in the last seven days"),
        ("One.example", "was never seen here"),
        ("https://one.example/", "is not a homeserver name"),
        ("<script>", "is not a homeserver name"),
    ],
)
def test_a_check_says_whether_a_bot_is_heard_and_counts(
    joined: httpx.Client, asked: str, words: str
) -> None:
    page = joined.get("/join", params={"homeserver": asked})
    assert page.status_code == 200
    assert words in page.text
    assert "<script>" not in page.text


@pytest.mark.parametrize("asked", ["One.example", "matrix.one.example", "one.exmaple"])
def test_a_check_guesses_what_was_meant(joined: httpx.Client, asked: str) -> None:
    page = joined.get("/join", params={"homeserver": asked}).text
    assert '<a href="/join?homeserver=one.example#check">' in page


def test_a_check_says_why_pongs_do_not_count_and_what_helps(joined: httpx.Client) -> None:
    page = joined.get("/join?homeserver=liar.example").text
    assert "3× “from” is not the homeserver that sent the ping." in page
    assert "It must be everything after the first colon" in page
    assert 'href="/homeservers/liar.example"' in page


def test_a_check_says_the_rank(joined: httpx.Client) -> None:
    page = text_of(joined.get("/join?homeserver=one.example"))
    assert "Rank 1 of 1 by response: a median of 404.5 ms from 10 pongs" in page


def test_a_check_says_that_what_it_knows_is_old(store: Engine) -> None:
    record(store, make_answers("one.example", range(400, 410)))
    record_worker(store, "main", WorkerState.RUNNING, 0, to_ts(NOW))
    now = [NOW]
    with serve(store, clock=lambda: now[0]) as client:
        fresh = text_of(client.get("/join?homeserver=one.example"))
        now[0] += timedelta(hours=3)
        old = text_of(client.get("/join?homeserver=one.example"))
    assert "No new data" not in fresh
    assert "No new data since 12 Oct 2026, 00:00 UTC. Yes: one.example answers" in old


def test_the_room_has_links_for_every_client() -> None:
    alias, by_id = describe_room("#ping:one.example:8448"), describe_room("!a/b:one.example")
    assert alias.link == "https://matrix.to/#/%23ping:one.example:8448"
    assert alias.uri == "matrix:r/ping:one.example:8448?action=join"
    assert by_id.link == "https://matrix.to/#/!a%2Fb:one.example"
    assert by_id.uri == "matrix:roomid/a%2Fb:one.example?action=join"


def test_without_a_room_one_can_still_read_how_to_join(store: Engine) -> None:
    with serve(store, default_room="#not-joined:one.example") as client:
        page = client.get("/join")
        assert client.get("/join?room=%23no:one.example").status_code == 404
    assert page.status_code == 200
    assert "pingboard echo" in page.text


def test_the_command_that_installs_names_the_repository_or_says_that_it_is_unknown(
    store: Engine,
) -> None:
    source = "https://git.example.org/pingboard"
    with serve(store, site=Site(source_url=source)) as client:
        told = client.get("/join").text
    assert f">pipx install git+{source}</pre>" in told
    assert f'<a href="{source}" rel="noreferrer">Source code</a>' in told
    assert f'<a href="{source}#readme" rel="noreferrer">Documentation</a>' in told
    with serve(store) as client:
        untold = client.get("/join")
    assert ">pipx install git+ADDRESS</pre>" in untold.text
    assert "This site does not know it; ask its operator." in text_of(untold)
    assert "Source code" not in untold.text


def test_the_method_is_shown_in_both_languages(joined: httpx.Client) -> None:
    assert "Latency is mostly geography" in joined.get("/method").text
    assert "Latenz ist vor allem Geografie" in joined.get("/method?lang=de").text
