"""The picture of a curve: a PNG of fixed size, whatever the figures."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from monitor.notifiers.chart import PlottedLine, available, draw

FALLING = tuple((float(step), 2.0 / step) for step in range(1, 200))


@pytest.mark.parametrize(
    "points",
    [
        FALLING,
        tuple((float(step), 1.0) for step in range(50_000)),
        ((1.0, 3.0), (2.0, 3.0)),
        ((1.0, 1e300), (2.0, -1e300), (3.0, 0.0)),
        ((5.0, 0.1), (2.0**53, 1e-12)),
    ],
)
def test_any_curve_is_a_picture_of_one_size(points: tuple[tuple[float, float], ...]) -> None:
    assert available()
    content = draw("support-bot: loss by step", [PlottedLine(name="training", points=points)])
    picture = Image.open(BytesIO(content))
    assert (picture.format, picture.size) == ("PNG", (720, 360))
    assert len(content) < 60_000


def test_two_lines_have_two_colours() -> None:
    lines = [
        PlottedLine(name="training", points=FALLING),
        PlottedLine(name="validation", points=((1.0, 2.0), (100.0, 0.5))),
    ]
    picture = Image.open(BytesIO(draw("x", lines))).convert("RGB")
    seen = {colour for _, colour in picture.getcolors(1 << 20) or ()}
    assert {(0x3B, 0x76, 0xD6), (0xE0, 0x82, 0x2B)} <= seen
