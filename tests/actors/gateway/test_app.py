"""What the application answers, whoever asks."""

from __future__ import annotations

import httpx2
import pytest

from llmgine.actors.gateway import GatewayOptions
from llmgine.actors.gateway.app import app
from tests.actors.gateway.fakes import FakePort


async def test_a_list_comes_as_items_and_next(client: httpx2.AsyncClient, port: FakePort) -> None:
    """A list is `items` and `next`, and is asked for by pages."""
    answer = await client.get("/api/v1/sessions", params={"query": "s-", "limit": "20"})
    assert answer.status_code == 200
    assert [row["id"] for row in answer.json()["items"]] == ["s-1"]
    assert answer.json()["items"][0]["created"] == "2026-01-02T03:04:05Z"
    assert port.asked == [("sessions", "s-", None, 20)]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind"),
    [
        ("GET", "/api/v1/nothing", None, 404, "not_found"),
        ("GET", "/api/v1/sessions/none", None, 404, "not_found"),
        ("DELETE", "/api/v1/sessions", None, 405, "wrong_method"),
        ("GET", "/api/v1/sessions?limit=ten", None, 422, "unprocessable"),
        ("GET", "/api/v1/sessions?limits=10", None, 422, "unprocessable"),
        ("POST", "/api/v1/pools/scripted/scale", b"{", 400, "malformed_request"),
        ("POST", "/api/v1/pools/scripted/scale", b'{"size": "2"}', 422, "unprocessable"),
    ],
)
async def test_refusals_have_one_shape(
    client: httpx2.AsyncClient, method: str, path: str, body: bytes | None, status: int, kind: str
) -> None:
    """Whatever is not served is answered with a kind and words in one shape."""
    headers = {} if body is None else {"content-type": "application/json"}
    answer = await client.request(method, path, content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
    assert answer.json()["error"]["message"]


async def test_whoever_asks_for_nothing_is_told_what_there_is(client: httpx2.AsyncClient) -> None:
    """A path that is none is answered with where all of them are described."""
    told = (await client.get("/healthz")).json()["error"]
    assert "/openapi.json" in told["hint"]
    assert "/health" in (await client.get("/openapi.json")).json()["paths"]


async def test_a_gateway_without_its_runtime_is_alive_and_not_ready() -> None:
    """/health answers at once; /ready and the rest say 503 until the runtime is connected."""
    transport = httpx2.ASGITransport(app(lambda: None, GatewayOptions()), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/ready")).status_code == 503
        assert (await client.get("/api/v1/overview")).json()["error"]["type"] == "not_ready"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
async def test_numbers_that_json_has_not_are_refused(
    client: httpx2.AsyncClient, port: FakePort, path: str, number: str
) -> None:
    """Before anything is asked of the runtime."""
    body = f'{{"model": "scripted/x", "top_p": {number}}}'
    answer = await client.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert "no JSON" in answer.json()["error"]["message"]
    assert port.asked == []
