"""The exporter of OpenTelemetry's protocol, against receivers that speak it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from llmgine.telemetry import Span, names
from llmgine.telemetry.exporters import OtlpExporter
from llmgine.telemetry.exporters.otlp import target
from llmgine.telemetry.options import OtlpOptions
from llmgine.telemetry.records import SpanEvent, SpanLink
from tests.telemetry.receivers import Received, Say, attributes, grpc_receiver, http_receiver

TRACE = 0x0AF7651916CD43DD8448EB211C80319C
START = 1_700_000_000_123_456_789


def span(number: int = 1, parent: int = 0, **fields: Any) -> Span:
    known: dict[str, Any] = {"name": "chat gpt-4o", "kind": "client", "session": "s", "source": "session.1"}
    known |= {"start": START, "end": START + 7, **fields}
    return Span(TRACE, number, parent, **known)


def exporter(received: Received, **options: Any) -> OtlpExporter:
    found = target(OtlpOptions(endpoint=received.address, protocol=_protocol(received), **options), {})
    assert found is not None
    return OtlpExporter(found, "prod", {"service.name": "shop"})


@pytest.fixture(params=[http_receiver, grpc_receiver], ids=["http", "grpc"])
def received(request: pytest.FixtureRequest) -> Iterator[Received]:
    opens: Callable[[], AbstractContextManager[Received]] = request.param
    with opens() as received:
        yield received


def test_a_span_arrives_as_it_was_recorded(received: Received) -> None:
    """Ids, parent, name, kind, nanoseconds, status and attributes are exact, under the source's resource."""
    values = {"text": "ü", "count": 3, "share": 0.5, "yes": True, "all": ["a", "b"], "deep": {"x": [1]}}
    nothing = {"none": None, "large": 2**64 - 1, "holes": [None, 1]}
    out = exporter(received)
    assert out.export([span(0xF1, 0xF0, error="timeout", attributes={**values, **nothing})]) is None
    out.close()
    (of_resource,) = received.taken[0].resource_spans
    about = attributes(of_resource.resource)
    assert about["service.name"] == "shop"
    assert about["service.instance.id"] == "prod/session.1"
    assert about["service.version"]
    (of_scope,) = of_resource.scope_spans
    assert of_resource.schema_url == of_scope.schema_url == "https://opentelemetry.io/schemas/1.41.1"
    assert of_scope.scope.name == "llmgine"
    (one,) = of_scope.spans
    assert (one.trace_id.hex(), one.span_id.hex()) == (f"{TRACE:032x}", f"{0xF1:016x}")
    assert one.parent_span_id.hex() == f"{0xF0:016x}"
    assert (one.name, one.kind) == ("chat gpt-4o", 3)
    assert (one.start_time_unix_nano, one.end_time_unix_nano) == (START, START + 7)
    assert (one.status.code, one.status.message) == (2, "timeout")
    found = attributes(one)
    assert {key: found[key] for key in values} == values
    assert found["large"] == str(2**64 - 1)
    assert found["holes"] == [1]
    assert "none" not in found
    assert found[names.ERROR_TYPE] == "timeout"
    assert found[names.SESSION_ID] == "s"


def test_links_and_events_are_exact(received: Received) -> None:
    """A link names another trace's span, an event its nanosecond; an error's own words are the status."""
    links = (SpanLink(TRACE + 1, 0xEE), SpanLink(TRACE, 2**64 - 1))
    events = (
        SpanEvent(START + 3, "retry", {"n": 2, "deep": {"x": None}}),
        SpanEvent(START + 4, "done"),
    )
    told = {names.EXCEPTION_MESSAGE: "no room"}
    out = exporter(received)
    out.export([span(links=links, events=events, error="overloaded", attributes=told)])
    out.close()
    (one,) = received.spans
    assert [(link.trace_id.hex(), link.span_id.hex()) for link in one.links] == [
        (f"{TRACE + 1:032x}", f"{0xEE:016x}"),
        (f"{TRACE:032x}", "f" * 16),
    ]
    assert [(event.time_unix_nano, event.name, attributes(event)) for event in one.events] == [
        (START + 3, "retry", {"n": 2, "deep": {}}),
        (START + 4, "done", {}),
    ]
    assert (one.status.code, one.status.message) == (2, "no room")


def test_each_kind_has_its_number_and_success_no_status(received: Received) -> None:
    """The kinds are the protocol's, a root has no parent, and what went well says nothing."""
    out = exporter(received)
    out.export([span(number + 1, kind=kind) for number, kind in enumerate(names.SPAN_KINDS)])
    out.close()
    assert [one.kind for one in received.spans] == [1, 2, 3, 4, 5]
    assert {one.parent_span_id for one in received.spans} == {b""}
    assert {one.status.code for one in received.spans} == {0}


def test_each_source_is_an_instance(received: Received) -> None:
    """Spans of several processes in one batch stand under the resource of each."""
    out = exporter(received)
    out.export([span(1, source="a"), span(2, source="b"), span(3, source="a")])
    out.close()
    assert sorted((source, one.span_id[-1]) for source, one in received.spans_by_source) == [
        ("prod/a", 1),
        ("prod/a", 3),
        ("prod/b", 2),
    ]


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_headers_and_compression_are_sent(received: Received, compression: Any) -> None:
    """A receiver sees the headers, in either form of the body."""
    out = exporter(received, headers={"X-Tenant": "blue"}, compression=compression)
    assert out.export([span()]) is None
    out.close()
    assert received.headers[0]["x-tenant"] == "blue"
    assert len(received.spans) == 1
    if received.protocol == "http":
        assert received.paths == ["/v1/traces"]
        assert received.headers[0].get("content-encoding", "none") == compression


