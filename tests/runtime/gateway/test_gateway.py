"""A runtime in one process with its gateway, asked over real HTTP."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from llmgine.actors.gateway import GatewayError
from llmgine.actors.supervisor import gatewaydesk
from llmgine.providers import ImagePart, Message, TextPart
from llmgine.runtime import Event, RetryPolicy, Runtime, tool
from llmgine.runtime.gateway.masking import MASK
from tests.runtime.looks import cluster_of

Eventually = Callable[..., Any]

STORY = " ".join(str(number) for number in range(25))
ONCE = RetryPolicy(retries=0)
TRACE = "0123456789abcdef0123456789abcdef"
SETTINGS: dict[str, Any] = {
    "gateway": {"enabled": True, "port": 0},
    "sessions": {"warm": 0},
    "control": {"stop_grace": 2},
    "providers": {
        "scripts": {
            "draws": {"replies": [{"tool_calls": [{"name": "draw"}]}, {}]},
            "story": {"replies": [{"text": STORY, "delay": 0.02}]},
            "pays": {
                "replies": [{"tool_calls": [{"name": "pay", "arguments": {"amount": 3}}]}, {"text": "paid"}]
            },
        }
    },
}


class Ordered(Event):
    number: int


@tool(approval=True)
def pay(amount: int) -> str:
    """Pays an amount."""
    return f"paid {amount}"


@asynccontextmanager
async def asking(runtime: Runtime, eventually: Eventually) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the gateway once that is ready."""
    url = await runtime.gateway.url()
    assert url is not None
    async with httpx2.AsyncClient(base_url=url, timeout=20) as client:
        await eventually(lambda: is_ready(client))
        yield client


async def is_ready(client: httpx2.AsyncClient) -> bool:
    try:
        return (await client.get("/ready")).status_code == 200
    except httpx2.HTTPError:
        return False


@pytest_asyncio.fixture
async def runtime(clean_environ: object, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Runtime]:
    monkeypatch.setattr(gatewaydesk, "_PAUSE", 0.05)
    async with Runtime.in_process(SETTINGS) as opened:
        yield opened


@pytest_asyncio.fixture
async def client(runtime: Runtime, eventually: Eventually) -> AsyncIterator[httpx2.AsyncClient]:
    async with asking(runtime, eventually) as opened:
        yield opened


