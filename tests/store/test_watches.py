"""Which homeservers a room watches."""

from __future__ import annotations

from pingboard.store.engine import Engine
from pingboard.store.watches import (
    MAX_WATCHES,
    Watch,
    add_watch,
    read_watches,
    record_told,
    remove_watch,
)


def test_a_watch_is_kept_until_it_is_removed(engine: Engine) -> None:
    assert add_watch(engine, Watch("!a", "one.example", 5))
    assert add_watch(engine, Watch("!a", "one.example", 9))
    assert read_watches(engine) == [Watch("!a", "one.example", 5)]
    record_told(engine, Watch("!a", "one.example", 12))
    assert read_watches(engine) == [Watch("!a", "one.example", 12)]
    assert remove_watch(engine, "!a", "one.example")
    assert not remove_watch(engine, "!a", "one.example")
    assert read_watches(engine) == []


def test_each_room_has_a_limit_of_watches_of_its_own(engine: Engine) -> None:
    for number in range(MAX_WATCHES):
        assert add_watch(engine, Watch("!a", f"hs{number}.example", 1))
    assert not add_watch(engine, Watch("!a", "more.example", 1))
    assert add_watch(engine, Watch("!a", "hs3.example", 1))
    assert add_watch(engine, Watch("!b", "more.example", 1))
