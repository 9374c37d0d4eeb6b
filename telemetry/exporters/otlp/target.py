"""Where spans are sent and how: settings first, then OpenTelemetry's own variables. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from llmgine.telemetry.options import OtlpOptions

_PATH: Final = "/v1/traces"
_TRUE: Final = "true"
_HEADERS: Final = "OTEL_EXPORTER_OTLP_HEADERS"
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE: Final = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")


@dataclass(frozen=True, slots=True)
class Target:
    """A receiver. `endpoint` is a URL over HTTP, `host:port` over gRPC; `timeout` is of one request."""

    protocol: Literal["http/protobuf", "grpc"]
    endpoint: str
    secure: bool
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = 10.0
    gzip: bool = False
    certificate: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None


def target(options: OtlpOptions, environ: Mapping[str, str]) -> Target | None:
    """The receiver that settings name, else OTEL_EXPORTER_OTLP_[TRACES_]ENDPOINT; None without either.

    A wrong value is a ValueError that names where it stands.
    """
    if options.endpoint is None and _switched_off(environ):
        return None
    named = options.endpoint or _variable(environ, "ENDPOINT")
    if named is None:
        return None
    protocol = options.protocol or _protocol(_variable(environ, "PROTOCOL"))
    if protocol == "grpc":
        endpoint, secure = _grpc_endpoint(named, (_variable(environ, "INSECURE") or "").lower() == _TRUE)
    else:
        endpoint, secure = _http_endpoint(named, is_base=_is_base(options, environ))
    return Target(
        protocol,
        endpoint,
        secure,
        {**_headers_told(environ), **_headers_in(options.headers_file), **_headers_set(options.headers)},
        options.timeout or _seconds(_variable(environ, "TIMEOUT")) or 10.0,
        (options.compression or _variable(environ, "COMPRESSION") or "none").lower() == "gzip",
        options.certificate or _path(_variable(environ, "CERTIFICATE")),
        options.client_certificate or _path(_variable(environ, "CLIENT_CERTIFICATE")),
        options.client_key or _path(_variable(environ, "CLIENT_KEY")),
    )


def _switched_off(environ: Mapping[str, str]) -> bool:
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == _TRUE:
        return True
    exporters = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    return bool(exporters) and "otlp" not in exporters.split(",")


def _variable(environ: Mapping[str, str], name: str) -> str | None:
    for variable in (f"OTEL_EXPORTER_OTLP_TRACES_{name}", f"OTEL_EXPORTER_OTLP_{name}"):
        if value := environ.get(variable, "").strip():
            return value
    return None


def _protocol(stated: str | None) -> Literal["http/protobuf", "grpc"]:
    if stated in (None, "http/protobuf"):
        return "http/protobuf"
    if stated == "grpc":
        return "grpc"
    raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL is http/protobuf or grpc, not {stated!r}")


def _is_base(options: OtlpOptions, environ: Mapping[str, str]) -> bool:
    """Whether the path of traces is still to be added to the endpoint."""
    if options.endpoint is not None:
        return urlsplit(options.endpoint).path in ("", "/")
    return not environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()


def _http_endpoint(named: str, *, is_base: bool) -> tuple[str, bool]:
    parts = urlsplit(named)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"the endpoint of OTLP over HTTP is http://host:port or https://…, not {named!r}")
    return named.rstrip("/") + _PATH if is_base else named, parts.scheme == "https"


def _grpc_endpoint(named: str, insecure: bool) -> tuple[str, bool]:
    parts = urlsplit(named if "://" in named else f"//{named}")
    if parts.scheme not in ("", "http", "https") or not parts.hostname:
        raise ValueError(f"the endpoint of OTLP over gRPC is http://host:port or https://…, not {named!r}")
    secure = parts.scheme == "https" or (not parts.scheme and not insecure)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{parts.port or 4317}", secure


def _headers_told(environ: Mapping[str, str]) -> dict[str, str]:
    """`name=value,name=value` of the variable, both percent-encoded; an entry without a value is none."""
    entries = (_variable(environ, "HEADERS") or "").split(",")
    told = [(number, entry.partition("=")) for number, entry in enumerate(entries, 1)]
    return dict(
        _header(unquote(name.strip()), unquote(value.strip()), f"entry {number} of {_HEADERS}")
        for number, (name, equals, value) in told
        if equals and name.strip()
    )


def _headers_in(path: Path | None) -> dict[str, str]:
    """`name=value` a line, with both percent-encoded; empty lines and those of `#` are passed over."""
    found: dict[str, str] = {}
    for number, line in enumerate(_lines_of(path), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"line {number} of telemetry.otlp.headers_file"
        name, equals, value = line.partition("=")
        if not equals:
            raise ValueError(f"{where} is not name=value")
        found.update([_header(unquote(name.strip()), unquote(value.strip()), where)])
    return found


def _lines_of(path: Path | None) -> list[str]:
    try:
        return [] if path is None else path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError("telemetry.otlp.headers_file cannot be read: it is not UTF-8") from None
    except OSError as error:
        raise ValueError(f"telemetry.otlp.headers_file cannot be read: {error}") from None


def _headers_set(headers: Mapping[str, str]) -> dict[str, str]:
    return dict(_header(*header, "a header in telemetry.otlp.headers") for header in headers.items())


def _header(name: str, value: str, where: str) -> tuple[str, str]:
    """The header as it is sent. What is wrong with it is told without it, for it may be a key."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{where} does not begin with the name of a header, as in authorization=Bearer …")
    if not _VALUE.fullmatch(value):
        raise ValueError(f"the value in {where} holds what no header can: it is printable ASCII in one line")
    return name.lower(), value


def _seconds(text: str | None) -> float | None:
    """Python's exporters read seconds, the specification says milliseconds: none wants an hour or 10 ms."""
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"OTEL_EXPORTER_OTLP_TIMEOUT is a number, not {text!r}") from None
    return value / 1000 if value >= 1000 else value


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
