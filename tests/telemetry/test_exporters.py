"""The file and console exporters."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.telemetry import Span, TelemetryOptions, names, open_exporters, open_recorder
from llmgine.telemetry.exporters import ConsoleExporter, JsonlExporter, OtlpExporter, OtlpJsonExporter
from llmgine.telemetry.exporters.console import WITHOUT_ROOT
from llmgine.telemetry.exporters.jsonl import MAX_LINE, line
from llmgine.telemetry.opening import load_redactor
from llmgine.telemetry.records import SpanEvent, SpanLink


def span(number: int = 1, parent: int = 0, name: str = "work", **fields: Any) -> Span:
    return Span(7, number, parent, name, "internal", "s", "actor", 1, 1_000_001, **fields)


def refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is no JSON")


def read(path: Path) -> list[Any]:
    data = path.read_bytes()
    assert data.endswith(b"\n")
    return [json.loads(text, parse_constant=refuse) for text in data.splitlines()]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=20,
)


@given(st.text(), st.dictionaries(st.text(), values, max_size=6))
def test_any_span_is_one_valid_line(name: str, attributes: dict[str, Any]) -> None:
    """Whatever names and attributes hold, the line is one JSON object of strict JSON."""
    written = line(span(name=name, attributes=attributes))
    assert written.count(b"\n") == 1
    assert written.endswith(b"\n")
    assert isinstance(json.loads(written, parse_constant=refuse), dict)


def test_a_line_says_all_of_a_span() -> None:
    """Ids are hexadecimal, times integers in nanoseconds, missing things null."""
    with_all: dict[str, Any] = {"links": (SpanLink(8, 9),), "events": (SpanEvent(5, "retry", {"n": 1}),)}
    fields = json.loads(line(span(2, 1, error="timeout", attributes={"a": [1, 2.5, None]}, **with_all)))
    assert fields == {
        "trace_id": f"{7:032x}",
        "span_id": f"{2:016x}",
        "parent_span_id": f"{1:016x}",
        "name": "work",
        "kind": "internal",
        "session": "s",
        "source": "actor",
        "start_time_unix_nano": 1,
        "end_time_unix_nano": 1_000_001,
        "seconds": 0.001,
        "error_type": "timeout",
        "attributes": {"a": [1, 2.5, None]},
        "links": [{"trace_id": f"{8:032x}", "span_id": f"{9:016x}"}],
        "events": [{"time_unix_nano": 5, "name": "retry", "attributes": {"n": 1}}],
    }


def test_threads_and_exporters_do_not_mix_their_lines(tmp_path: Path) -> None:
    """Many threads over two exporters of one file leave whole lines, each once."""
    path = tmp_path / "spans.jsonl"
    exporters = [JsonlExporter(path), JsonlExporter(path)]

    def work(thread: int) -> None:
        for number in range(50):
            batch = [span(thread * 1000 + number * 2 + i + 1, name="ü" * 500) for i in range(2)]
            exporters[thread % 2].export(batch)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for exporter in exporters:
        exporter.close()
    lines = read(path)
    assert len(lines) == 800
    assert len({fields["span_id"] for fields in lines}) == 800


def test_a_torn_line_of_a_crash_does_not_spoil_the_next(tmp_path: Path) -> None:
    """What follows a line that a crash cut off stands on lines of its own."""
    path = tmp_path / "deep" / "spans.jsonl"
    JsonlExporter(path).close()
    path.write_bytes(b'{"trace_id": "00')
    exporter = JsonlExporter(path)
    exporter.export([span()])
    exporter.close()
    torn, whole = path.read_bytes().splitlines()
    assert torn == b'{"trace_id": "00'
    assert json.loads(whole)["name"] == "work"


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that does not fit is not written at all, and the exporter says so."""
    exporter = JsonlExporter(tmp_path / "spans.jsonl")
    exporter.export([span(1)])
    write = os.write
    calls = iter([10])

    def short(file: int, data: bytes) -> int:
        try:
            return write(file, data[: next(calls)])
        except StopIteration:
            raise OSError(28, "No space left on device") from None

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(OSError, match="No space"):
        exporter.export([span(2)])
    monkeypatch.undo()
    exporter.export([span(3)])
    exporter.close()
    assert [fields["span_id"][-1] for fields in read(exporter.path)] == ["1", "3"]


