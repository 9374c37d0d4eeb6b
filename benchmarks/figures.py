"""From rounds to figures: medians, spreads, ratios, the JSON line and the table. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.contract import Case

_QUANTILES = (0.0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that is not below `percent` of them; values in any order, at least one."""
    ordered = sorted(values)
    rank = math.ceil(len(ordered) * percent / 100)
    return ordered[max(rank, 1) - 1]


def quantiles(values: Sequence[float]) -> list[tuple[float, float]]:
    """Points of the distribution as (percent, value), from the least to the greatest."""
    ordered = sorted(values)
    return [(percent, percentile(ordered, percent)) for percent in _QUANTILES] if ordered else []


@dataclass(frozen=True, slots=True)
class Figure:
    """The median of some rounds, with the least and the greatest of them."""

    value: float
    least: float
    greatest: float

    @classmethod
    def of(cls, rounds: Sequence[float]) -> Figure:
        return cls(median(rounds), min(rounds), max(rounds))

    @property
    def spread(self) -> float:
        """The distance from least to greatest, as a share of the median."""
        return (self.greatest - self.least) / self.value if self.value else 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one contender: figures, or the reason why there are none."""

    figures: Mapping[str, Figure] = field(default_factory=dict)
    distributions: Mapping[str, list[tuple[float, float]]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    courses: Mapping[str, Mapping[str, list[tuple[float, float]]]] = field(default_factory=dict)
    absent: str = ""


def outcome(report: Mapping[str, Any]) -> Outcome:
    """What a contender's report says; a figure that some round lacks is left out."""
    rounds: list[dict[str, float]] = report["rounds"]
    names = [name for name in rounds[0] if all(name in one for one in rounds)]
    return Outcome(
        figures={name: Figure.of([one[name] for one in rounds]) for name in names},
        distributions={
            name: [(point[0], point[1]) for point in points]
            for name, points in report.get("distributions", {}).items()
        },
        notes=tuple(dict.fromkeys(report.get("notes", ()))),
        courses={
            name: {line: [(point[0], point[1]) for point in points] for line, points in lines.items()}
            for name, lines in report.get("courses", {}).items()
        },
    )


def ratios(case: Case, ours: Outcome, peers: Mapping[str, Outcome]) -> dict[str, float]:
    """Ours divided by theirs, under `figure/peer`, or `figure/peer.figure` where the names differ."""
    found: dict[str, float] = {}
    for name, peer in peers.items():
        for figure, theirs in peer.figures.items():
            if figure in ours.figures and theirs.value:
                found[f"{figure}/{name}"] = ours.figures[figure].value / theirs.value
    for pair in case.pairs:
        mine = ours.figures.get(pair.ours)
        other = peers[pair.peer].figures.get(pair.theirs) if pair.peer in peers else None
        if mine is not None and other is not None and other.value:
            found[f"{pair.ours}/{pair.peer}.{pair.theirs}"] = mine.value / other.value
    return found


def json_line(
    case: Case,
    ours: Outcome,
    peers: Mapping[str, Outcome],
    machine: Mapping[str, Any],
    versions: Mapping[str, str],
) -> str:
    """One line that holds the medians; peers without figures are not in it."""
    present = {name: peer for name, peer in peers.items() if peer.figures}
    return json.dumps(
        {
            "case": case.name,
            "figures": _values(ours),
            "peers": {name: _values(peer) for name, peer in present.items()},
            "ratios": {name: rounded(value) for name, value in ratios(case, ours, present).items()},
            "machine": dict(machine),
            "versions": dict(versions),
        }
    )


def _values(one: Outcome) -> dict[str, float]:
    return {name: rounded(figure.value) for name, figure in one.figures.items()}


def rounded(value: float) -> float:
    """Four significant digits: what a shared machine can tell apart, and more."""
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, 3 - math.floor(math.log10(abs(value))))


def shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(case: Case, ours: Outcome, peers: Mapping[str, Outcome]) -> str:
    """The figures as lines of text, caveats first."""
    present = {name: peer for name, peer in peers.items() if peer.figures}
    columns = {"llmgine": ours, **present}
    names = list(dict.fromkeys(name for one in columns.values() for name in one.figures))
    rows = [["", *columns]]
    rows += [[name, *(_cell(one.figures.get(name)) for one in columns.values())] for name in names]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [f"{case.name}: {case.summary}", *(f"  ! {caveat}" for caveat in case.caveats), ""]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    found = ratios(case, ours, present)
    if found:
        lines += ["", "ours / theirs:"]
        lines += [f"  {name.ljust(max(map(len, found)))}  {value:.3g}" for name, value in found.items()]
    lines += [f"left out: {name}: {peer.absent}" for name, peer in peers.items() if not peer.figures]
    lines += [f"{name}: {note}" for name, one in columns.items() for note in one.notes]
    return "\n".join(lines)


def _cell(figure: Figure | None) -> str:
    return "" if figure is None else f"{shown(figure.value)} ±{figure.spread / 2:.0%}"
