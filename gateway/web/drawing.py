"""Small pictures that need no script: the lengths of bars and the points of sparklines.

They are attributes of SVG elements, because the pages allow no inline style. Figures become
floats here, for the eye; beside each picture stands the figure itself.
"""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT = 100, 24
"""Of a sparkline's own coordinates."""
_PADDING = 2


def bar_width(part: int, whole: int) -> str:
    """How much of a bar is filled: a percentage between 0 and 100."""
    if whole <= 0:
        return "0%"
    return f"{min(100.0, max(0.0, 100 * part / whole)):.2f}%"


def spark_points(values: Sequence[int]) -> str:
    """The points of a polyline through values at equal distances.

    The bottom is half of the lowest, so that a change is seen and a trifle is not.
    """
    if not values:
        return ""
    low, high = min(values) / 2, max(values)
    spread = (high - low) or 1
    step = WIDTH / max(1, len(values) - 1)
    room = HEIGHT - 2 * _PADDING
    points = (
        f"{index * step:.1f},{HEIGHT - _PADDING - room * (value - low) / spread:.1f}"
        for index, value in enumerate(values)
    )
    return " ".join(points)