def test_lines_are_bounded() -> None:
    """A span too large for a line keeps everything but its attributes."""
    fields = line(span(attributes={f"k{number}": "ü" * 16_000 for number in range(100)}))
    assert len(fields) <= MAX_LINE
    assert json.loads(fields)["attributes"] == {"llmgine.dropped_attributes": 100}


def test_the_file_is_readable_for_its_owner_alone(tmp_path: Path) -> None:
    """Traces may hold what others must not read."""
    exporter = JsonlExporter(tmp_path / "spans.jsonl")
    exporter.close()
    assert exporter.path.stat().st_mode & 0o077 == 0
    with pytest.raises(ValueError, match="closed"):
        exporter.export([span()])


def test_a_file_is_set_aside_when_it_is_large(tmp_path: Path) -> None:
    """Two exporters of one file, each in turn: no line is lost or torn where a new file is begun."""
    path = tmp_path / "spans.jsonl"
    one, other = JsonlExporter(path, 1000), JsonlExporter(path, 1000)
    sizes = len(line(span(1)))
    kept: list[str] = []
    for number in range(1, 40):
        (one if number % 2 else other).export([span(number)])
        names_now = [fields["span_id"] for fields in read(path)]
        assert int(names_now[-1], 16) == number
        assert path.stat().st_size <= 1000
        kept = (
            [fields["span_id"] for fields in read(old)]
            if (old := tmp_path / "spans.jsonl.1").exists()
            else []
        )
        assert [int(name, 16) for name in kept + names_now] == list(
            range(number + 1 - len(kept) - len(names_now), number + 1)
        )
    assert len(kept) == 1000 // sizes
    assert sorted(file.name for file in tmp_path.iterdir()) == ["spans.jsonl", "spans.jsonl.1"]
    for exporter in (one, other):
        exporter.close()


def test_processes_share_a_file_that_is_set_aside(tmp_path: Path) -> None:
    """Processes that append while the file is set aside leave whole lines, in two files at most."""
    path = tmp_path / "spans.jsonl"
    code = (
        "import sys\n"
        "from llmgine.telemetry import Span\n"
        "from llmgine.telemetry.exporters import JsonlExporter\n"
        "out = JsonlExporter(sys.argv[1], int(sys.argv[3]))\n"
        "for n in range(500):\n"
        "    out.export([Span(7, int(sys.argv[2]) * 1000 + n, 0, 'w', 'internal', '', 'a', 1, 2)])\n"
    )
    limit = str(800 * len(line(Span(7, 1, 0, "w", "internal", "", "a", 1, 2))))
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(path), str(number), limit]) for number in (1, 2, 3)
    ]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    lines = [fields["span_id"] for file in (path, tmp_path / "spans.jsonl.1") for fields in read(file)]
    assert len(set(lines)) == len(lines) == 1500


