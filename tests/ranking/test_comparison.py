"""One homeserver beside the others: what may be said, and what may not."""

from __future__ import annotations

import pytest

from pingboard.model import BoardName, Standing
from pingboard.ranking.clocks import Clock
from pingboard.ranking.comparison import Comparison, ComparisonVerdict, Diagnosis, compare, diagnose

OTHERS = [100.0, 200.0, 200.0, 200.0, 300.0]
"""Their median is 200 ms, their middle half exactly that."""

SPREAD = [float(ms) for ms in range(100, 301, 10)]
"""Their median is 200 ms, their middle half 150 to 250."""


AHEAD, BEHIND = Clock(300, 80), Clock(-300, 80)


def stand(median_ms: float, interval: tuple[float, float] | None = None) -> Standing:
    ms = median_ms
    return Standing(1, "one.example", ms, ms, ms, ms, ms, ms, 50, interval)


def judge(board: BoardName, median_ms: float, clock: Clock | None = None) -> ComparisonVerdict:
    row = stand(median_ms, (median_ms - 5, median_ms + 5))
    return compare(board, row, SPREAD, clock).verdict


@pytest.mark.parametrize(
    ("median_ms", "interval", "verdict"),
    [
        (400, (390, 410), ComparisonVerdict.SLOW),
        (240, (230, 245), ComparisonVerdict.ORDINARY),
        (160, (155, 170), ComparisonVerdict.ORDINARY),
        (110, (105, 120), ComparisonVerdict.FAST),
        (400, (190, 900), ComparisonVerdict.EVEN),
        (200, (200, 200), ComparisonVerdict.EVEN),
        (400, None, ComparisonVerdict.FEW_SAMPLES),
    ],
)
def test_a_difference_counts_only_beyond_chance_and_beyond_the_middle_half(
    median_ms: float, interval: tuple[float, float] | None, verdict: ComparisonVerdict
) -> None:
    for board in BoardName:
        assert compare(board, stand(median_ms, interval), SPREAD, None).verdict is verdict


def test_a_homeserver_is_compared_with_the_others_alone() -> None:
    comparison = compare(BoardName.RECEPTION, stand(260, (255, 265)), OTHERS, None)
    assert (comparison.others, comparison.others_median_ms, comparison.difference_ms) == (
        5,
        200,
        60,
    )
    assert comparison.middle_ms == (200, 200)
    assert comparison.clock_ms == 0


@pytest.mark.parametrize("others", [[], [100.0], [100.0, 900.0]])
def test_there_is_no_comparison_with_too_few_others(others: list[float]) -> None:
    comparison = compare(BoardName.RESPONSE, stand(400, (390, 410)), others, None)
    assert comparison.verdict is ComparisonVerdict.FEW_OTHERS
    assert comparison.middle_ms is None


@pytest.mark.parametrize(
    ("board", "median_ms", "clock", "verdict"),
    [
        # 200 ms is the median of the others; 300 ms is the clock, give or take 80.
        (BoardName.RECEPTION, 500, AHEAD, ComparisonVerdict.CLOCK),
        (BoardName.RECEPTION, 580, AHEAD, ComparisonVerdict.CLOCK),
        (BoardName.RECEPTION, 581, AHEAD, ComparisonVerdict.SLOW),
        (BoardName.RECEPTION, 419, AHEAD, ComparisonVerdict.CLOCK),
        (BoardName.RECEPTION, 200, AHEAD, ComparisonVerdict.CLOCK),
        (BoardName.DELIVERY, 10, AHEAD, ComparisonVerdict.CLOCK),
        (BoardName.DELIVERY, 500, AHEAD, ComparisonVerdict.SLOW),
        (BoardName.DELIVERY, 500, BEHIND, ComparisonVerdict.CLOCK),
        (BoardName.DELIVERY, 20, BEHIND, ComparisonVerdict.FAST),
        (BoardName.RECEPTION, 20, BEHIND, ComparisonVerdict.CLOCK),
    ],
)
def test_what_a_wrong_clock_explains_is_not_held_against_a_homeserver(
    board: BoardName, median_ms: float, clock: Clock, verdict: ComparisonVerdict
) -> None:
    assert judge(board, median_ms, clock) is verdict


