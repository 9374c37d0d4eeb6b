"""Receivers of the OpenTelemetry protocol on loopback, over HTTP and gRPC, that answer as they are told."""

from __future__ import annotations

import gzip
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


@dataclass(frozen=True)
class Say:
    """One answer: an HTTP status or the name of a gRPC code, and what goes with it.

    `rejected` spans of a request that is taken otherwise; with `hang` none comes until the receiver ends.
    """

    status: int = 200
    code: str = "OK"
    after: float | None = None
    rejected: int = 0
    hang: bool = False


@dataclass
class Received:
    """What has arrived, and what is to be answered to the next requests; then all is taken."""

    answers: deque[Say] = field(default_factory=deque)
    attempts: list[trace_service_pb2.ExportTraceServiceRequest] = field(default_factory=list)
    taken: list[trace_service_pb2.ExportTraceServiceRequest] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    ended: threading.Event = field(default_factory=threading.Event)
    address: str = ""
    protocol: str = "http"

    def take(self, request: trace_service_pb2.ExportTraceServiceRequest, headers: dict[str, str]) -> Say:
        with self.changed:
            say = self.answers.popleft() if self.answers else Say()
            self.attempts.append(request)
            self.headers.append(headers)
            self.times.append(time.monotonic())
            if say.status == 200 and say.code == "OK" and not say.hang:
                self.taken.append(request)
            self.changed.notify_all()
        if say.hang:
            self.ended.wait(30)
        return say

    def wait_for(self, condition: Callable[[Received], Any], seconds: float = 20.0) -> bool:
        with self.changed:
            return bool(self.changed.wait_for(lambda: condition(self), seconds))

    @property
    def spans(self) -> list[Any]:
        """The spans of all requests that were taken."""
        return [span for _, span in self.spans_by_source]

    @property
    def spans_by_source(self) -> list[tuple[str, Any]]:
        """The spans of all requests that were taken, each with the instance that recorded it."""
        return [
            (attributes(of_resource.resource)["service.instance.id"], span)
            for request in list(self.taken)
            for of_resource in request.resource_spans
            for of_scope in of_resource.scope_spans
            for span in of_scope.spans
        ]


class _Bears(Protocol):
    @property
    def attributes(self) -> Any: ...


def attributes(bearer: _Bears) -> dict[str, Any]:
    """The attributes of a span, event, link or resource as plain values."""
    return {pair.key: value_of(pair.value) for pair in bearer.attributes}


def value_of(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: value_of(pair.value) for pair in value.kvlist_value.values}
    return getattr(value, kind) if kind else None


@contextmanager
def http_receiver(port: int = 0) -> Iterator[Received]:
    """Listens at `address`, a URL without a path."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            received.paths.append(self.path)
            request = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
            say = received.take(request, {name.lower(): value for name, value in self.headers.items()})
            if say.hang:
                self.close_connection = True
                return
            text = _response(say).SerializeToString() if say.status == 200 else b"not now"
            self.send_response(say.status)
            if say.after is not None:
                self.send_header("retry-after", f"{say.after:g}")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    received.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield received
    finally:
        received.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def grpc_receiver() -> Iterator[Received]:
    """Listens at `address`, an http:// URL without a path."""
    received = Received(protocol="grpc")

    class Service(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:
            headers = {pair.key: pair.value for pair in context.invocation_metadata()}
            say = received.take(request, headers)
            if say.code != "OK":
                if say.after is not None:
                    context.set_trailing_metadata((("grpc-status-details-bin", _details(say)),))
                context.abort(getattr(grpc.StatusCode, say.code), "not now")
            return _response(say)

    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool)
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Service(), server)  # type: ignore[no-untyped-call]
        received.address = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield received
        finally:
            received.ended.set()
            server.stop(None).wait()


def _response(say: Say) -> trace_service_pb2.ExportTraceServiceResponse:
    response = trace_service_pb2.ExportTraceServiceResponse()
    if say.rejected:
        response.partial_success.rejected_spans = say.rejected
        response.partial_success.error_message = "too old"
    return response


def _details(say: Say) -> bytes:
    info = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(nanos=round((say.after or 0) * 1e9)))
    detail = any_pb2.Any()
    detail.Pack(info)
    code = getattr(grpc.StatusCode, say.code).value[0]
    text: bytes = status_pb2.Status(code=code, message="not now", details=[detail]).SerializeToString()
    return text