@pytest.mark.parametrize(
    ("say", "again", "after"),
    [
        (Say(status=503, code="UNAVAILABLE", after=0.5), 3, 0.5),
        (Say(status=429, code="RESOURCE_EXHAUSTED", after=2), 3, 2.0),
        (Say(status=504, code="DEADLINE_EXCEEDED"), 3, None),
        (Say(status=400, code="INVALID_ARGUMENT", after=1), 0, None),
        (Say(status=401, code="UNAUTHENTICATED"), 0, None),
        (Say(status=301, code="RESOURCE_EXHAUSTED"), 0, None),
        (Say(status=500, code="UNIMPLEMENTED"), 0, None),
    ],
    ids=lambda value: value.code if isinstance(value, Say) else None,
)
def test_a_refusal_is_for_good_or_for_now(
    received: Received, say: Say, again: int, after: float | None
) -> None:
    """What may be sent again is handed back, not before the receiver's time; all else is refused."""
    received.answers.append(say)
    out = exporter(received)
    batch = [span(number) for number in range(1, 4)]
    taken = out.export(batch)
    assert taken is not None
    assert (list(taken.again), taken.refused) == (batch[:again], 3 - again)
    assert taken.after == after
    assert "answered" in taken.reason
    assert out.export(taken.again or batch) is None
    out.close()
    assert len(received.spans) == 3


def test_what_a_receiver_rejects_of_a_batch_is_counted(received: Received) -> None:
    """A partial success says how many were lost and why."""
    received.answers.append(Say(rejected=2))
    out = exporter(received)
    taken = out.export([span(number) for number in range(1, 4)])
    out.close()
    assert taken is not None
    assert (taken.refused, list(taken.again)) == (2, [])
    assert "too old" in taken.reason


def test_a_receiver_that_hangs_is_left_in_time(received: Received) -> None:
    """A request has its timeout, and its spans may go out again."""
    received.answers.append(Say(hang=True))
    out = exporter(received, timeout=0.1)
    taken = out.export([span()])
    assert taken is not None
    assert len(taken.again) == 1
    out.close()


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_receiver_that_is_not_there_may_come(protocol: Any) -> None:
    """A refused connection loses nothing yet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = target(OtlpOptions(endpoint=f"http://127.0.0.1:{port}", protocol=protocol, timeout=2), {})
    assert found is not None
    out = OtlpExporter(found)
    taken = out.export([span()])
    out.close()
    assert taken is not None
    assert len(taken.again) == 1


def test_a_receiver_may_take_its_time_to_answer_a_connection() -> None:
    """One that is far away, or busy, is not taken for one that is not there."""
    with grpc_receiver() as received, far_away(received.address, 0.2) as address:
        out = exporter(replace(received, address=address))
        assert out.export([span()]) is None
        out.close()
        assert len(received.spans) == 1


@contextmanager
def far_away(address: str, seconds: float) -> Iterator[str]:
    """The address of a receiver behind a wire on which all that it says comes so much later."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection((host, int(port))) as far:
        server.settimeout(10)

        def carry(one: socket.socket, other: socket.socket) -> None:
            with suppress(OSError):  # either side may hang up first
                while data := one.recv(65_536):
                    threading.Event().wait(seconds)
                    other.sendall(data)
                other.shutdown(socket.SHUT_WR)

        def accept() -> None:
            with server.accept()[0] as near:
                there = threading.Thread(target=carry, args=(near, far))
                there.start()
                carry(far, near)
                there.join()

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def test_a_request_that_cannot_be_made_is_given_up_and_tells_no_header(received: Received) -> None:
    """Trying again would not help, and what stands in a header may be a key."""
    made = replace(exporter(received).target, headers={"x-key": "SECRET\n"})
    out = OtlpExporter(made)
    taken = out.export([span()])
    out.close()
    assert taken is not None
    assert (taken.refused, list(taken.again)) == (1, [])
    assert taken.reason
    assert "SECRET" not in taken.reason


def test_large_batches_go_out_in_parts(received: Received) -> None:
    """A request stays below the size at which proxies refuse; what was sent is not sent again."""
    received.answers.extend([Say(), Say(status=503, code="UNAVAILABLE")])
    found = target(OtlpOptions(endpoint=received.address, protocol=_protocol(received)), {})
    assert found is not None
    out = OtlpExporter(found, max_request=3_000)
    batch = [span(number, attributes={"text": "x" * 1000}) for number in range(1, 9)]
    taken = out.export(batch)
    assert taken is not None
    assert list(taken.again) == batch[2:]
    assert out.export(taken.again) is None
    out.close()
    assert [one.span_id[-1] for one in received.spans] == list(range(1, 9))
    assert max(request.ByteSize() for request in received.attempts) <= 3_000


def _protocol(received: Received) -> Any:
    return "grpc" if received.protocol == "grpc" else "http/protobuf"
