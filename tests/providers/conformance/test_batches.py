"""The batch APIs that are spoken over HTTP, each against a server that does everything wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from llmgine.providers import (
    ErrorKind,
    ErrorPhase,
    LLMRequest,
    LLMResponse,
    Message,
    OutputSchema,
    ProviderError,
    ToolSpec,
)
from llmgine.providers.contracts import BatchState, BatchStatus
from llmgine.providers.options import ProvidersOptions
from llmgine.providers.provider import Batches, Provider
from llmgine.providers.registry import open_provider
from tests.providers.faults.batches import BatchServer

KEY = "sk-thekeyitself"
CITY = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def ask(prompt: str, **fields: Any) -> LLMRequest:
    return LLMRequest(model="there/served", messages=(Message.user(prompt),), **fields)


class BatchConformance:
    """What holds for every provider that takes batches."""

    endpoint: ClassVar[dict[str, Any]]
    path = ""
    tagged = True

    @pytest.fixture
    async def server(self) -> AsyncIterator[BatchServer]:
        server = BatchServer()
        await server.start()
        yield server
        await server.stop()

    @pytest.fixture
    async def provider(self, server: BatchServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Provider]:
        monkeypatch.setenv("THERE_KEY", KEY)
        endpoint = {**self.endpoint, "base_url": server.base_url + self.path, "key_env": "THERE_KEY"}
        price = {"input": 1, "output": 2, "batch": "0.5"}
        options = ProvidersOptions.model_validate(
            {"endpoints": {"there": endpoint}, "prices": {"there/served": price}}
        )
        provider = open_provider("there", options)
        yield provider
        await provider.aclose()

    @pytest.fixture
    def batches(self, provider: Provider) -> Batches:
        return provider.batches("there/served")

    async def submitted(self, batches: Batches, *prompts: str, **fields: Any) -> BatchStatus:
        lines = [batches.line(f"tag-{n}", ask(prompt, **fields)) for n, prompt in enumerate(prompts)]
        return await batches.submit("tag", lines)

    async def over(self, batches: Batches, id: str) -> BatchStatus:
        while not (status := await batches.status(id)).over:
            pass
        return status

    async def read(
        self, batches: Batches, id: str, like: LLMRequest | None = None, came: list[str] | None = None
    ) -> dict[str, LLMResponse | ProviderError]:
        found: dict[str, LLMResponse | ProviderError] = {}
        async for one in batches.results(id, like or ask("p")):
            found[one.custom_id] = one.outcome
            if came is not None:
                came.append(one.custom_id)
        return found

    async def test_results_come_by_their_ids(self, server: BatchServer, batches: Batches) -> None:
        """Each is the whole answer to its request, whatever their order, priced as in a batch."""
        status = await self.submitted(batches, "a", "b", "c")
        assert (status.state, status.total) == (BatchState.RUNNING, 3)
        status = await self.over(batches, status.id)
        assert (status.state, status.done, status.failed) == (BatchState.COMPLETED, 3, 0)
        found = await self.read(batches, status.id)
        assert {id: getattr(one, "text", None) for id, one in found.items()} == {
            "tag-0": "re: a",
            "tag-1": "re: b",
            "tag-2": "re: c",
        }
        costs = {one.cost for one in found.values() if isinstance(one, LLMResponse)}
        assert costs == {(5 * 1 + 3 * 2) * Decimal("0.5") / 1_000_000}

    async def test_the_bodies_are_those_of_calls(self, server: BatchServer, batches: Batches) -> None:
        """But for their being streamed; the server fails where that is asked for."""
        await self.submitted(batches, "a", system="Be brief.")
        (batch,) = server.batches.values()
        assert batch.items[0].heard.system == "Be brief."
        assert batch.items[0].body["model"] == "served"

    @pytest.mark.parametrize(
        ("fate", "kind", "retryable"),
        [
            ("400", ErrorKind.INVALID_REQUEST, False),
            ("500", ErrorKind.SERVER, True),
            ("expired", ErrorKind.TIMEOUT, True),
            ("nonsense", ErrorKind.MALFORMED, True),
        ],
    )
    async def test_a_request_that_failed(
        self, server: BatchServer, batches: Batches, fate: str, kind: ErrorKind, retryable: bool
    ) -> None:
        """It has an error of its own, without the key, and the others their answers."""
        server.fates = {"b": [fate]}
        status = await self.over(batches, (await self.submitted(batches, "a", "b")).id)
        assert (status.state is BatchState.EXPIRED) == (fate == "expired")
        found = await self.read(batches, status.id)
        error = found["tag-1"]
        assert isinstance(found["tag-0"], LLMResponse)
        assert isinstance(error, ProviderError)
        assert (error.kind, error.retryable) == (kind, retryable)
        assert (error.provider, error.model) == ("there", "served")
        assert KEY not in str(error)

    async def test_a_batch_that_is_cancelled(self, server: BatchServer, batches: Batches) -> None:
        """It comes to its end in time, and what was done by then has its results."""
        status = await self.submitted(batches, "a", "b")
        assert (await batches.cancel(status.id)).state is BatchState.CANCELLING
        status = await self.over(batches, status.id)
        assert status.state is BatchState.CANCELLED
        found = await self.read(batches, status.id)
        assert isinstance(found["tag-0"], LLMResponse)
        assert isinstance(found["tag-1"], ProviderError)
        assert (found["tag-1"].kind, found["tag-1"].retryable) == (ErrorKind.CANCELLED, False)

    async def test_a_batch_is_found_again(self, server: BatchServer, batches: Batches) -> None:
        """By its tag, or where none are kept by the number of its requests; however many came since."""
        status = await self.submitted(batches, "a", "b")
        for number in range(5):
            server.foreign(number + 3)
        since = status.created or 0.0
        found = await batches.find("tag", since, 2, ())
        assert found is not None
        assert (found.id, found.tag) == (status.id, "tag" if self.tagged else None)
        assert await batches.find("tag", since, 2, {status.id}) is None
        assert await batches.find("tag", since, 2 if self.tagged else 9, {status.id}) is None

    @pytest.mark.parametrize("fault", ["cut", "short"])
    async def test_a_download_that_is_not_whole(
        self, server: BatchServer, batches: Batches, fault: str
    ) -> None:
        """It fails after what had come, and may be tried again."""
        status = await self.over(batches, (await self.submitted(batches, "a", "b", "c")).id)
        server.trouble = {"results": [fault]}
        came: list[str] = []
        with pytest.raises(ProviderError) as failed:
            await self.read(batches, status.id, came=came)
        assert failed.value.retryable
        assert 0 < len(came) < 3
        assert len(await self.read(batches, status.id)) == 3

    @pytest.mark.parametrize("step", ["create", "list", "status", "cancel", "results"])
    async def test_a_refused_step(self, server: BatchServer, batches: Batches, step: str) -> None:
        """It says when to come again, as the server said."""
        status = await self.over(batches, (await self.submitted(batches, "a")).id)
        server.trouble = {step: ["429"]}
        steps: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            "create": lambda: self.submitted(batches, "b"),
            "list": lambda: batches.find("tag", 0.0, 1, ()),
            "status": lambda: batches.status(status.id),
            "cancel": lambda: batches.cancel(status.id),
            "results": lambda: self.read(batches, status.id),
        }
        with pytest.raises(ProviderError) as failed:
            await steps[step]()
        assert (failed.value.kind, failed.value.retry_after) == (ErrorKind.RATE_LIMIT, 7.0)

    async def test_an_answer_that_is_lost(self, server: BatchServer, batches: Batches) -> None:
        """The batch is there all the same, as finding it tells."""
        server.trouble = {"create": ["lost"]}
        with pytest.raises(ProviderError) as failed:
            await self.submitted(batches, "a")
        assert (failed.value.kind, failed.value.retryable) == (ErrorKind.CONNECTION, True)
        found = await batches.find("tag", 0.0, 1, ())
        assert found is not None
        assert found.id in server.batches

    async def test_structured_output(self, server: BatchServer, batches: Batches) -> None:
        """The value is checked; an answer that does not fit is an error that may pass."""
        server.fates = {"b": ["unfit"]}
        output = OutputSchema(json_schema=CITY)
        status = await self.over(batches, (await self.submitted(batches, "a", "b", output=output)).id)
        found = await self.read(batches, status.id, ask("p", output=output))
        good, bad = found["tag-0"], found["tag-1"]
        assert isinstance(good, LLMResponse)
        assert (good.output, good.output_mode) == ({"name": "Paris"}, "native")
        assert isinstance(bad, ProviderError)
        assert (bad.kind, bad.retryable) == (ErrorKind.BAD_OUTPUT, True)

    @pytest.mark.parametrize(
        ("fields", "kind"),
        [
            ({"tools": (ToolSpec(name="t", parameters={}),)}, ErrorKind.UNSUPPORTED),
            ({"extra_headers": {"x-a": "b"}}, ErrorKind.INVALID_REQUEST),
            ({"idempotency_key": "k"}, ErrorKind.INVALID_REQUEST),
            ({"provider_options": {"there": {"top_k": float("nan")}}}, ErrorKind.INVALID_REQUEST),
        ],
    )
    async def test_what_a_batch_cannot_hold(
        self, batches: Batches, fields: dict[str, Any], kind: ErrorKind
    ) -> None:
        """It is refused before anything is sent."""
        with pytest.raises(ProviderError) as failed:
            batches.line("tag-0", ask("a", **fields))
        assert (failed.value.kind, failed.value.phase) == (kind, ErrorPhase.REQUEST)


class TestOpenAIResponses(BatchConformance):
    endpoint: ClassVar = {"kind": "openai"}
    path = "/v1"

    async def test_a_batch_that_is_found_invalid(self, server: BatchServer, batches: Batches) -> None:
        """It says why, and which of its requests are to blame; a full queue may be waited for."""
        server.rejects = [
            [{"code": "invalid_request", "line": 2, "message": "bad line"}],
            [{"code": "token_limit_exceeded", "line": None, "message": "Enqueued token limit reached"}],
        ]
        status = await self.over(batches, (await self.submitted(batches, "a", "b")).id)
        assert (status.state, status.bad_lines) == (BatchState.FAILED, (2,))
        error = ProviderError.from_wire(status.error or {})
        assert (error.kind, error.retryable) == (ErrorKind.INVALID_REQUEST, False)
        status = await self.over(batches, (await self.submitted(batches, "a", "b")).id)
        error = ProviderError.from_wire(status.error or {})
        assert (error.kind, error.retryable) == (ErrorKind.RATE_LIMIT, True)


class TestOpenAIChat(TestOpenAIResponses):
    endpoint: ClassVar = {"kind": "openai", "api": "openai-chat"}


class TestAnthropic(BatchConformance):
    endpoint: ClassVar = {"kind": "anthropic"}
    tagged = False


@pytest.mark.parametrize(
    "endpoint",
    [
        {"kind": "gemini", "key_env": "THERE_KEY"},
        {"kind": "openai-compatible", "base_url": "http://127.0.0.1:9"},
        {"kind": "openai", "replay": "recordings"},
    ],
)
def test_others_take_no_batches(endpoint: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says who does."""
    monkeypatch.setenv("THERE_KEY", KEY)
    provider = open_provider("there", ProvidersOptions.model_validate({"endpoints": {"there": endpoint}}))
    with pytest.raises(ProviderError, match="openai and anthropic") as failed:
        provider.batches("there/m")
    assert (failed.value.kind, failed.value.phase) == (ErrorKind.UNSUPPORTED, ErrorPhase.REQUEST)