def test_a_line_of_otlp_json_is_a_request(tmp_path: Path) -> None:
    """Its JSON is what collectors read: ids in hexadecimal, kinds as numbers, times as text."""
    from google.protobuf.json_format import ParseDict
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    exporter = OtlpJsonExporter(tmp_path / "spans.json", "prod")
    exporter.export([span(0xAB, 0xCD, attributes={"a": [1, "x"], "nan": float("nan")}), span(2)])
    exporter.export([span(3)])
    exporter.close()
    first, second = read(exporter.path)
    (of_resource,) = first["resourceSpans"]
    one, other = of_resource["scopeSpans"][0]["spans"]
    assert (one["traceId"], one["spanId"], one["parentSpanId"]) == (
        f"{7:032x}",
        f"{0xAB:016x}",
        f"{0xCD:016x}",
    )
    assert (one["kind"], one["startTimeUnixNano"], one["endTimeUnixNano"]) == (1, "1", "1000001")
    assert {
        "key": "a",
        "value": {"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "x"}]}},
    } in one["attributes"]
    assert "parentSpanId" not in other
    for name in ("traceId", "spanId"):
        second["resourceSpans"][0]["scopeSpans"][0]["spans"][0].pop(name)
    ParseDict(second, ExportTraceServiceRequest())


def test_the_console_draws_each_trace_as_a_tree() -> None:
    """A trace is drawn once its root is there and things are quiet, with tokens and errors told."""
    from rich.console import Console

    out = io.StringIO()
    exporter = ConsoleExporter(Console(file=out, width=120))
    used = {names.GEN_AI_USAGE_INPUT_TOKENS: 12, names.LLMGINE_COST_USD: "0.002"}
    exporter.export([span(2, 1, "chat gpt-4o", error="timeout", attributes=used)])
    exporter.idle()
    assert out.getvalue() == ""
    exporter.export([span(1, 0, "invoke_agent")])
    exporter.idle()
    text = out.getvalue()
    assert text.index("invoke_agent") < text.index("  chat gpt-4o")
    assert "timeout · 12 → ? tokens · $0.002" in text
    assert "━" in text
    exporter.export([span(5, 4, "left over")])
    exporter.close()
    assert "left over" in out.getvalue()


def test_the_console_draws_a_trace_whose_root_is_elsewhere() -> None:
    """It waits for longer, from the last of it on, and is drawn once."""
    from rich.console import Console

    out = io.StringIO()
    exporter = ConsoleExporter(Console(file=out, width=120))
    exporter.export([span(2, 1, "tool")])
    for _ in range(WITHOUT_ROOT):
        assert exporter.idle()
    exporter.export([span(3, 99, "answer a request")])
    for _ in range(WITHOUT_ROOT):
        assert exporter.idle()
    assert out.getvalue() == ""
    assert not exporter.idle()
    assert out.getvalue().count("tool") == out.getvalue().count("answer a request") == 1
    exporter.close()
    assert out.getvalue().count("answer a request") == 1


def test_the_console_keeps_a_bounded_number_of_traces() -> None:
    """Traces whose root never comes are drawn at last, not kept for ever."""
    from rich.console import Console

    exporter = ConsoleExporter(Console(file=io.StringIO()))
    for number in range(300):
        exporter.export([Span(number, 1, 9, "child", "internal", "", "a", 1, 2)])
    assert len(exporter._traces) <= 256


def test_options_open_what_they_name(tmp_path: Path) -> None:
    """Exporters and recorders follow the options; without any there are none."""
    assert open_exporters(TelemetryOptions(), environ={}) == []
    options = TelemetryOptions(
        jsonl=tmp_path / "x.jsonl", otlp_json=tmp_path / "x.json", console=True, otlp={"endpoint": "http://c"}
    )
    opened = open_exporters(options, "prod", {})
    assert [exporter.name for exporter in opened] == ["otlp", "otlp-json", "jsonl", "console"]
    for exporter in opened:
        exporter.close()
    (told,) = open_exporters(TelemetryOptions(), environ={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"})
    assert isinstance(told, OtlpExporter)
    assert told.target.endpoint == "http://c:4318/v1/traces"
    recorder = open_recorder("a", TelemetryOptions(content=True, ring=7, redactor="builtins:print"))
    assert (recorder.content, recorder.capacity) == (True, 7)


@pytest.mark.parametrize("path", ["", "nowhere:f", "os:nothing", "os:sep", "os"])
def test_a_redactor_that_cannot_be_had_is_refused(path: str) -> None:
    """A wrong path is an error that names the setting: nothing leaves unredacted."""
    with pytest.raises(ValueError, match=r"telemetry\.redactor"):
        load_redactor(path)


def test_importing_telemetry_imports_neither_ray_nor_opentelemetry_nor_rich() -> None:
    """Recording costs no import of what only exporting and showing need."""
    code = (
        "import sys, llmgine.telemetry, llmgine.telemetry.exporters;"
        "print([m for m in ('ray', 'opentelemetry', 'rich', 'llmgine.providers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
