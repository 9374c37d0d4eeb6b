"""Where spans are sent: settings and OpenTelemetry's variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from llmgine.telemetry.exporters.otlp import target
from llmgine.telemetry.exporters.otlp.answers import grpc_refusal, http_refusal, pause_in
from llmgine.telemetry.options import OtlpOptions

BASE = "OTEL_EXPORTER_OTLP_"


def test_without_an_endpoint_nothing_is_sent() -> None:
    """Neither settings nor variables name a receiver, or the variables switch it off."""
    assert target(OtlpOptions(), {}) is None
    assert target(OtlpOptions(), {f"{BASE}ENDPOINT": " "}) is None
    there = {f"{BASE}ENDPOINT": "http://c:4318"}
    assert target(OtlpOptions(), there) is not None
    assert target(OtlpOptions(), {**there, "OTEL_SDK_DISABLED": "true"}) is None
    assert target(OtlpOptions(), {**there, "OTEL_TRACES_EXPORTER": "none"}) is None
    assert target(OtlpOptions(), {**there, "OTEL_TRACES_EXPORTER": "console,otlp"}) is not None
    assert target(OtlpOptions(endpoint="http://c:4318"), {"OTEL_SDK_DISABLED": "true"}) is not None


@pytest.mark.parametrize(
    ("options", "environ", "endpoint"),
    [
        ({"endpoint": "http://c:4318"}, {}, "http://c:4318/v1/traces"),
        ({"endpoint": "http://c:4318/"}, {}, "http://c:4318/v1/traces"),
        ({"endpoint": "https://c/otlp/v1/traces"}, {}, "https://c/otlp/v1/traces"),
        ({}, {f"{BASE}ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({}, {f"{BASE}ENDPOINT": "https://c/otlp/"}, "https://c/otlp/v1/traces"),
        ({}, {f"{BASE}TRACES_ENDPOINT": "http://c/", f"{BASE}ENDPOINT": "http://d"}, "http://c/"),
        ({"endpoint": "http://e:1"}, {f"{BASE}TRACES_ENDPOINT": "http://c/"}, "http://e:1/v1/traces"),
    ],
)
def test_the_path_is_added_as_the_specification_says(
    options: dict[str, Any], environ: dict[str, str], endpoint: str
) -> None:
    """A base gets the path of traces, what is said of traces alone is taken as it is."""
    found = target(OtlpOptions(**options), environ)
    assert found is not None
    assert (found.endpoint, found.secure) == (endpoint, endpoint.startswith("https"))


@pytest.mark.parametrize(
    ("named", "insecure", "endpoint", "secure"),
    [
        ("http://c:4317", "", "c:4317", False),
        ("https://c", "true", "c:4317", True),
        ("c:99", "", "c:99", True),
        ("c:99", "TRUE", "c:99", False),
        ("http://[::1]:5", "", "[::1]:5", False),
    ],
)
def test_a_grpc_endpoint_is_a_host_and_its_security(
    named: str, insecure: str, endpoint: str, secure: bool
) -> None:
    """The scheme says whether it is secure, and where there is none the variable does."""
    environ = {f"{BASE}ENDPOINT": named, f"{BASE}PROTOCOL": "grpc", f"{BASE}INSECURE": insecure}
    found = target(OtlpOptions(), environ)
    assert found is not None
    assert (found.protocol, found.endpoint, found.secure) == ("grpc", endpoint, secure)


def test_each_option_has_its_variable_and_traces_go_first(tmp_path: Path) -> None:
    """What settings do not say, the variables do; the one of traces wins over the general one."""
    environ = {
        f"{BASE}ENDPOINT": "http://c",
        f"{BASE}HEADERS": "x-a=1, X-B=two%20words,broken,=none",
        f"{BASE}TIMEOUT": "10",
        f"{BASE}TRACES_TIMEOUT": "2500",
        f"{BASE}COMPRESSION": "gzip",
        f"{BASE}CERTIFICATE": "/ca.pem",
        f"{BASE}CLIENT_CERTIFICATE": "/me.pem",
        f"{BASE}CLIENT_KEY": "/me.key",
    }
    found = target(OtlpOptions(), environ)
    assert found is not None
    assert found.headers == {"x-a": "1", "x-b": "two words"}
    assert (found.timeout, found.gzip) == (2.5, True)
    assert found.certificate == Path("/ca.pem")
    assert (found.client_certificate, found.client_key) == (Path("/me.pem"), Path("/me.key"))
    (tmp_path / "headers").write_text("authorization=Bearer abc\nx-a=3\n")
    own = OtlpOptions(timeout=3, compression="none", headers={"X-A": "4"}, headers_file=tmp_path / "headers")
    found = target(own, environ)
    assert found is not None
    assert found.headers == {"x-a": "4", "x-b": "two words", "authorization": "Bearer abc"}
    assert (found.timeout, found.gzip) == (3, False)
    assert "Bearer" not in repr(found)


@pytest.mark.parametrize(
    ("options", "environ", "told"),
    [
        ({"endpoint": "collector:4318"}, {}, "http://host:port"),
        ({"endpoint": "ftp://c", "protocol": "grpc"}, {}, "gRPC"),
        ({"endpoint": "http://c"}, {f"{BASE}PROTOCOL": "http/json"}, f"{BASE}PROTOCOL"),
        ({"endpoint": "http://c"}, {f"{BASE}TIMEOUT": "soon"}, f"{BASE}TIMEOUT"),
        ({"endpoint": "http://c", "headers_file": "/nowhere/at/all"}, {}, "headers_file"),
    ],
)
def test_what_is_wrong_is_told_by_its_name(
    options: dict[str, Any], environ: dict[str, str], told: str
) -> None:
    """A wrong endpoint, protocol, time or file is an error that says where it stands."""
    with pytest.raises(ValueError, match=told):
        target(OtlpOptions(**options), environ)


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Basic c2VjcmV0==",
        "c2VjcmV0",
        "authorization=Basic c2VjcmV0%0A",
        "authorization=Basic c2VjcmV0\u00e9",
        "=c2VjcmV0",
    ],
)
def test_a_line_that_is_no_header_is_told_by_its_number_alone(tmp_path: Path, line: str) -> None:
    """A key in a wrong form is neither sent nor repeated anywhere."""
    file = tmp_path / "headers"
    file.write_text(f"# for the collector\nx-a=1\n\n{line}\n")
    with pytest.raises(ValueError, match=r"line 4 of telemetry\.otlp\.headers_file") as refused:
        target(OtlpOptions(endpoint="http://c", headers_file=file), {})
    assert "c2VjcmV0" not in str(refused.value)


@pytest.mark.parametrize("text", ["a=1,x-b=two%0Awords", "a=1,authorization: Basic=two"])
def test_a_wrong_header_of_the_variable_is_told_by_its_number_alone(text: str) -> None:
    """So that whoever reads the log does not read the key."""
    with pytest.raises(ValueError, match=f"entry 2 of {BASE}HEADERS") as refused:
        target(OtlpOptions(endpoint="http://c"), {f"{BASE}HEADERS": text})
    assert "two" not in str(refused.value)


def test_a_value_in_the_file_may_hold_commas_and_equal_signs(tmp_path: Path) -> None:
    """A line is one header, whatever stands in its value."""
    (tmp_path / "headers").write_text("Authorization=Basic YWI6Y2Q==\r\nx-list=a, b,c\r\n")
    found = target(OtlpOptions(endpoint="http://c", headers_file=tmp_path / "headers"), {})
    assert found is not None
    assert found.headers == {"authorization": "Basic YWI6Y2Q==", "x-list": "a, b,c"}


@pytest.mark.parametrize("name", ["Authorization", "x-api-key", "X-Token"])
def test_a_secret_has_no_place_in_settings(name: str) -> None:
    """Settings travel and are shown; a header that holds a key is refused, and the value is not repeated."""
    with pytest.raises(ValidationError, match="headers_file") as refused:
        OtlpOptions(headers={name: "very-secret"})
    assert "very-secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("header", "pause"),
    [
        (None, None),
        ("", None),
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("nan", None),
        ("soon", None),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, pause: float | None) -> None:
    """Both forms of the header are read; nonsense is none."""
    assert pause_in(header, 10.0) == pause


def test_only_what_the_protocol_names_is_tried_again() -> None:
    """Of all HTTP statuses four, and of gRPC's codes those of passing trouble."""
    assert [code for code in range(300, 600) if http_refusal(code, None, 0).again] == [429, 502, 503, 504]
    assert grpc_refusal("UNAVAILABLE", "", None).again
    assert not grpc_refusal("RESOURCE_EXHAUSTED", "", None).again
    assert grpc_refusal("RESOURCE_EXHAUSTED", "", 0.0).again
    assert not grpc_refusal("PERMISSION_DENIED", "", 1.0).again
