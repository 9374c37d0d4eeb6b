"""Requests of spans over gRPC."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llmgine.telemetry.exporters.otlp.answers import Answer, accepted, grpc_refusal
from llmgine.telemetry.exporters.otlp.target import Target

if TYPE_CHECKING:
    import grpc

_METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_DETAILS: Final = "grpc-status-details-bin"
# gRPC itself would wait for two minutes before it looks again for a receiver that was away.
_CHANNEL: Final = (
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.primary_user_agent", "llmgine"),
)


class GrpcSender:
    """One channel to a receiver; for one thread."""

    def __init__(self, target: Target) -> None:
        import grpc
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

        compression = grpc.Compression.Gzip if target.gzip else grpc.Compression.NoCompression
        options: dict[str, Any] = {"options": _CHANNEL, "compression": compression}
        self._channel = (
            grpc.secure_channel(target.endpoint, _credentials(target), **options)
            if target.secure
            else grpc.insecure_channel(target.endpoint, **options)
        )
        # The request is bytes already: its size was looked at before.
        self._export = self._channel.unary_unary(
            _METHOD,
            request_serializer=bytes,
            response_deserializer=ExportTraceServiceResponse.FromString,
        )
        self._timeout = target.timeout
        self._metadata = tuple(target.headers.items())

    def send(self, body: bytes) -> Answer:
        """What became of one request; never raises for what the network or the receiver does."""
        import grpc

        try:
            answer = self._export(body, timeout=self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            return grpc_refusal(error.code().name, error.details() or "", _retry_info(error))
        partial = answer.partial_success
        return accepted(partial.rejected_spans, partial.error_message)

    def close(self) -> None:
        self._channel.close()


def _retry_info(error: Any) -> float | None:
    """The seconds that the receiver asks to wait, from the details of its status."""
    from google.protobuf.message import DecodeError
    from google.rpc.error_details_pb2 import RetryInfo
    from google.rpc.status_pb2 import Status

    for key, value in error.trailing_metadata() or ():
        if key != _DETAILS:
            continue
        try:
            details = Status.FromString(value).details
            for detail in details:
                info = RetryInfo()
                if detail.Is(RetryInfo.DESCRIPTOR) and detail.Unpack(info):
                    return max(0.0, float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9))
        except DecodeError:
            return None
    return None


def _credentials(target: Target) -> grpc.ChannelCredentials:
    import grpc

    return grpc.ssl_channel_credentials(
        _bytes_of(target.certificate), _bytes_of(target.client_key), _bytes_of(target.client_certificate)
    )


def _bytes_of(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes()
