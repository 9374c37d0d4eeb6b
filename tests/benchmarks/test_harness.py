"""How rounds become figures, ratios, a line and a table, and what happens to contenders without any."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import processes
from benchmarks.command import main
from benchmarks.contract import FULL, QUICK, Case, Effort, Pair, Peer, Violation
from benchmarks.figures import Figure, Outcome, outcome, percentile, quantiles, ratios, rounded, table
from benchmarks.harness import CaseFailed, Result, missing, run_case
from benchmarks.load import Ledger, check
from benchmarks.registry import CASES, OURS, PEERS, module_of

CASE = Case(
    name="bus",
    summary="events",
    figures=("events_per_s",),
    peers=("echo", "bubus"),
    caveats=("read this first",),
    pairs=(Pair("events_per_s", "echo", "messages_per_s"),),
)


def found(**values: float) -> Outcome:
    return Outcome({name: Figure(value, value * 0.9, value * 1.1) for name, value in values.items()})


def run(outcomes: dict[str, Outcome], monkeypatch: pytest.MonkeyPatch, **options: Any) -> Result:
    monkeypatch.setattr("benchmarks.harness.missing", lambda peer: "")
    return run_case(CASE, QUICK, runner=lambda name, case, effort: outcomes[name], **options)


def test_a_percentile_is_a_value_that_was_observed() -> None:
    """The p-th percentile is the least observation that p percent do not exceed."""
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, percent) for percent in (0, 1, 50, 99, 100)] == [1, 1, 50, 99, 100]
    assert percentile([7.0], 99) == 7.0


def test_quantiles_run_from_the_least_to_the_greatest() -> None:
    """A distribution keeps its ends, and nothing has none."""
    points = quantiles([3.0, 1.0, 2.0])
    assert points[0] == (0.0, 1.0)
    assert points[-1] == (100, 3.0)
    assert quantiles([]) == []


def test_a_figure_is_the_median_of_its_rounds_with_their_spread() -> None:
    """One slow round moves the spread and not the figure."""
    figure = Figure.of([100.0, 102.0, 50.0])
    assert (figure.value, figure.least, figure.greatest) == (100.0, 50.0, 102.0)
    assert figure.spread == pytest.approx(0.52)


def test_a_figure_that_some_round_lacks_is_left_out() -> None:
    """Only what every round gave is a figure; what was noted several times is told once."""
    report = {"rounds": [{"a": 1.0, "b": 2.0}, {"a": 3.0}], "notes": ["slow", "slow"]}
    assert list(outcome(report).figures) == ["a"]
    assert outcome(report).notes == ("slow",)


def test_ratios_are_ours_over_theirs_for_equal_names_and_named_pairs() -> None:
    """A ratio names the figure and the peer, and the peer's figure where that is another."""
    peers = {"echo": found(messages_per_s=400.0), "bubus": found(events_per_s=5.0, other=1.0)}
    assert ratios(CASE, found(events_per_s=100.0), peers) == {
        "events_per_s/bubus": 20.0,
        "events_per_s/echo.messages_per_s": 0.25,
    }


def test_a_peers_figure_of_zero_gives_no_ratio() -> None:
    """Nothing is divided by zero."""
    assert ratios(CASE, found(events_per_s=1.0), {"bubus": found(events_per_s=0.0)}) == {}


def test_values_are_given_with_four_significant_digits() -> None:
    """Large and small values alike."""
    assert [rounded(value) for value in (123456.7, 0.00123456, 0.0, -9.87654)] == [
        123500.0,
        0.001235,
        0.0,
        -9.877,
    ]


def test_the_json_form_is_one_line_with_the_agreed_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six keys, plain medians, and no peer without figures."""
    peers = {"echo": found(messages_per_s=400.0), "bubus": Outcome(absent="not installed")}
    result = run({OURS: found(events_per_s=100.0), **peers}, monkeypatch)
    assert "\n" not in result.json
    line = json.loads(result.json)
    assert list(line) == ["case", "figures", "peers", "ratios", "machine", "versions"]
    assert line["figures"] == {"events_per_s": 100.0}
    assert line["peers"] == {"echo": {"messages_per_s": 400.0}}
    assert line["versions"]["python"]
    assert line["machine"]["cores"] >= 1


def test_a_peer_without_figures_is_named_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr while the case runs, and below the table."""
    outcomes = {OURS: found(events_per_s=1.0), "echo": Outcome(absent="it ended"), "bubus": found(a=1.0)}
    result = run(outcomes, monkeypatch)
    captured = capsys.readouterr()
    assert "left out: echo: it ended" in captured.err
    assert captured.out == ""
    assert "left out: echo: it ended" in result.table


