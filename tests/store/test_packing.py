"""An hour as bytes: what boards need comes out as it is, and single samples come out whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pingboard.sample_blocks import NO_OFFSET
from pingboard.store import packing
from pingboard.store.packing import (
    NO_ROWS,
    NONE,
    DamagedError,
    Hour,
    HourSamples,
    Packed,
    Pings,
    Unanswered,
    find_origin_ts,
    find_seen_ts,
    has_event_hashes,
    pack_hour,
    read_last_seen_ts,
    unpack_block,
    unpack_hour,
)
from tests.samples import START_TS

latency = st.integers(-5, 300) | st.sampled_from([9, 10, 600_000, 600_001, 2**31 - 1, -(2**31)])
clock_error = st.integers(-300, 300) | st.integers(-(2**50), 2**50)
server = st.integers(1, 5) | st.sampled_from([255, 256, 70_000, 2**31 - 1])


@st.composite
def hours(draw: st.DrawFn) -> Hour:
    ids = draw(st.lists(st.integers(1, 30) | st.integers(1, 2**40), unique=True, max_size=4))
    pings = []
    for row in ids:
        seen_ts = START_TS + draw(st.integers(0, 3_600_000))
        origin_ts = seen_ts + draw(clock_error)
        is_ours = draw(st.integers(0, 1))
        has_sent = is_ours and draw(st.booleans())
        sent_ts = seen_ts - draw(st.integers(0, 900)) if has_sent else NONE
        pings.append((row, draw(server), seen_ts, origin_ts, sent_ts, is_ours))
    samples, missing = [], []
    for row, *_, is_ours in pings:
        for pong_server in draw(st.lists(server, unique=True, max_size=5)):
            if draw(st.integers(0, 4)) == 0:
                missing.append((row, pong_server))
                continue
            round_trip_ms = draw(st.integers(NONE, 900)) if is_ours else NONE
            delay_ms = draw(st.integers(-600_000, 600_000) | st.integers(0, 300))
            event_hash = draw(st.just(NONE) | st.integers(0, 2**48 - 1))
            numbers = (draw(latency), round_trip_ms, delay_ms, draw(clock_error))
            samples.append((row, pong_server, *numbers, draw(st.integers(0, 2)), event_hash))
    return Hour(
        Pings(*columns(pings, 6)),
        HourSamples(*columns(samples, 8)),
        Unanswered(*columns(missing, 2)),
    )


def columns(rows: Sequence[tuple[int, ...]], width: int) -> Any:
    return np.array(rows, np.int64).reshape(-1, width).T


def listed(rows: Any) -> list[tuple[int, ...]]:
    return sorted(zip(*(column.tolist() for column in rows), strict=True))


@given(hours())
def test_single_samples_come_out_whole(hour: Hour) -> None:
    again = unpack_hour(pack_hour(hour), hour.pings)
    assert [listed(rows) for rows in again] == [listed(rows) for rows in hour]


@given(hours())
def test_boards_get_what_the_rows_say(hour: Hour) -> None:
    block = unpack_block(pack_hour(hour).hot)
    pings = {row[0]: row for row in listed(hour.pings)}
    claims, answers = [], []
    for row, server_row, one_way_ms, round_trip_ms, delay_ms, lag_ms, _, _ in listed(hour.samples):
        _, ping_server, pinged_ts, origin_ts, sent_ts, is_ours = pings[row]
        seen_ts = pinged_ts + delay_ms
        if 10 <= one_way_ms <= 600_000:
            claims.append((seen_ts, ping_server, server_row, one_way_ms))
        if is_ours:
            offset_ms = origin_ts + one_way_ms - sent_ts - lag_ms
            offset_ms = NO_OFFSET if sent_ts == NONE else offset_ms
            answers.append((pinged_ts, seen_ts, server_row, round_trip_ms, offset_ms))
    losses = [
        (pings[row][2], server_row)
        for row, server_row in listed(hour.unanswered)
        if pings[row][4] != NONE
    ]
    assert listed(block.claims) == sorted(claims)
    assert listed(block.answers) == sorted(answers)
    assert listed(block.losses) == sorted(losses)
    if claims:
        times = block.claims.seen_ts
        assert (times.first, times.last) == (min(claims)[0], max(claims)[0])
    for rows in (block.claims, block.answers, block.losses):
        assert rows.seen_ts.tolist() == sorted(rows.seen_ts.tolist())


@given(hours())
def test_hashes_and_times_are_found_without_unpacking(hour: Hour) -> None:
    packed = pack_hour(hour)
    hashes = hour.samples.event_hash
    known = hashes[hashes != NONE]
    assert has_event_hashes(packed.cold, known).all()
    assert not has_event_hashes(packed.cold, np.setdiff1d(known ^ 1, known)).any()
    assert read_last_seen_ts(packed.hot) == max(find_seen_ts(hour).tolist(), default=None)
    assert len(find_origin_ts(hour)) == len(hashes)


@given(hours(), st.integers(0))
def test_no_bit_can_change_unnoticed(hour: Hour, number: int) -> None:
    hot, cold = (bytearray(part) for part in pack_hour(hour))
    place, bit = divmod(number % (8 * (len(hot) + len(cold))), 8)
    part = hot if place < len(hot) else cold
    part[place if part is hot else place - len(hot)] ^= 1 << bit
    with pytest.raises(DamagedError):
        unpack_hour(Packed(bytes(hot), bytes(cold)), hour.pings)
    if part is hot:
        for read in (unpack_block, read_last_seen_ts):
            with pytest.raises(DamagedError):
                read(bytes(hot))
    else:
        with pytest.raises(DamagedError):
            has_event_hashes(bytes(cold), hour.samples.event_hash)


def test_what_another_version_packed_in_another_form_is_damaged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hot, cold = pack_hour(NO_ROWS)
    monkeypatch.setattr(packing, "_FORM", packing._FORM + 1)
    with pytest.raises(DamagedError):
        unpack_block(hot)
    with pytest.raises(DamagedError):
        unpack_hour(Packed(hot, cold), NO_ROWS.pings)


def test_an_hour_that_is_cut_off_is_damaged() -> None:
    hot, cold = pack_hour(NO_ROWS)
    for length in (0, 3, len(hot) - 1):
        with pytest.raises(DamagedError):
            unpack_block(hot[:length])
    with pytest.raises(DamagedError):
        unpack_hour(Packed(hot, cold[:5]), NO_ROWS.pings)


@given(hours())
def test_an_hour_whose_pings_are_gone_is_damaged(hour: Hour) -> None:
    less = Pings(*(column[1:] for column in hour.pings))
    if len(hour.pings.id):
        with pytest.raises(DamagedError):
            unpack_hour(pack_hour(hour), less)


def test_an_hour_without_anything_is_packed_too() -> None:
    assert listed(unpack_hour(pack_hour(NO_ROWS), NO_ROWS.pings).samples) == []


def test_a_usual_sample_takes_few_bytes_on_disk() -> None:
    rng = np.random.default_rng(1)
    pings, servers = 70, 88
    seen_ts = START_TS + np.sort(rng.integers(0, 3_600_000, pings))
    ids = np.arange(pings) + 1_000_000
    ours = (np.arange(pings) % 2).astype(np.int64)
    sent_ts = np.where(ours == 1, seen_ts - rng.integers(80, 160, pings), NONE)
    ping, pong_server = np.repeat(ids, servers), np.tile(np.arange(servers) + 1, pings)
    one_way_ms = np.minimum(rng.lognormal(6, 1.5, pings * servers), 600_000).astype(np.int64)
    lag_ms = rng.integers(20, 90, pings * servers)
    delay_ms = one_way_ms + lag_ms
    round_trip_ms = np.where(
        np.repeat(ours, servers) == 1, delay_ms + np.repeat(seen_ts - sent_ts, servers), NONE
    )
    hashes = rng.integers(0, 2**48, pings * servers)
    numbers = (one_way_ms, round_trip_ms, delay_ms, lag_ms, np.zeros_like(ping), hashes)
    samples = HourSamples(ping, pong_server, *numbers)
    whose = Pings(ids, rng.integers(1, 200, pings), seen_ts, seen_ts, sent_ts, ours)
    hot, cold = pack_hour(Hour(whose, samples, NO_ROWS.unanswered))
    assert len(hot) < 8 * len(ping)
    assert len(cold) < 6.2 * len(ping)
