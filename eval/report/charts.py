"""Charts as coordinates: data in, pixel positions out; ``templates/macros.html.j2`` draws them as inline SVG.

Contract: every chart has the same size (480 × 280 user units: legible on a phone, two side by side on a desktop),
linear axes, and colours from CSS classes, so that it follows the light or dark theme.
Does not do: styling; it knows nothing of runs or checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 480, 280
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 42


@dataclass(frozen=True)
class Series:
    """One line: a name for the legend, a CSS class, and points with optional interval and tooltip."""

    name: str
    css: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    titles: Sequence[str] | None = None
    markers: bool = False


@dataclass(frozen=True)
class Line:
    """A series in pixels: ``path`` is an SVG polyline, ``marks`` are (x, y, low, high, title)."""

    name: str
    css: str
    path: str
    marks: list[tuple[float, float, float, float, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Chart:
    """Values for the template; ticks are (pixel, label)."""

    title: str
    description: str
    x_label: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[Line]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    y_range: tuple[float, float] | None = None,
    x_names: dict[float, str] | None = None,
    y_format: Callable[[float], str] = "{:g}".format,
    dodge: float = 0.0,
) -> Chart:
    """Lays ``series`` out; ``dodge`` shifts them sideways, in pixels, so that whiskers at one x stay apart.

    ``x_names`` replaces the numeric ticks of the x axis. Raises ``ValueError`` when no series has a point.
    """
    xs = [x for one in series for x in one.x]
    ys = [y for one in series for y in (*one.y, *(one.low or ()), *(one.high or ()))]
    if not xs:
        raise ValueError(f"{title}: no points to draw")
    x_low, x_high = _padded(min(xs), max(xs), 0.06 if x_names else 0.0)
    y_ticks = list(MaxNLocator(nbins=5).tick_values(*(y_range or _padded(min(ys), max(ys), 0.04))))
    y_low, y_high = y_range or (y_ticks[0], y_ticks[-1])
    y_ticks = [tick for tick in y_ticks if y_low <= tick <= y_high]
    x_names = x_names or {
        float(tick): f"{tick:g}"
        for tick in MaxNLocator(nbins=6, integer=True).tick_values(x_low, x_high)
        if x_low <= tick <= x_high
    }

    def place_x(x: float, shift: float = 0.0) -> float:
        return round(LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT) + shift, 2)

    def place_y(y: float) -> float:
        share = (y - y_low) / (y_high - y_low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 2)

    lines = []
    for index, one in enumerate(series):
        shift = dodge * (index - (len(series) - 1) / 2)
        points = [(place_x(x, shift), place_y(y)) for x, y in zip(one.x, one.y, strict=True)]
        low, high = (one.low or one.y), (one.high or one.y)
        titles = one.titles or [f"{one.name}: {y_format(y)}" for y in one.y]
        marks = [
            (*point, place_y(low[i]), place_y(high[i]), titles[i]) for i, point in enumerate(points) if one.markers
        ]
        lines.append(Line(one.name, one.css, " ".join(f"{x},{y}" for x, y in points), marks))
    return Chart(
        title=title,
        description="; ".join(f"{one.name} from {y_format(one.y[0])} to {y_format(one.y[-1])}" for one in series),
        x_label=x_label,
        x_ticks=[(place_x(x), name) for x, name in x_names.items()],
        y_ticks=[(place_y(y), y_format(y)) for y in y_ticks],
        lines=lines,
    )


def thinned(values: Sequence[object], at_most: int) -> list[int]:
    """Indices of at most ``at_most`` evenly spaced values, including the first and the last."""
    if len(values) <= at_most:
        return list(range(len(values)))
    return sorted({round(i * (len(values) - 1) / (at_most - 1)) for i in range(at_most)})


def smoothed(values: Sequence[float]) -> list[float]:
    """Exponential moving average over some twentieth of the values, at least five, without the start's bias.

    Weights are keep^age with keep = 1 − 1/span, normalised over what has been seen so far.
    """
    keep = 1 - 1 / max(5.0, len(values) / 20)
    total = weight = 0.0
    out = []
    for value in values:
        total, weight = keep * total + value, keep * weight + 1.0
        out.append(total / weight)
    return out


def _padded(low: float, high: float, share: float) -> tuple[float, float]:
    """``low`` and ``high`` moved apart by ``share`` of their distance, never equal."""
    if low == high:
        return low - 0.5, high + 0.5
    margin = (high - low) * share
    return low - margin, high + margin
