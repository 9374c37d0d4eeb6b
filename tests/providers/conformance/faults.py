"""What every wire promises when its server goes wrong: one clear end, and nothing lost or made up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from llmgine.providers.contracts import LLMResponse, UsageSource
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope
from llmgine.providers.events import Failed, TextDelta
from llmgine.providers.provider import Provider
from tests.providers.conformance.suite import ADD, SECRET, WEATHER, WireConformance, outcome

if TYPE_CHECKING:
    from tests.providers.faults.server import FaultServer

BOUND = 5.0  # seconds within which a server must see that its client left

STATUSES = [
    (400, ErrorKind.INVALID_REQUEST, ErrorScope.REQUEST, False),
    (401, ErrorKind.AUTHENTICATION, ErrorScope.KEY, False),
    (403, ErrorKind.PERMISSION, ErrorScope.KEY, False),
    (404, ErrorKind.NOT_FOUND, ErrorScope.MODEL, False),
    (413, ErrorKind.INVALID_REQUEST, ErrorScope.REQUEST, False),
    (429, ErrorKind.RATE_LIMIT, ErrorScope.KEY, True),
    (500, ErrorKind.SERVER, ErrorScope.ENDPOINT, True),
    (503, ErrorKind.OVERLOADED, ErrorScope.MODEL, True),
    (529, ErrorKind.OVERLOADED, ErrorScope.MODEL, True),
]
BROKEN = {
    "cut": ErrorKind.CONNECTION,
    "reset": ErrorKind.CONNECTION,
    "clean-end": ErrorKind.TRUNCATED,
    "malformed": ErrorKind.MALFORMED,
    "error-frame": ErrorKind.OVERLOADED,
    "stall": ErrorKind.TIMEOUT,
}


class FaultConformance(WireConformance):
    """A wire whose server does everything that a real network does."""

    hints: ClassVar[tuple[str, ...]] = ("retry-after", "retry-after-ms", "http-date", "words")
    whole: ClassVar[tuple[str, ...]] = ("bytewise", "unknown", "comments", "crlf", "json", "reset-at-end")
    broken: ClassVar[Mapping[str, ErrorKind]] = BROKEN
    no_answer: ClassVar[Mapping[str, ErrorKind]] = {
        "html": ErrorKind.MALFORMED,
        "json-error": ErrorKind.SERVER,
    }

    async def failed(self, provider: Provider, fault: str, **fields: Any) -> Failed:
        request = self.ask(fault, **fields)
        last = outcome(await self.events(provider, request))
        assert isinstance(last, Failed), last
        assert (last.error.provider, last.error.model) == ("there", fault)
        assert SECRET not in f"{last!r} {last.error} {last.error.__dict__}"
        return last

    async def test_however_the_bytes_come(self, provider: Provider) -> None:
        """Split anywhere, with comments, other line ends or news between them: the answer is the same."""
        for fault in self.whole:
            response = await self.done(provider, self.ask(fault))
            wanted = "Grüße, 世界 🌍!" if fault == "bytewise" else "Hello big world"
            assert (fault, response.text) == (fault, wanted)
            assert (fault, *counts(response)) == (fault, 5, 3)

    async def test_usage_in_odd_places(self, provider: Provider) -> None:
        """The figures count wherever the server tells them."""
        response = await self.done(provider, self.ask("odd-usage"))
        assert counts(response) == (5, 3)
        assert response.usage.source is UsageSource.REPORTED

    async def test_a_block_that_nobody_knows(self, provider: Provider) -> None:
        """It is kept beside the text, and never read as something else."""
        response = await self.done(provider, self.ask("unknown-block"))
        assert response.text == "Hello big world"
        assert "hologram" in response.model_dump_json()

    @pytest.mark.parametrize("fault", ["missing-ids", "repeated-ids"])
    async def test_ids_that_are_no_ids(self, provider: Provider, fault: str) -> None:
        """Calls have ids of their own where the server gives none, or one to several."""
        response = await self.done(provider, self.ask(fault, tools=(ADD, WEATHER)))
        calls = response.tool_calls
        assert [call.name for call in calls] == ["add", "get_weather"]
        assert len({call.id for call in calls}) == 2
        assert [call.arguments for call in calls] == [{"a": 2, "b": 2}, {"city": "Paris"}]

    @pytest.mark.parametrize("fault", list(BROKEN))
    async def test_a_broken_stream_keeps_what_had_arrived(self, provider: Provider, fault: str) -> None:
        """Cut, reset, no end marker, malformed, failed inside, stalled: an error with the text so far."""
        last = await self.failed(provider, fault, idle_timeout=0.3 if fault == "stall" else None)
        assert (last.error.kind, last.error.phase) == (self.broken[fault], ErrorPhase.MID_STREAM)
        assert last.error.retryable
        assert last.error.request_id == self.request_id
        assert last.partial is not None
        assert last.partial.text == "Hello"

    async def test_an_empty_answer_is_none(self, provider: Provider) -> None:
        """A stream without a word is truncated, not an empty reply."""
        error = (await self.failed(provider, "empty")).error
        assert (error.kind, error.phase, error.retryable) == (ErrorKind.TRUNCATED, ErrorPhase.PRE_TOKEN, True)

    @pytest.mark.parametrize(("status", "kind", "scope", "retryable"), STATUSES)
    async def test_an_error_status(
        self,
        provider: Provider,
        fault_server: FaultServer,
        status: int,
        kind: ErrorKind,
        scope: ErrorScope,
        retryable: bool,
    ) -> None:
        """A refused call says kind, scope and the server's own words; nobody below sends it again."""
        error = (await self.failed(provider, f"status.{status}")).error
        assert (error.kind, error.scope, error.retryable, error.status) == (kind, scope, retryable, status)
        assert (error.phase, error.request_id) == (ErrorPhase.PRE_TOKEN, "req-1")
        assert f"fault {status}" in error.message
        assert error.retry_after is None
        assert len(fault_server.calls) == 1

    async def test_when_to_come_back(self, provider: Provider) -> None:
        """The server's own wait is read wherever this protocol's servers put it."""
        for hint in self.hints:
            error = (await self.failed(provider, f"status.429.{hint}")).error
            assert (hint, error.retry_after) == (hint, 7)

    @pytest.mark.parametrize("fault", ["html", "json-error"])
    async def test_what_is_no_answer(self, provider: Provider, fault: str) -> None:
        """A page, or an error in a 200 body, is not taken for a reply."""
        error = (await self.failed(provider, fault)).error
        assert (error.kind, error.phase) == (self.no_answer[fault], ErrorPhase.PRE_TOKEN)

    @pytest.mark.parametrize("fault", ["slow", "slow-body"])
    async def test_a_server_that_says_nothing(
        self, provider: Provider, fault_server: FaultServer, fault: str
    ) -> None:
        """No first byte in time is a timeout, and the server sees the client go."""
        hasty = self.open(fault_server.base_url, timeouts={"first_byte": 0.3})
        error = (await self.failed(hasty, fault)).error
        assert (error.kind, error.phase) == (ErrorKind.TIMEOUT, ErrorPhase.PRE_TOKEN)
        assert "0.3 s" in error.message
        await asyncio.wait_for(fault_server.calls[0].gone.wait(), BOUND)
        await hasty.aclose()

    async def test_a_redirect_is_not_followed(self, provider: Provider, fault_server: FaultServer) -> None:
        """Neither key nor prompt goes where a server points: the call fails and says where that was."""
        error = (await self.failed(provider, "redirect")).error
        assert (error.status, error.retryable) == (307, False)
        assert "/elsewhere" in error.message
        assert "base_url" in error.message
        assert len(fault_server.calls) == 1

    async def test_a_server_that_tells_the_key_is_not_quoted(self, provider: Provider) -> None:
        """The key stands in no field of an error, whichever of its fields a server put it in."""
        error = (await self.failed(provider, "tell-key")).error
        assert "[key]" in error.message

    async def test_closing_reaches_the_server(self, provider: Provider, fault_server: FaultServer) -> None:
        """A reader that stops in the middle ends the exchange before the next chunk."""
        stream: Any = provider.stream(self.ask("stall"))
        async for event in stream:
            if isinstance(event, TextDelta):
                break
        assert not fault_server.calls[0].gone.is_set()
        await stream.aclose()
        await asyncio.wait_for(fault_server.calls[0].gone.wait(), BOUND)

    @pytest.mark.parametrize("fault", ["slow", "stall"])
    async def test_cancelling_reaches_the_server(
        self, provider: Provider, fault_server: FaultServer, fault: str
    ) -> None:
        """A task that is cancelled while it waits for the server leaves nothing open."""

        async def read() -> None:
            async for _ in provider.stream(self.ask(fault)):
                got.set()

        got = asyncio.Event()
        task = asyncio.create_task(read())
        await (got if fault == "stall" else fault_server.called).wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await asyncio.wait_for(fault_server.calls[0].gone.wait(), BOUND)

    async def test_closing_comes_before_the_next_chunk(
        self, provider: Provider, fault_server: FaultServer
    ) -> None:
        """A server that goes on after a pause finds its client gone before it has sent another piece."""
        stream: Any = provider.stream(self.ask("drip"))
        async for event in stream:
            if isinstance(event, TextDelta):
                break
        await stream.aclose()
        await asyncio.wait_for(fault_server.calls[0].gone.wait(), BOUND)
        assert fault_server.calls[0].pieces_after_pause == 0

    async def test_nobody_opens(self, provider: Provider) -> None:
        """A connection that does not come about is given up after its own limit."""
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            address = full.getsockname()
            with contextlib.ExitStack() as waiting:
                for _ in range(3):  # more than the queue takes; later ones are not even refused
                    one = waiting.enter_context(socket.socket())
                    one.setblocking(False)
                    one.connect_ex(address)
                hasty = self.open(f"http://127.0.0.1:{address[1]}", timeouts={"connect": 0.1})
                async with asyncio.timeout(BOUND):
                    error = (await self.failed(hasty, "ok")).error
                await hasty.aclose()
        assert (error.kind, error.phase) == (ErrorKind.TIMEOUT, ErrorPhase.CONNECT)
        assert (error.scope, error.retryable) == (ErrorScope.ENDPOINT, True)

    async def test_nobody_at_home(self, provider: Provider) -> None:
        """A refused connection is told as such, before anything was sent."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        lonely = self.open(f"http://127.0.0.1:{port}")
        error = (await self.failed(lonely, "ok")).error
        assert (error.kind, error.phase) == (ErrorKind.CONNECTION, ErrorPhase.CONNECT)
        assert (error.scope, error.retryable) == (ErrorScope.ENDPOINT, True)
        await lonely.aclose()

    async def test_the_key_arrives(self, provider: Provider, fault_server: FaultServer) -> None:
        """The SDK's client signs the request; extra headers go along."""
        await self.done(provider, self.ask("ok", extra_headers={"x-team": "blue"}))
        headers = fault_server.calls[0].headers
        assert any(SECRET in value for value in headers.values())
        assert headers["x-team"] == "blue"


def counts(response: LLMResponse) -> tuple[int | None, int | None]:
    return response.usage.input_tokens, response.usage.output_tokens
