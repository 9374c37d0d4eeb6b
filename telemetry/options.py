"""What a user may set about telemetry."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Count = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]


_SECRET_HEADER = re.compile(r"(?i)auth|key|token|secret|cookie|password")


class OtlpOptions(BaseModel):
    """Section `telemetry.otlp`: where finished spans go in OpenTelemetry's own protocol.

    What is not set here is taken from OpenTelemetry's variables where the telemetry actor runs.
    """

    # Input is hidden: what stands in a wrong place may be a key.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    endpoint: str | None = Field(
        default=None,
        description="A receiver, as in http://127.0.0.1:4318; `/v1/traces` is added where it has no path. "
        "Unset, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT says it; without any, "
        "none is sent.",
    )

    protocol: Literal["http/protobuf", "grpc"] | None = Field(
        default=None,
        description="What the receiver speaks; http/protobuf where neither this nor a variable says.",
    )

    headers: dict[str, str] = Field(
        default_factory=dict,
        description="Sent with each request; nothing secret, for settings can be read by everybody in the "
        "runtime.",
    )

    headers_file: Path | None = Field(
        default=None,
        description="File of more headers, `name=value` a line, on the telemetry actor's node: the place "
        "for keys, like OTEL_EXPORTER_OTLP_HEADERS there.",
    )

    timeout: Seconds | None = Field(
        default=None,
        description="Seconds that one request may take; 10 where neither this nor a variable says.",
    )

    compression: Literal["none", "gzip"] | None = Field(
        default=None,
        description="How requests are compressed; not at all where neither this nor a variable says.",
    )

    certificate: Path | None = Field(
        default=None,
        description="File of the authorities whose receivers are trusted, on the telemetry actor's node.",
    )

    client_certificate: Path | None = Field(
        default=None,
        description="File of the certificate with which the telemetry actor makes itself known to the "
        "receiver.",
    )

    client_key: Path | None = Field(default=None, description="File of that certificate's key.")

    resource: dict[str, str] = Field(
        default_factory=dict,
        description="More attributes of the resource, such as service.name or deployment.environment.name; "
        "others come from OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME.",
    )

    @field_validator("headers")
    @classmethod
    def _nothing_secret(cls, value: dict[str, str]) -> dict[str, str]:
        if secret := next((name for name in value if _SECRET_HEADER.search(name)), None):
            raise ValueError(
                f"header {secret!r} seems to hold a secret; put it into telemetry.otlp.headers_file, or into "
                "OTEL_EXPORTER_OTLP_HEADERS where the telemetry actor runs"
            )
        return value


class TelemetryOptions(BaseModel):
    """Section `telemetry` of the settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(
        default=True, description="Whether spans and metrics are gathered and kept by a telemetry actor."
    )

    content: bool = Field(
        default=False,
        description="Whether prompts, answers, tool arguments and results are recorded on spans, and what "
        "errors say; where it is not set, OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT says it.",
    )

    redactor: str | None = Field(
        default=None,
        description="`module:function` that is called as `function(span_name, attributes)` in the "
        "recording process and returns the attributes that may leave it.",
    )

    ring: Count = Field(
        default=8192,
        description="Records that a process keeps while they cannot be shipped; the oldest go first, "
        "counted.",
    )

    flush_count: Count = Field(
        default=256, description="Records that are shipped at once without waiting for the next interval."
    )

    flush_seconds: Seconds = Field(
        default=0.1, description="How long a record waits at most before it is shipped."
    )

    max_value: Annotated[int, Field(ge=64)] = Field(
        default=4096, description="Characters of one attribute's text; longer ones are cut with a note."
    )

    max_content: Annotated[int, Field(ge=1024)] = Field(
        default=65_536,
        description="Characters of one attribute that holds a conversation; a longer one loses its oldest "
        "messages.",
    )

    sample_loose: Annotated[int, Field(ge=0)] = Field(
        default=1000,
        description="Of the traces that begin with an event on the bus, one in this many makes spans, by "
        "trace id; 0 means none.",
    )

    sample_ratio: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0,
        description="Share of the traces that are kept where nothing else speaks for them, chosen by trace "
        "id. Sums count all of them.",
    )

    sample_errors: bool = Field(
        default=True, description="Whether a trace with a span that failed is kept in any case."
    )

    sample_slow: Seconds | None = Field(
        default=10.0, description="How long a trace takes that is kept in any case; none if unset."
    )

    sample_sessions: tuple[str, ...] = Field(
        default=(),
        description="Sessions whose traces are kept in any case; a `*` in an id stands for anything.",
    )

    sample_settle: Seconds = Field(
        default=1.0,
        description="How long a trace must have been quiet, with nothing of it running, until it is "
        "decided upon.",
    )

    sample_grace: Seconds = Field(
        default=30.0,
        description="How long a trace of which something runs may be quiet until it is kept by what is "
        "known, where there is a reason to keep it.",
    )

    max_traces: Count = Field(
        default=2000,
        description="Traces kept in memory; the ones that have been quiet the longest go first, counted.",
    )

    max_spans: Count = Field(default=50_000, description="Spans kept in memory over all traces.")

    max_trace_spans: Count = Field(
        default=5000, description="Spans kept of one trace; further ones are counted and still exported."
    )

    max_sources: Count = Field(
        default=1024,
        description="Processes remembered one by one; the counts of older ones are folded together.",
    )

    death_grace: Annotated[float, Field(ge=0)] = Field(
        default=5.0,
        description="Seconds after a process's link broke until its running spans are closed as "
        "`actor_died`.",
    )

    export_queue: Count = Field(
        default=20_000, description="Spans that wait for exporters; what does not fit is dropped, counted."
    )

    store: Path | None = Field(
        default=None,
        description="SQLite file in which kept traces and sums outlive the telemetry actor and the "
        "runtime; by default `telemetry.db` in the runtime's data folder, and memory for a runtime inside "
        "one process or whose store is memory.",
    )

    kept_traces: Count = Field(
        default=10_000, description="Traces kept in that file; the oldest go first, counted."
    )

    kept_bytes: Count = Field(default=256 << 20, description="Bytes of traces kept in that file.")

    kept_seconds: Seconds | None = Field(
        default=30 * 86_400.0, description="How long a trace is kept at most; for ever if unset."
    )

    kept_sums: Count = Field(
        default=200_000,
        description="Rows of sums, of one hour, session and model each, that are kept; older ones lose "
        "their session, then their hour and their name.",
    )

    observers: tuple[str, ...] = Field(
        default=(),
        description="`module:name` of each observer: a class or function that is called without arguments "
        "in the telemetry actor and gives an `Observer`, or the observer itself.",
    )

    observer_queue: Count = Field(
        default=10_000,
        description="Spans and traces that wait for an observer; what does not fit is dropped, counted.",
    )

    observer_interval: Seconds = Field(
        default=10.0, description="How often observers are told of the statistics."
    )

    prometheus: bool = Field(
        default=True,
        description="Whether metrics stand on the metrics pages of Ray's nodes, which Prometheus scrapes.",
    )

    prometheus_seconds: Annotated[float, Field(gt=0, le=10)] = Field(
        default=5.0,
        description="How often Ray is told of them; it takes them on every ten seconds, and soon forgets "
        "levels.",
    )

    export_patience: Seconds = Field(
        default=60.0,
        description="Seconds for which spans are offered again and again to a receiver that cannot take "
        "them now.",
    )

    otlp: OtlpOptions = Field(default=OtlpOptions(), description="Export in OpenTelemetry's own protocol.")

    otlp_json: Path | None = Field(
        default=None,
        description="File to which finished spans are appended as OpenTelemetry's JSON, a request a line.",
    )

    jsonl: Path | None = Field(
        default=None, description="File to which finished spans are appended, one JSON object a line."
    )

    max_file: Annotated[int, Field(ge=65_536)] = Field(
        default=100_000_000,
        description="Bytes at which a file of spans is set aside under its name with `.1`, and a new one "
        "begun.",
    )

    console: bool = Field(
        default=False,
        description="Whether each finished trace is drawn on the telemetry actor's standard output.",
    )
