"""Requests of spans over HTTP, as protobuf."""

from __future__ import annotations

import gzip
import ssl
import time
from typing import TYPE_CHECKING, Final

from llmgine.telemetry.exporters.otlp.answers import Answer, accepted, http_refusal, unreachable, unsendable
from llmgine.telemetry.exporters.otlp.target import Target

if TYPE_CHECKING:
    import httpx2

_LONGEST_ANSWER: Final = 65_536


class HttpSender:
    """One connection to a receiver, kept open; for one thread."""

    def __init__(self, target: Target) -> None:
        import httpx2

        headers = {
            "user-agent": "llmgine",
            **target.headers,
            "content-type": "application/x-protobuf",
            **({"content-encoding": "gzip"} if target.gzip else {}),
        }
        verify = _ssl_context(target) if target.secure else True
        self._target = target
        self._client = httpx2.Client(
            headers=headers, timeout=target.timeout, verify=verify, follow_redirects=False
        )

    def send(self, body: bytes) -> Answer:
        """What became of one request; never raises for what the network or the receiver does."""
        import httpx2

        content = gzip.compress(body, 6) if self._target.gzip else body
        ends = time.monotonic() + self._target.timeout
        try:
            with self._client.stream("POST", self._target.endpoint, content=content) as response:
                if not response.is_success:
                    return http_refusal(
                        response.status_code, response.headers.get("retry-after"), time.time()
                    )
                return _taken(_read(response, ends))
        except httpx2.LocalProtocolError:
            return unsendable("it breaks the rules of HTTP; look at the headers in telemetry.otlp")
        except (httpx2.HTTPError, OSError) as error:
            return unreachable(error)

    def close(self) -> None:
        self._client.close()


def _read(response: httpx2.Response, ends: float) -> bytes:
    """The answer's text; one that trickles or has no end is cut, for what it says is not needed."""
    text = b""
    for chunk in response.iter_bytes():
        text += chunk
        if len(text) > _LONGEST_ANSWER or time.monotonic() > ends:
            return b""
    return text


def _taken(text: bytes) -> Answer:
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        partial = ExportTraceServiceResponse.FromString(text).partial_success
    except DecodeError:  # a proxy's words, perhaps; the status says that all is well
        return accepted(0, "")
    return accepted(partial.rejected_spans, partial.error_message)


def _ssl_context(target: Target) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=target.certificate)
    if target.client_certificate is not None:
        context.load_cert_chain(target.client_certificate, target.client_key)
    return context