async def got(client: httpx2.AsyncClient, path: str, **query: str) -> Any:
    answer = await client.get(f"/api/v1/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def done(client: httpx2.AsyncClient, path: str, **body: Any) -> Any:
    answer = await client.post(f"/api/v1/{path}", json=body) if body else await client.post(f"/api/v1/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def events(text: str) -> list[tuple[str, Any]]:
    blocks = [block.split("\n") for block in text.split("\n\n") if block.startswith("event:")]
    return [(block[0][7:], json.loads(block[1][6:])) for block in blocks]


async def test_a_session_is_shown_asked_and_replayed(runtime: Runtime, client: httpx2.AsyncClient) -> None:
    """Its turns stream back; one of them is asked again in a fork, and the session is as it was."""
    async with runtime.session("s-1", model="scripted/echo", stay=True) as session:
        await session.ask("first")
        answer = await client.post("/api/v1/sessions/s-1/turns", json={"prompt": "second"})
        told = events(answer.text)
        assert told[0][0] == "step_started"
        assert (told[-1][0], told[-1][1]["reply"]["text"]) == ("done", "second")
        detail = await got(client, "sessions/s-1")
        assert (detail["turns"], detail["messages"], detail["state"]) == (2, 4, "open")
        newest = detail["newest_turns"][0]["id"]
        replay = {"turn_id": newest, "model": "scripted/story"}
        replayed = events((await client.post("/api/v1/sessions/s-1/replay", json=replay)).text)
        fork = replayed[0][1]["session"]
        assert replayed[-1][1]["reply"]["text"] == STORY
        shown = await got(client, f"sessions/{fork}/messages")
        texts = [message["parts"][0]["text"] for message in shown["items"]]
        assert texts == ["first", "first", "second", STORY]
        assert len((await got(client, "sessions/s-1/messages"))["items"]) == 4


async def test_a_replay_asks_all_that_the_turn_was_asked(
    runtime: Runtime, client: httpx2.AsyncClient
) -> None:
    """What followed the prompt, and the client's own tools, whose calls stay open in the fork, too."""
    parameters = {"type": "object", "properties": {"amount": {"type": "integer"}}}
    asked = {
        "model": "scripted/echo",
        "messages": [{"role": "user", "content": "Buy it"}, {"role": "user", "content": "now"}],
        "tools": [{"type": "function", "function": {"name": "pay", "parameters": parameters}}],
    }
    headers = {"x-llmgine-session": "theirs"}
    assert (await client.post("/v1/chat/completions", json=asked, headers=headers)).status_code == 200
    (turn,) = (await got(client, "sessions/theirs"))["newest_turns"]
    body = {"turn_id": turn["id"], "model": "scripted/pays"}
    replayed = events((await client.post("/api/v1/sessions/theirs/replay", json=body)).text)
    fork = replayed[0][1]["session"]
    assert [call["name"] for call in replayed[-1][1]["reply"]["open_calls"]] == ["pay"]
    shown = (await got(client, f"sessions/{fork}/messages"))["items"]
    assert [message["parts"][0]["text"] for message in shown[:2]] == ["Buy it", "now"]


async def test_a_turn_that_brought_results_is_not_replayed(
    runtime: Runtime, client: httpx2.AsyncClient
) -> None:
    """The calls that they answer are none of a fork's; nothing is left of the attempt."""
    asked: dict[str, Any] = {
        "model": "scripted/pays",
        "messages": [{"role": "user", "content": "Buy it"}],
        "tools": [{"type": "function", "function": {"name": "pay", "parameters": {"type": "object"}}}],
    }
    headers = {"x-llmgine-session": "theirs"}
    answer = (await client.post("/v1/chat/completions", json=asked, headers=headers)).json()
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    asked["messages"] = [{"role": "tool", "tool_call_id": call["id"], "content": "paid"}]
    assert (await client.post("/v1/chat/completions", json=asked, headers=headers)).status_code == 200
    newest = (await got(client, "sessions/theirs"))["newest_turns"][0]["id"]
    body = {"turn_id": newest, "model": "scripted/echo"}
    refused = await client.post("/api/v1/sessions/theirs/replay", json=body)
    assert refused.status_code == 422
    assert "results" in refused.json()["error"]["message"]
    assert [row["id"] for row in (await got(client, "sessions"))["items"]] == ["theirs"]


async def test_messages_come_by_pages(runtime: Runtime, client: httpx2.AsyncClient) -> None:
    """Numbered from 0, whether the session is open or not."""
    async with runtime.session("s-1", model="scripted/echo") as session:
        for text in ("a", "b"):
            await session.ask(text)
    page = await got(client, "sessions/s-1/messages", limit="3")
    assert [one["number"] for one in page["items"]] == [0, 1, 2]
    rest = await got(client, "sessions/s-1/messages", cursor=page["next"])
    assert ([one["number"] for one in rest["items"]], rest["next"]) == ([3], None)


async def test_messages_come_without_the_bytes_of_media(runtime: Runtime, client: httpx2.AsyncClient) -> None:
    """They may be millions, each time that somebody looks; what else is known of them is told."""

    @tool
    def draw() -> list[Any]:
        """Draws."""
        return [TextPart(text="there"), ImagePart(data=b"drawn")]

    async with runtime.session("s-1", model="scripted/draws", tools=[draw]) as session:
        await session.ask(Message.user("Look", ImagePart(data=b"seen", media_type="image/webp")))
    user, _, drawn, _ = (await got(client, "sessions/s-1/messages"))["items"]
    seen = user["parts"][1]
    assert (seen["type"], seen["media_type"], "data" in seen) == ("image", "image/webp", False)
    (result,) = drawn["parts"]
    assert [(part["type"], "data" in part) for part in result["content"]] == [
        ("text", False),
        ("image", False),
    ]


async def test_a_closed_session_is_opened_by_a_turn(runtime: Runtime, client: httpx2.AsyncClient) -> None:
    """With its model and its history, and it stays."""
    async with runtime.session("s-1", model="scripted/echo", system="Be brief.") as session:
        await session.ask("first")
    assert (await got(client, "sessions/s-1"))["state"] == "closed"
    answer = await client.post("/api/v1/sessions/s-1/turns", json={"prompt": "second"})
    assert events(answer.text)[-1][1]["reply"]["text"] == "second"
    detail = await got(client, "sessions/s-1")
    assert (detail["stay"], detail["messages"], detail["model"]) == (True, 4, "scripted/echo")


async def test_sessions_come_newest_first_and_are_searched(
    runtime: Runtime, client: httpx2.AsyncClient
) -> None:
    """By part of their id, page by page."""
    for number in range(5):
        async with runtime.session(f"shop/{number}", model="scripted/echo"):
            pass
    async with runtime.session("other", model="scripted/echo"):
        pass
    page = await got(client, "sessions", query="op/", limit="3")
    assert [row["id"] for row in page["items"]] == ["shop/4", "shop/3", "shop/2"]
    rest = await got(client, "sessions", query="op/", cursor=page["next"])
    assert [row["id"] for row in rest["items"]] == ["shop/1", "shop/0"]
    assert (await got(client, "sessions/shop%2F3"))["id"] == "shop/3"


async def test_a_turn_joins_the_clients_trace(
    runtime: Runtime, client: httpx2.AsyncClient, eventually: Eventually
) -> None:
    """The request's span stands below the client's, and the turn's below that."""
    async with runtime.session("s-1", model="scripted/echo", stay=True):
        await client.post(
            "/api/v1/sessions/s-1/turns",
            json={"prompt": "Hi"},
            headers={"traceparent": f"00-{TRACE}-00000000000000aa-01"},
        )
        await eventually(lambda: is_whole(client))
        rows = (await got(client, f"traces/{TRACE}"))["rows"]
    assert rows[0]["name"] == "POST /api/v1/sessions/{id}/turns"
    assert (rows[0]["parent"], rows[0]["kind"], rows[0]["source"]) == (
        "00000000000000aa",
        "server",
        "gateway",
    )
    assert (rows[1]["name"], rows[1]["parent"]) == ("invoke_agent", rows[0]["id"])
    assert [row["id"] for row in (await got(client, "traces", session="s-1"))["items"]] == [TRACE]
    usage = (await got(client, "sessions/s-1"))["usage"]
    assert [(one["model"], one["calls"]) for one in usage] == [("scripted/echo", 1)]
    assert [row["key"] for row in (await got(client, "cost", by="session"))["rows"]] == ["s-1"]


async def is_whole(client: httpx2.AsyncClient) -> bool:
    answer = await client.get(f"/api/v1/traces/{TRACE}")
    rows = answer.json().get("rows", ())
    return {"server", "client"} <= {row["kind"] for row in rows} and not any(row["running"] for row in rows)


async def test_an_approval_is_answered(
    runtime: Runtime, client: httpx2.AsyncClient, eventually: Eventually
) -> None:
    """Once: the call is run, and a second answer is refused."""
    async with runtime.session("s-1", model="scripted/pays", tools=[pay]) as session:
        turn = await session.submit("Pay 3")
        (waiting,) = await eventually(lambda: pending(client))
        assert (waiting["tool"], waiting["arguments"], waiting["session"]) == ("pay", {"amount": 3}, "s-1")
        answered = await done(client, f"approvals/{waiting['id']}", approve=True, note="fine")
        assert (answered["state"], answered["by"], answered["note"]) == ("approved", "local", "fine")
        assert (await turn.result()).text == "paid"
    again = await client.post(f"/api/v1/approvals/{waiting['id']}", json={"approve": False})
    assert (again.status_code, again.json()["error"]["type"]) == (409, "conflict")
    assert await pending(client) == []
    assert [one["id"] for one in (await got(client, "approvals", state="all"))["items"]] == [waiting["id"]]


async def pending(client: httpx2.AsyncClient) -> Any:
    return (await got(client, "approvals"))["items"]


async def test_dead_letters_are_replayed_and_discarded(
    runtime: Runtime, client: httpx2.AsyncClient, eventually: Eventually
) -> None:
    """A replay says what came of it; what is gone is not found."""
    healed = asyncio.Event()

    async def bill(event: Ordered) -> None:
        if not healed.is_set():
            raise ValueError(f"no {event.number}")

    subscription = await runtime.bus.register_event_handler(Ordered, bill, name="bill", retry=ONCE)
    for number in range(2):
        await runtime.bus.publish(Ordered(number=number))
    await eventually(lambda: letters(client, 2))
    second, first = (await got(client, "dead-letters", handler="bill"))["items"]
    shown = await got(client, f"dead-letters/{first['id']}")
    assert (shown["fields"], shown["errors"][-1]["text"]) == ({"number": 0}, "no 0")
    assert (await done(client, f"dead-letters/{first['id']}/replay"))["handled"] is False
    healed.set()
    assert (await done(client, f"dead-letters/{first['id']}/replay"))["handled"] is True
    assert (await client.delete(f"/api/v1/dead-letters/{second['id']}")).status_code == 200
    assert (await client.get(f"/api/v1/dead-letters/{first['id']}")).status_code == 404
    assert (await client.delete(f"/api/v1/dead-letters/{second['id']}")).status_code == 404
    (row,) = [row for row in (await got(client, "bus"))["handlers"] if row["name"] == "bill"]
    assert (row["breaker"], row["queue_size"]) == ("closed", 0)
    await subscription.remove()


async def letters(client: httpx2.AsyncClient, count: int) -> bool:
    return len((await got(client, "dead-letters"))["items"]) == count


async def test_a_pool_is_scaled_and_drained(
    runtime: Runtime, client: httpx2.AsyncClient, eventually: Eventually
) -> None:
    """Every provider has one, at rest until it is used; one that is not known is not found."""
    rows = (await got(client, "pools"))["items"]
    assert {"anthropic", "scripted"} <= {row["provider"] for row in rows}
    assert {row["size"] for row in rows} == {0}
    scaled = await done(client, "pools/scripted/scale", size=2)
    assert (scaled["size"], scaled["ready"], len(scaled["actors"])) == (2, 2, 2)
    rows = (await got(client, "pools"))["items"]
    assert [row["provider"] for row in rows if row["size"]] == ["scripted"]
    assert [row["provider"] for row in (await got(client, "overview"))["pools"]] == ["scripted"]
    await done(client, "pools/scripted/drain")
    missing = await client.post("/api/v1/pools/none/scale", json={"size": 1})
    assert missing.status_code == 404


async def test_the_whole_is_shown_without_secrets(runtime: Runtime, client: httpx2.AsyncClient) -> None:
    """What runs, what is kept for later, and the settings."""
    await runtime.bus.schedule(Ordered(number=1), after=3600, id="later")
    async with runtime.session("s-1", model="scripted/echo", stay=True) as session:
        await session.ask("Hi")
        overview = await got(client, "overview")
    assert (overview["sessions"], overview["dead_letters"], overview["breakers_open"]) == (1, 0, 0)
    assert {"gateway", "store", "supervisor"} <= {actor["kind"] for actor in overview["actors"]}
    assert [one["id"] for one in (await got(client, "schedules"))["items"]] == ["later"]
    settings = (await got(client, "settings"))["settings"]
    assert settings["gateway"]["port"] == 0
    assert MASK not in str(settings["bus"])


async def test_without_telemetry_a_session_is_shown(clean_environ: object, eventually: Eventually) -> None:
    """With no spans; whoever asks for traces hears what is missing."""
    settings = {**SETTINGS, "telemetry": {"enabled": False}}
    async with Runtime.in_process(settings) as runtime, asking(runtime, eventually) as client:
        async with runtime.session("s-1", model="scripted/echo"):
            assert (await got(client, "sessions/s-1/waterfall"))["rows"] == []
            assert (await got(client, "sessions/s-1"))["usage"] == []
            assert [row["tokens"] for row in (await got(client, "sessions"))["items"]] == [None]
        for path in ("traces", f"traces/{TRACE}", "cost"):
            answer = await client.get(f"/api/v1/{path}")
            assert (answer.status_code, "telemetry.enabled" in answer.text) == (503, True), path


async def test_what_cannot_be_asked_is_told_as_such(client: httpx2.AsyncClient) -> None:
    """Sessions, turns and models that are not there."""
    for path, body in {
        "sessions/none/turns": {"prompt": "Hi"},
        "sessions/none/replay": {"turn_id": "none:t", "model": "scripted/echo"},
    }.items():
        answer = await client.post(f"/api/v1/{path}", json=body)
        assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found"), path
    for path in (
        "sessions/none",
        "sessions/none/messages",
        "sessions/none/waterfall",
        f"traces/{TRACE}",
        "traces/none",
    ):
        assert (await client.get(f"/api/v1/{path}")).status_code == 404, path


async def test_a_model_that_is_not_known_is_the_end_of_the_stream(
    runtime: Runtime, client: httpx2.AsyncClient
) -> None:
    """It says which are."""
    async with runtime.session("s-1", model="scripted/echo", stay=True):
        body = {"prompt": "Hi", "model": "nobody/none"}
        told = events((await client.post("/api/v1/sessions/s-1/turns", json=body)).text)
    assert (told[-1][0], told[-1][1]["error"]["type"]) == ("error", "not_found")


async def test_a_gateway_that_died_listens_where_it_did(
    runtime: Runtime, client: httpx2.AsyncClient, eventually: Eventually
) -> None:
    """The supervisor brings it back; its clients find it under the same address."""
    url = await runtime.gateway.url()
    await cluster_of(runtime).crash("gateway")
    await eventually(lambda: is_ready(client))
    assert await runtime.gateway.url() == url
    assert (await got(client, "overview"))["runtime"] == "default"


async def test_a_supervisor_that_died_finds_its_gateway(
    runtime: Runtime, client: httpx2.AsyncClient, eventually: Eventually
) -> None:
    """It goes on where it was, and so do its requests."""
    url = await runtime.gateway.url()
    await cluster_of(runtime).crash("supervisor")
    assert await runtime.gateway.url() == url
    assert (await got(client, "overview"))["drivers"] >= 1
    await cluster_of(runtime).crash("gateway")
    await eventually(lambda: is_ready(client))
    assert await runtime.gateway.url() == url


async def test_a_stream_is_told_to_its_end_when_the_runtime_stops(
    clean_environ: object, eventually: Eventually
) -> None:
    """Live views end at once, for they have no end of their own; then nobody listens any more."""
    async with Runtime.in_process(SETTINGS) as runtime, asking(runtime, eventually) as client:
        session = await runtime.session("s-1", model="scripted/story", stay=True).open()
        begun = asyncio.Event()

        async def watch() -> None:
            async with client.stream("GET", "/api/v1/events", params={"topics": "overview"}) as answer:
                async for _ in answer.aiter_lines():
                    begun.set()

        async def ask() -> str:
            answer = await client.post("/api/v1/sessions/s-1/turns", json={"prompt": "Tell me"})
            return str(events(answer.text)[-1][1]["reply"]["text"])

        watching, asked = asyncio.create_task(watch()), asyncio.create_task(ask())
        await begun.wait()
        await eventually(lambda: runs(session))
        await runtime.leave()
        assert await asked == STORY
        await watching
        with pytest.raises(httpx2.ConnectError):
            await client.get("/health")


async def runs(session: Any) -> bool:
    return (await session.describe())["running"] is not None


async def test_its_address_is_told_once_it_serves(runtime: Runtime) -> None:
    """So that the first request finds the runtime."""
    url = await runtime.gateway.url()
    assert url is not None
    async with httpx2.AsyncClient(base_url=url) as client:
        assert await is_ready(client)


async def test_without_a_gateway_there_is_no_address(clean_environ: object) -> None:
    """A runtime has none unless its settings say so."""
    async with Runtime.in_process({"sessions": {"warm": 0}}) as runtime:
        assert await runtime.gateway.url() is None
        assert "gateway" not in {actor["kind"] for actor in (await runtime.status())["actors"]}


async def test_a_port_that_is_taken_is_told_and_the_runtime_goes_on(
    clean_environ: object, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """And the gateway comes up once the port is free."""
    monkeypatch.setattr(gatewaydesk, "_PAUSE", 0.05)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        settings = {**SETTINGS, "gateway": {"enabled": True, "port": taken}}
        async with Runtime.in_process(settings) as runtime:
            with pytest.raises(GatewayError, match=r"gateway\.port"):
                await runtime.gateway.url()
            async with runtime.session(model="scripted/echo") as session:
                assert (await session.ask("Hi")).text == "Hi"
            other.close()
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{taken}") as client:
                await eventually(lambda: is_ready(client))
