"""Plots as inline SVG, drawn from plain numbers. Pure.

Colours are classes `c0` … `c7`, which the page's style sheet gives a value to, one per contender.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from benchmarks.figures import shown

WIDTH = 720
_LEFT = 220
_RIGHT = 90
_ROW = 26
_COLOURS = 8

Range = tuple[float, float, float]
"""Median, least and greatest."""


def colours(names: Sequence[str]) -> dict[str, str]:
    """A class for each contender, the same on the whole page."""
    return {name: f"c{place % _COLOURS}" for place, name in enumerate(names)}


def decades(least: float, greatest: float) -> list[float]:
    """The powers of ten that enclose both; both are positive."""
    first = math.floor(math.log10(least))
    last = max(math.ceil(math.log10(greatest)), first + 1)
    return [10.0**power for power in range(first, last + 1)]


def dots(rows: Sequence[tuple[str, str, Range]], unit: str) -> str:
    """One row per (label, colour class, range): a dot at the median, a line over the spread, a log axis."""
    rows = [row for row in rows if row[2][1] > 0]
    if not rows:
        return ""
    axis = decades(min(row[2][1] for row in rows), max(row[2][2] for row in rows))
    height = _ROW * (len(rows) + 1) + 24
    parts = [_vertical(value, axis, height) for value in axis]
    for place, (label, colour, (median, least, greatest)) in enumerate(rows):
        y = _ROW * (place + 0.75)
        x = _across(median, axis)
        parts.append(f'<text x="{_LEFT - 10}" y="{y + 4:.1f}" text-anchor="end">{escape(label)}</text>')
        parts.append(
            f'<line class="{colour}" x1="{_across(least, axis):.1f}" x2="{_across(greatest, axis):.1f}" '
            f'y1="{y:.1f}" y2="{y:.1f}"/><circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
            f'<text x="{_across(greatest, axis) + 9:.1f}" y="{y + 4:.1f}">{shown(median)}</text>'
        )
    return _svg(height, f"{unit}, logarithmic", parts)


def distribution(curves: Mapping[str, Sequence[tuple[float, float]]], colour: Mapping[str, str]) -> str:
    """One line per contender over the percentiles, values on a log axis."""
    drawn = {name: [point for point in points if point[1] > 0] for name, points in curves.items()}
    values = [value for points in drawn.values() for _, value in points]
    if not values:
        return ""
    axis, height = decades(min(values), max(values)), 300
    bottom = height - 40

    def y(value: float) -> float:
        return bottom - (bottom - 10) * _share(value, axis)

    parts = [
        f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
        f'<text x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{shown(value)}</text>'
        for value in axis
    ]
    for percent in (0, 50, 90, 99, 99.9):
        x = _percent_across(percent)
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">p{percent:g}</text>')
    for name, points in drawn.items():
        path = " ".join(f"{_percent_across(percent):.1f},{y(value):.1f}" for percent, value in points)
        parts.append(f'<polyline class="{colour[name]}" points="{path}"/>')
    return _svg(height, "percentile; values logarithmic", parts)


def course(curves: Mapping[str, Sequence[tuple[float, float]]], colour: Mapping[str, str]) -> str:
    """One line per name over the time in seconds, values from 0 up on a linear axis."""
    points = [point for line in curves.values() for point in line]
    if not points:
        return ""
    height, last, most = 240, max(x for x, _ in points) or 1.0, max(y for _, y in points) or 1.0
    bottom, width = height - 40, WIDTH - _LEFT - _RIGHT
    parts = []
    for share in (0.0, 0.5, 1.0):
        y, x = bottom - (bottom - 10) * share, _LEFT + width * share
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{shown(most * share)}</text>'
            f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{shown(last * share)}</text>'
        )
    for name, line in curves.items():
        path = " ".join(
            f"{_LEFT + width * x / last:.1f},{bottom - (bottom - 10) * y / most:.1f}" for x, y in line
        )
        parts.append(f'<polyline class="{colour[name]}" points="{path}"/>')
    return _svg(height, "seconds", parts)


def _percent_across(percent: float) -> float:
    """The tail is stretched: p0, p90, p99 and p99.9 stand at equal distances."""
    nines = min(-math.log10(max(1 - percent / 100, 1e-4)), 3.5)
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * nines / 3.5


def _share(value: float, axis: Sequence[float]) -> float:
    first, last = math.log10(axis[0]), math.log10(axis[-1])
    return (math.log10(value) - first) / (last - first)


def _across(value: float, axis: Sequence[float]) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * _share(value, axis)


def _vertical(value: float, axis: Sequence[float], height: int) -> str:
    x = _across(value, axis)
    return (
        f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{height - 36}"/>'
        f'<text x="{x:.1f}" y="{height - 22}" text-anchor="middle">{shown(value)}</text>'
    )


def _svg(height: int, caption: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(caption)}">{"".join(parts)}'
        f'<text class="axis" x="{(_LEFT + WIDTH - _RIGHT) / 2:.0f}" y="{height - 4}" text-anchor="middle">'
        f"{escape(caption)}</text></svg>"
    )
