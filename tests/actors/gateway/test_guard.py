"""What stands in front of every route, over the whole application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from llmgine.actors.gateway import GatewayOptions
from llmgine.actors.gateway.app import app
from llmgine.actors.gateway.errors import TooManyRequests
from llmgine.actors.gateway.options import ClientOptions
from llmgine.actors.gateway.tally import Tally
from llmgine.actors.sessions import SessionOverloaded
from llmgine.providers import Message
from tests.actors.gateway.fakes import FakePort

OWNER, APP = "the owner's own token", "the key of the app"
OVERVIEW = "/api/v1/overview"


def client(port: FakePort, options: GatewayOptions, **headers: str) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app(port, options), raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8700", headers=headers)


@pytest.mark.parametrize("path", [OVERVIEW, "/openapi.json", "/api/v1/nothing", "/api/v1/events?topics=bus"])
async def test_without_its_token_nothing_is_told(port: FakePort, path: str) -> None:
    """Not even whether a path is there; the runtime is not asked."""
    async with client(port, GatewayOptions(token=OWNER)) as asking:
        answer = await asking.get(path)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "unauthorised"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert port.asked == []


async def test_what_watches_over_machines_and_the_page_need_no_token(port: FakePort) -> None:
    """They tell nothing of the runtime."""
    async with client(port, GatewayOptions(token=OWNER)) as asking:
        for path in ("/health", "/ready", "/"):
            assert (await asking.get(path)).status_code == 200


async def test_a_login_gives_a_cookie_that_scripts_do_not_see(port: FakePort) -> None:
    """The page logs in with the token, asks with its cookie, and logs out."""
    async with client(port, GatewayOptions(token=OWNER)) as asking:
        wrong = await asking.post("/login", json={"token": "something else"})
        assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
        answer = await asking.post("/login", json={"token": OWNER})
        cookie = answer.headers["set-cookie"].lower()
        assert all(word in cookie for word in ("httponly", "samesite=strict", "path=/", "max-age=43200"))
        assert OWNER not in cookie
        assert (await asking.get(OVERVIEW)).status_code == 200
        await asking.post("/logout")
        assert (await asking.get(OVERVIEW)).status_code == 401


async def test_a_login_ends_when_its_hours_are_over(port: FakePort) -> None:
    """By one clock, whoever looks at it."""
    now = 1_000.0
    guarded = app(port, GatewayOptions(token=OWNER, login_hours=1), wall_clock=lambda: now)
    transport = httpx2.ASGITransport(guarded, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8700") as asking:
        await asking.post("/login", json={"token": OWNER})
        now += 3_599
        assert (await asking.get(OVERVIEW)).status_code == 200
        now += 2
        assert (await asking.get(OVERVIEW)).status_code == 401


async def test_who_has_not_logged_in_sends_no_more_than_a_token(port: FakePort) -> None:
    """Whatever `max_body` grants to those who have."""
    async with client(port, GatewayOptions(token=OWNER)) as asking:
        long = await asking.post("/login", json={"token": "x" * 5000})
        assert (long.status_code, long.json()["error"]["type"]) == (413, "too_large")
        known = await asking.post(
            "/v1/chat/completions", json={"model": "x" * 5000}, headers={"x-api-key": OWNER}
        )
        assert known.status_code == 400


async def test_a_client_is_held_to_its_rate(port: FakePort) -> None:
    """Told when to come again; another client is not held up by it."""
    options = GatewayOptions(
        token=OWNER, clients={"app": ClientOptions(key=APP, requests_per_minute=2, operator=True)}
    )
    async with client(port, options) as asking:
        codes = [(await asking.get(OVERVIEW, headers={"x-api-key": APP})).status_code for _ in range(3)]
        refused = await asking.get(OVERVIEW, headers={"x-api-key": APP})
        other = await asking.get(OVERVIEW, headers={"x-api-key": OWNER})
    assert codes == [200, 200, 429]
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert other.status_code == 200


async def test_who_waits_as_long_as_told_is_not_too_early(port: FakePort) -> None:
    """In the words of either interface."""
    port.error = TooManyRequests("later", retry_after=2.4)
    async with client(port, GatewayOptions()) as asking:
        answers = [await asking.get(path) for path in (OVERVIEW, "/v1/models")]
    assert [answer.headers["retry-after"] for answer in answers] == ["3", "3"]


async def test_a_client_has_so_many_streams_at_a_time(port: FakePort) -> None:
    """A stream counts until it is over, however it ends."""
    gate = asyncio.Event()
    entered = asyncio.Event()

    async def turn(ask: Any) -> AsyncIterator[Any]:
        entered.set()
        await gate.wait()
        return
        yield

    port.turn = turn  # type: ignore[method-assign, assignment]
    options = GatewayOptions(clients={"app": ClientOptions(key=APP, concurrent=1, operator=True)})
    async with client(port, options, **{"x-api-key": APP}) as asking:
        first = asyncio.create_task(asking.post("/api/v1/sessions/s-1/turns", json={"prompt": "Hi"}))
        await entered.wait()
        refused = await asking.get(OVERVIEW)
        gate.set()
        assert (await first).status_code == 200
        assert refused.status_code == 429
        assert (await asking.get(OVERVIEW)).status_code == 200


async def test_a_client_asks_models_and_no_more(port: FakePort) -> None:
    """Unless it may operate: else it neither looks at the runtime nor changes it."""
    options = GatewayOptions(clients={"app": ClientOptions(key=APP)})
    async with client(port, options, **{"x-api-key": APP}) as asking:
        assert (await asking.get("/v1/models")).status_code == 200
        asked = list(port.asked)
        for method, path in (
            ("GET", OVERVIEW),
            ("POST", "/api/v1/pools/scripted/drain"),
            ("GET", "/openapi.json"),
        ):
            answer = await asking.request(method, path)
            assert (answer.status_code, answer.json()["error"]["type"]) == (403, "forbidden"), path
    assert port.asked == asked


async def test_a_client_reaches_its_own_sessions(port: FakePort) -> None:
    """Those whose ids begin as its settings say, however it names them; the owner reaches all."""
    options = GatewayOptions(token=OWNER, clients={"app": ClientOptions(key=APP, sessions="app-")})
    body = {"model": "x", "input": "Hi"}
    asks: list[tuple[dict[str, str], dict[str, str]]] = [
        ({"x-llmgine-session": "mine"}, {}),
        ({}, {"conversation": "mine"}),
    ]
    async with client(port, options, **{"x-api-key": APP}) as asking:
        for headers, named in asks:
            refused = await asking.post("/v1/responses", json={**body, **named}, headers=headers)
            assert refused.status_code == 403
            assert "app-" in refused.json()["error"]["message"]
        assert not [one for one in port.asked if one[0] == "turn"]
        await asking.post("/v1/responses", json=body, headers={"x-llmgine-session": "app-1"})
        owner = {"x-llmgine-session": "mine", "x-api-key": OWNER}
        await asking.post("/v1/responses", json=body, headers=owner)
    assert [one[1].session for one in port.asked if one[0] == "turn"] == ["app-1", "mine"]


async def test_an_answer_says_who_gave_it(port: FakePort) -> None:
    """What a client approves is told under its name."""
    options = GatewayOptions(clients={"app": ClientOptions(key=APP, operator=True)})
    async with client(port, options, **{"x-api-key": APP}) as asking:
        answer = await asking.post("/api/v1/approvals/a-1", json={"approve": True, "note": "fine"})
    assert answer.json()["by"] == "app"
    assert ("answer", "a-1", True, "fine", "app") in port.asked


@pytest.mark.parametrize("path", ["/", OVERVIEW, "/api/v1/nothing", "/health"])
async def test_every_answer_tells_browsers_to_be_careful(client: httpx2.AsyncClient, path: str) -> None:
    """Nothing is sniffed, framed, or shared with other origins; an answer of the interface is not kept."""
    answer = await client.get(path, headers={"origin": "https://evil.example"})
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "default-src 'self'" in answer.headers["content-security-policy"] or path != "/"
    assert answer.headers["cache-control"] == ("no-cache" if path == "/" else "no-store")
    assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_a_preflight_is_refused(client: httpx2.AsyncClient) -> None:
    """Pages of other origins may not ask at all."""
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    answer = await client.options(OVERVIEW, headers=headers)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_what_is_refused_is_counted(port: FakePort) -> None:
    """By its reason, as it happens."""
    told: list[str] = []
    options = GatewayOptions(token=OWNER)
    transport = httpx2.ASGITransport(app(port, options, tally=Tally(told.append)), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8700") as asking:
        await asking.get(OVERVIEW)
        await asking.get("/health")
        asking.headers["x-api-key"] = OWNER
        await asking.get("/api/v1/nothing")
        await asking.get("/v1/models/none")
        await asking.post("/v1/messages", json={})
        port.error = SessionOverloaded("full")
        await asking.post("/v1/chat/completions", json={"model": "x", "messages": []})
    assert told == ["unauthorised", "not_found", "not_found", "unprocessable", "too_many_requests"]


async def test_an_error_of_ours_tells_nothing_of_itself(port: FakePort, caplog: Any) -> None:
    """It is in the log; the client learns that there was one."""
    port.error = RuntimeError("the password is hunter2")
    async with client(port, GatewayOptions()) as asking:
        answer = await asking.get(OVERVIEW)
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert "hunter2" in caplog.text


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/v1/approvals/a-1", "/login"])
async def test_who_goes_in_the_middle_of_a_body_is_no_failure(port: FakePort, path: str, caplog: Any) -> None:
    """Nothing is answered, logged or counted: nobody is there."""
    told: list[str] = []
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    pieces = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(pieces)

    async def send(message: Any) -> None:
        raise AssertionError(message)

    await app(port, GatewayOptions(), tally=Tally(told.append))(scope, receive, send)
    assert (told, caplog.records) == ([], [])


@pytest.mark.parametrize(
    ("sent", "status"), [("text/plain", 415), ("", 415), ("application/json; charset=utf-8", 200)]
)
async def test_a_body_is_json(client: httpx2.AsyncClient, sent: str, status: int) -> None:
    """By its type, too."""
    path = "/api/v1/approvals/a-1"
    headers = {"content-type": sent} if sent else {}
    answer = await client.post(path, content=b'{"approve": false}', headers=headers)
    assert answer.status_code == status


async def test_an_id_may_hold_a_slash(port: FakePort) -> None:
    """It is written as %2F, and is one name then."""
    async with client(port, GatewayOptions()) as asking:
        await asking.get("/api/v1/sessions/a%2Fb%20%C3%A4/messages")
        answer = await asking.get("/api/v1/sessions/%FF")
    assert port.asked == [("messages", "a/b ä", None, 50)]
    assert answer.status_code == 404


async def test_a_turn_streams_its_events(port: FakePort) -> None:
    """Each under its type; a failure of the call itself is the last of them."""
    port.error = None
    async with client(port, GatewayOptions()) as asking:
        missing = await asking.post("/api/v1/sessions/none/turns", json={"prompt": "Hi"})
        replayed = await asking.post(
            "/api/v1/sessions/s-1/replay", json={"turn_id": "s-1:t", "model": "scripted/x"}
        )
    assert missing.status_code == 404
    assert replayed.headers["content-type"].startswith("text/event-stream")
    assert replayed.text.startswith('event: fork\ndata: {"session":"s-1-fork"}\n\n')
    asked = next(one[1] for one in port.asked if one[0] == "turn")
    assert (asked.session, list(asked.messages), asked.model) == (
        "s-1-fork",
        [Message.user("Hi")],
        "scripted/x",
    )