@pytest.mark.parametrize(
    ("median_ms", "verdict"),
    [
        (280, ComparisonVerdict.CLOCK),
        (120, ComparisonVerdict.CLOCK),
        (281, ComparisonVerdict.SLOW),
        (119, ComparisonVerdict.FAST),
    ],
)
def test_a_clock_that_may_be_right_explains_no_more_than_its_uncertainty(
    median_ms: float, verdict: ComparisonVerdict
) -> None:
    for offset_ms in (-80, 0, 80):
        assert judge(BoardName.RECEPTION, median_ms, Clock(offset_ms, 80)) is verdict


def test_no_clock_explains_a_round_trip() -> None:
    assert judge(BoardName.RESPONSE, 500, AHEAD) is ComparisonVerdict.SLOW
    assert compare(BoardName.RESPONSE, stand(500), SPREAD, AHEAD).clock_ms == 0


def decide(**verdicts: ComparisonVerdict) -> dict[BoardName, Comparison]:
    some = compare(BoardName.RECEPTION, stand(200, (190, 210)), SPREAD, None)
    return {
        BoardName(name): some._replace(board=BoardName(name), verdict=verdict)
        for name, verdict in verdicts.items()
    }


@pytest.mark.parametrize(
    ("verdicts", "diagnosis"),
    [
        ({}, Diagnosis.UNKNOWN),
        ({"response": ComparisonVerdict.SLOW}, Diagnosis.UNKNOWN),
        (
            {"delivery": ComparisonVerdict.FEW_SAMPLES, "reception": ComparisonVerdict.FEW_OTHERS},
            Diagnosis.UNKNOWN,
        ),
        ({"reception": ComparisonVerdict.EVEN}, Diagnosis.NO_SENDING),
        (
            {"delivery": ComparisonVerdict.FEW_SAMPLES, "reception": ComparisonVerdict.FAST},
            Diagnosis.NO_SENDING,
        ),
        ({"delivery": ComparisonVerdict.ORDINARY}, Diagnosis.NO_RECEIVING),
        (
            {"delivery": ComparisonVerdict.EVEN, "reception": ComparisonVerdict.FAST},
            Diagnosis.ORDINARY,
        ),
        (
            {"delivery": ComparisonVerdict.EVEN, "reception": ComparisonVerdict.EVEN},
            Diagnosis.ORDINARY,
        ),
        ({"delivery": ComparisonVerdict.FAST, "reception": ComparisonVerdict.FAST}, Diagnosis.FAST),
        (
            {"delivery": ComparisonVerdict.SLOW, "reception": ComparisonVerdict.ORDINARY},
            Diagnosis.SENDING,
        ),
        ({"delivery": ComparisonVerdict.SLOW}, Diagnosis.SENDING),
        (
            {"delivery": ComparisonVerdict.FAST, "reception": ComparisonVerdict.SLOW},
            Diagnosis.RECEIVING,
        ),
        ({"reception": ComparisonVerdict.SLOW}, Diagnosis.RECEIVING),
        ({"delivery": ComparisonVerdict.SLOW, "reception": ComparisonVerdict.SLOW}, Diagnosis.BOTH),
        (
            {"delivery": ComparisonVerdict.CLOCK, "reception": ComparisonVerdict.SLOW},
            Diagnosis.RECEIVING,
        ),
        (
            {"delivery": ComparisonVerdict.CLOCK, "reception": ComparisonVerdict.EVEN},
            Diagnosis.UNSURE,
        ),
        (
            {"reception": ComparisonVerdict.CLOCK, "response": ComparisonVerdict.ORDINARY},
            Diagnosis.UNSURE,
        ),
        (
            {"reception": ComparisonVerdict.CLOCK, "response": ComparisonVerdict.SLOW},
            Diagnosis.EITHER,
        ),
    ],
)
def test_the_verdicts_on_all_boards_together_say_where_the_trouble_is(
    verdicts: dict[str, ComparisonVerdict], diagnosis: Diagnosis
) -> None:
    assert diagnose(decide(**verdicts), Clock(0, 80)) is diagnosis


def test_a_clock_that_is_known_to_be_wrong_is_named() -> None:
    comparisons = decide(delivery=ComparisonVerdict.CLOCK, reception=ComparisonVerdict.EVEN)
    assert diagnose(comparisons, AHEAD) is Diagnosis.CLOCK
