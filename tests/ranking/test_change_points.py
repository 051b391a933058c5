"""Change-points: quiet weeks stay quiet, what doubles is found, and when."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pingboard.model import ChangeKind
from pingboard.ranking.change_points import (
    ChangePoint,
    find_change_points,
    find_silences,
    split_at_changes,
)
from pingboard.ranking.trends import Trend

HOURS = 168
WEEKS = 200
OTHERS = 12


def make_week(
    seed: int, *, ratio: float = 1.0, since: int = HOURS, shared: float = 1.0, rho: float = 0.4
) -> dict[str, Trend]:
    """A week of hourly medians as rooms have them: a daily rhythm that all share and one of its
    own, autocorrelated noise, spikes, hours without a sample; from `since` on "own" takes `ratio`
    times as long, and everybody `shared` times."""
    choose = np.random.default_rng(seed)
    hours = np.arange(HOURS)
    rhythm = 0.2 * np.sin(2 * np.pi * hours / 24 + choose.uniform(0, 6))
    step = np.where(hours >= since, 1.0, 0.0)
    trends: dict[str, Trend] = {}
    for name in ["own", *(f"other-{number}" for number in range(OTHERS))]:
        noise = choose.normal(0, 0.25, HOURS)
        for hour in range(1, HOURS):
            noise[hour] += rho * noise[hour - 1]
        own_rhythm = 0.07 * np.sin(2 * np.pi * hours / 24 + choose.uniform(0, 6))
        spikes = (choose.random(HOURS) < 0.03) * choose.uniform(0.5, 3, HOURS)
        level = np.log(choose.uniform(80, 900)) + rhythm + own_rhythm + noise + spikes
        level += step * np.log(shared) + (step * np.log(ratio) if name == "own" else 0)
        is_missing = choose.random(HOURS) < 0.05
        trends[name] = [
            None if missing else float(ms)
            for ms, missing in zip(np.exp(level), is_missing, strict=True)
        ]
    return trends


def find_levels(trends: dict[str, Trend]) -> list[ChangePoint]:
    return [
        change
        for change in find_change_points(trends, "own")
        if change.kind in (ChangeKind.SLOWER, ChangeKind.FASTER)
    ]


def test_of_200_quiet_weeks_none_has_a_change() -> None:
    # What /method states. Neighbouring hours are independent, somewhat alike, or much alike.
    alarms = [
        seed for seed in range(WEEKS) if find_levels(make_week(seed, rho=(0, 0.4, 0.7)[seed % 3]))
    ]
    assert alarms == []


def test_the_rank_test_alone_keeps_its_level_on_quiet_noise() -> None:
    choose = np.random.default_rng(7)
    alarms = sum(bool(split_at_changes(choose.normal(0, 1, HOURS))) for _ in range(1000))
    assert alarms <= 10  # its level is 0.01 at most: Bonferroni's bound is a cautious one


@pytest.mark.parametrize(("hours_ago", "found_share"), [(72, 1.0), (36, 1.0), (24, 0.9), (16, 0.5)])
def test_a_doubling_is_found_and_dated(hours_ago: int, found_share: float) -> None:
    detected, near = 0, 0
    for seed in range(WEEKS):
        changes = find_levels(make_week(seed, ratio=2, since=HOURS - hours_ago))
        if changes:
            detected += 1
            near += abs(changes[-1].hour - (HOURS - hours_ago)) <= 3
            assert changes[-1].kind is ChangeKind.SLOWER
            assert changes[-1].others_ratio == 1
    assert detected / WEEKS >= found_share
    assert near / detected >= 0.75


def test_a_halving_is_faster() -> None:
    changes = find_levels(make_week(1, ratio=0.5, since=100))
    assert [change.kind for change in changes] == [ChangeKind.FASTER]
    assert changes[0].ratio == pytest.approx(0.5, rel=0.2)


def test_what_everybody_shares_is_not_its_own_change() -> None:
    [change] = find_levels(make_week(3, shared=2, since=100))
    assert change.is_shared
    assert change.kind is ChangeKind.SLOWER
    assert change.others_ratio == pytest.approx(2, rel=0.2)


def make_heard(seed: int, loss: float) -> NDArray[np.bool_]:
    """A week in which the first homeserver misses so many hours by chance, and others few."""
    choose = np.random.default_rng(seed)
    return choose.random((1 + OTHERS, HOURS)) >= np.array([[loss], *[[0.05]] * OTHERS])


@pytest.mark.parametrize("loss", [0.0, 0.05, 0.2, 0.4])
def test_of_200_weeks_of_chance_losses_hardly_one_has_a_silence(loss: float) -> None:
    alarms = sum(bool(find_silences(make_heard(seed, loss), 0)) for seed in range(WEEKS))
    assert alarms <= 4


@pytest.mark.parametrize(("loss", "hours"), [(0.0, 3), (0.05, 4), (0.2, 12)])
def test_a_silence_has_a_beginning_and_an_end(loss: float, hours: int) -> None:
    heard = make_heard(5, loss)
    heard[0, 49], heard[0, 50 : 50 + hours], heard[0, 50 + hours] = True, False, True
    silence = [ChangePoint(ChangeKind.SILENT, 50), ChangePoint(ChangeKind.BACK, 50 + hours)]
    assert find_silences(heard, 0) == silence
    heard[0, 50:] = False
    assert find_silences(heard, 0) == silence[:1]


def test_hours_in_which_nobody_was_asked_are_no_silence() -> None:
    heard = make_heard(5, 0.05)
    heard[:, 50:80] = False
    assert find_silences(heard, 0) == []


def test_a_change_is_not_compared_with_too_few_others() -> None:
    trends = {
        name: trend for name, trend in make_week(1, ratio=3, since=90).items() if name == "own"
    }
    [change] = find_levels(trends)
    assert change.others_ratio is None


def test_a_homeserver_that_nobody_heard_has_no_changes() -> None:
    assert find_change_points({}, "own") == []
    assert find_change_points({"own": [None] * HOURS}, "own") == []
    heard = make_heard(1, 0.05)
    heard[0] = False
    assert find_silences(heard, 0) == []