def test_a_case_that_we_fail_has_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken guarantee is no figure, and no peer is measured for it."""
    with pytest.raises(CaseFailed, match="an event was lost"):
        run({OURS: Outcome(absent="an event was lost")}, monkeypatch)


def test_without_peers_only_ours_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--no-peers` starts no peer."""
    assert run({OURS: found(events_per_s=1.0)}, monkeypatch, peers=False).peers == {}


def test_a_peer_that_is_not_installed_is_missing() -> None:
    """It says which module lacks and how to get it."""
    peer = Peer("p", "a peer", ("json", "no_such_module"), "pip install p")
    assert missing(peer) == "not installed: no_such_module (pip install p)"
    assert missing(PEERS["echo"]) == ""


def test_the_table_begins_with_the_caveats() -> None:
    """Nobody reads a figure before what it does not say."""
    lines = table(CASE, found(events_per_s=12_345.0), {"echo": found(messages_per_s=400.0)}).splitlines()
    assert lines[1] == "  ! read this first"
    assert next(number for number, line in enumerate(lines) if "12,345 ±10%" in line) > 1


def test_every_case_names_known_peers_and_modules_that_exist() -> None:
    """The registry, the peers and the files agree."""
    for case in CASES.values():
        assert case.caveats
        assert {pair.peer for pair in case.pairs} <= set(case.peers)
        assert {pair.ours for pair in case.pairs} <= set(case.figures)
        for name in (OURS, *case.peers):
            assert name == OURS or name in PEERS
            path = processes.ROOT / (module_of(name, case.name).replace(".", "/") + ".py")
            assert path.is_file()


def test_the_command_alone_lists_the_cases(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is measured unless it is asked for."""
    assert main([]) == 0
    listing = capsys.readouterr().out
    assert all(name in listing for name in CASES)


def test_efforts_scale_but_never_to_nothing() -> None:
    """A quick run has two rounds; sizes keep a floor."""
    assert (FULL.repeats, QUICK.repeats) == (5, 2)
    assert Effort(1, 0.1).count(1_000) == 100
    assert Effort(1, 0.001).count(100, least=5) == 5
    assert FULL.warm_up.repeats == 1


def test_a_ledger_tells_loss_repetition_and_change_of_order() -> None:
    """Each session counts for itself from 0."""
    right = Ledger()
    for session, number in (("a", 0), ("b", 0), ("a", 1)):
        right.take(session, number, 0)
    check(right.report(), 3)
    with pytest.raises(Violation, match="3 events were handled and 4 were sent"):
        check(right.report(), 4)
    for numbers in ([0, 2], [0, 0], [1, 0]):
        wrong = Ledger()
        for number in numbers:
            wrong.take("a", number, 0)
        with pytest.raises(Violation, match="session a"):
            check(wrong.report(), 2)


def test_a_contenders_environment_holds_no_settings_of_the_user() -> None:
    """Neither the user's Ray nor the user's settings reach what is measured."""
    given = {"LLMGINE_BUS__SHARDS": "2", "RAY_ADDRESS": "a:1", "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/h"}
    environment = processes.environment(given, Path("/tmp/x"), "m")
    assert environment["RAY_ADDRESS"] == "local"
    assert environment["RAY_AUTH_MODE"] == "disabled"
    assert environment["HOME"] == "/h"
    assert not {"LLMGINE_BUS__SHARDS", "PYTHONDONTWRITEBYTECODE"} & set(environment)


def test_what_a_contender_started_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timeout ends the contender and its children, in sessions of their own too."""
    (tmp_path / "leaver.py").write_text(
        "import subprocess, sys, time\n"
        "command = [sys.executable, '-c', 'import time; time.sleep(60)']\n"
        "child = subprocess.Popen(command, start_new_session=True)\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        "time.sleep(60)\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(processes, "ROOT", tmp_path)
    begun = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        processes.run("leaver", [], timeout=1.5)
    assert time.monotonic() - begun < 20
    pid = int((tmp_path / "pid").read_text(encoding="utf-8"))
    assert not os.path.exists(f"/proc/{pid}") or "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
