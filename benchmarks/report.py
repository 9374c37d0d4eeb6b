"""One HTML page with tables and plots of the last result of each case.

`python -m benchmarks.report [FILE]` writes it, by default to build/benchmarks/report.html.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from benchmarks import plots, store
from benchmarks.figures import shown

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1a1a1a;--soft:#666;--line:#ddd;--page:#fff;
--c0:#c2410c;--c1:#64748b;--c2:#2563eb;--c3:#7c3aed;--c4:#0f766e;--c5:#a16207;--c6:#be185d;--c7:#15803d}
@media(prefers-color-scheme:dark){:root{--ink:#eee;--soft:#aaa;--line:#444;--page:#16181c;
--c0:#fb923c;--c1:#94a3b8;--c2:#60a5fa;--c3:#a78bfa;--c4:#2dd4bf;--c5:#facc15;--c6:#f472b6;--c7:#4ade80}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:60rem;
margin:2rem auto;padding:0 1rem}h2{margin-top:3rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
.wide{overflow-x:auto}td,th{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:right}
td:first-child,th:first-child{text-align:left}li,p.soft,small{color:var(--soft)}
svg{width:100%;max-width:45rem;height:auto;font-size:12px}svg text{fill:var(--ink)}svg .axis{fill:var(--soft)}
svg line{stroke-width:3}svg .grid{stroke:var(--line);stroke-width:1}svg polyline{fill:none;stroke-width:2.5}
.key i{display:inline-block;width:.8em;height:.8em;border-radius:50%;margin:0 .35em 0 1em}
""" + "".join(
    f"line.c{n},polyline.c{n}{{stroke:var(--c{n})}}circle.c{n}{{fill:var(--c{n})}}"
    f"i.c{n}{{background:var(--c{n})}}"
    for n in range(8)
)


def page(results: Sequence[Mapping[str, Any]]) -> str:
    """The page for results as `store.keep` wrote them."""
    names = list(dict.fromkeys(name for result in results for name in result["contenders"]))
    colour = plots.colours(names)
    body = "".join(_case(result, colour) for result in results)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>llmgine benchmarks</title><style>{_STYLE}</style></head><body><h1>llmgine benchmarks</h1>"
        f"{body or '<p>No case has been run yet: python -m benchmarks all</p>'}</body></html>"
    )


def _case(result: Mapping[str, Any], colour: Mapping[str, str]) -> str:
    contenders = {name: one for name, one in result["contenders"].items() if one["figures"]}
    line = result["line"]
    absent = [f"{name}: {one['absent']}" for name, one in result["contenders"].items() if one["absent"]]
    notes = [f"{name}: {note}" for name, one in contenders.items() for note in one["notes"]]
    remarks = [*result["caveats"], *notes, *(f"left out: {text}" for text in absent)]
    where = ", ".join(f"{name} {value}" for name, value in {**line["machine"], **line["versions"]}.items())
    return (
        f"<h2>{escape(result['case'])}</h2><p>{escape(result['summary'])}</p>"
        f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in remarks)}</ul>"
        f'<div class="wide">{_table(contenders)}</div>{_plots(contenders, colour)}'
        f"<p><small>{escape(where)}</small></p>"
    )


def _table(contenders: Mapping[str, Any]) -> str:
    figures = list(dict.fromkeys(name for one in contenders.values() for name in one["figures"]))
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", *contenders))
    rows = []
    for figure in figures:
        cells = "".join(_cell(one["figures"].get(figure)) for one in contenders.values())
        rows.append(f"<tr><td>{escape(figure)}</td>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _cell(figure: Mapping[str, float] | None) -> str:
    if figure is None:
        return "<td></td>"
    extent = f"{shown(figure['least'])} to {shown(figure['greatest'])}"
    return f'<td title="{extent}">{shown(figure["value"])}</td>'


def _plots(contenders: Mapping[str, Any], colour: Mapping[str, str]) -> str:
    parts = []
    rates = _rates(contenders, colour)
    if rates:
        parts.append(f"<h3>Throughput</h3>{plots.dots(rates, 'per second')}")
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for name, one in contenders.items():
        for figure, points in one["distributions"].items():
            curves.setdefault(figure, {})[name] = points
    for figure, lines in curves.items():
        key = "".join(f'<i class="{colour[name]}"></i>{escape(name)}' for name in lines)
        unit = "milliseconds" if "_ms" in figure else "microseconds"
        parts.append(
            f"<h3>Distribution behind {escape(figure)}, {unit}</h3>"
            f'<p class="key">{key}</p>{plots.distribution(lines, colour)}'
        )
    for figure, lines in contenders.get("llmgine", {}).get("courses", {}).items():
        chosen = plots.colours(list(lines))
        key = "".join(f'<i class="{chosen[name]}"></i>{escape(name)}' for name in lines)
        parts.append(
            f'<h3>Course behind {escape(figure)}</h3><p class="key">{key}</p>{plots.course(lines, chosen)}'
        )
    return "".join(parts)


def _rates(contenders: Mapping[str, Any], colour: Mapping[str, str]) -> list[tuple[str, str, plots.Range]]:
    return [
        (f"{name} {figure.removesuffix('_per_s')}", colour[name], (f["value"], f["least"], f["greatest"]))
        for name, one in contenders.items()
        for figure, f in one["figures"].items()
        if figure.endswith("_per_s")
    ]


def main(arguments: Sequence[str]) -> int:
    path = Path(arguments[0]) if arguments else store.LAST / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(store.kept()), encoding="utf-8")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
