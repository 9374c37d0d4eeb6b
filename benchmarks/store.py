"""What is kept of a run: the last result of each case for the report, and the history per version."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.processes import ROOT

if TYPE_CHECKING:
    from benchmarks.figures import Outcome
    from benchmarks.harness import Result

LAST: Final = ROOT / "build" / "benchmarks"
HISTORY: Final = ROOT / "benchmarks" / "history.csv"

COLUMNS: Final = (
    "date",
    "version",
    "case",
    "contender",
    "figure",
    "median",
    "least",
    "greatest",
    "processor",
)


def keep(result: Result, folder: Path = LAST) -> Path:
    """Writes the whole result, spreads and distributions included, over the last one of its case."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.case.name}.json"
    contenders = {"llmgine": result.ours, **result.peers}
    content = {
        "case": result.case.name,
        "summary": result.case.summary,
        "caveats": result.case.caveats,
        "contenders": {name: asdict(one) for name, one in contenders.items()},
        "line": json.loads(result.json),
    }
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path


def kept(folder: Path = LAST) -> list[dict[str, Any]]:
    """The last result of each case, by name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def record(result: Result, path: Path = HISTORY, *, now: datetime | None = None) -> None:
    """Adds one row per contender and figure."""
    date = (now or datetime.now(UTC)).strftime("%Y-%m-%d")
    fresh = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if fresh:
            writer.writerow(COLUMNS)
        for name, one in {"llmgine": result.ours, **result.peers}.items():
            writer.writerows(_rows(date, result, name, one))


def _rows(date: str, result: Result, name: str, one: Outcome) -> list[list[Any]]:
    version = result.versions.get("llmgine-ray", "")
    processor = result.machine.get("processor", "")
    return [
        [
            date,
            version,
            result.case.name,
            name,
            figure,
            *map(_short, (f.value, f.least, f.greatest)),
            processor,
        ]
        for figure, f in one.figures.items()
    ]


def _short(value: float) -> str:
    return f"{value:.6g}"
