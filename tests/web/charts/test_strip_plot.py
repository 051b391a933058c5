"""One homeserver among the others, as a strip."""

from __future__ import annotations

from pingboard.web.charts.scale import Scale
from pingboard.web.charts.strip_plot import draw


def test_all_that_a_strip_shows_lies_on_its_scale() -> None:
    others = [100.0, 200.0, 400.0, 800.0]
    scale = Scale.over([*others, 300.0, 280.0, 330.0])
    strip = draw(scale, 300.0, (280.0, 330.0), others, 300.0, (175.0, 500.0))
    assert strip.own == strip.others
    assert strip.interval is not None
    assert strip.interval[0] < strip.own < strip.interval[1]
    assert strip.middle is not None
    assert 0 < strip.middle[0] < strip.interval[0]
    assert strip.ticks.count("M") == 4


def test_ticks_that_fall_together_are_one() -> None:
    others = [400 + number / 1000 for number in range(5000)]
    strip = draw(Scale.over([100, 1000]), 300, None, others, 402.5, None)
    assert strip.ticks.count("M") < 10
    assert (strip.interval, strip.middle) == (None, None)
