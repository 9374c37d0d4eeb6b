"""Maps in batches through a runtime in this process, against a server of batches that goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from llmgine.runtime import (
    ErrorKind,
    InvalidRequest,
    LlmgineError,
    OutputInvalid,
    ProviderError,
    Reply,
    Runtime,
)
from llmgine.runtime.batches.notes import StoredNotes
from tests.providers.faults.batches import BatchServer

WIRES: dict[str, dict[str, Any]] = {
    "responses": {"kind": "openai"},
    "anthropic": {"kind": "anthropic"},
}
PROMPTS = ["a", "b", "c"]


class Stage:
    """A server, and runtimes on one store that reach it as `there`."""

    def __init__(self, server: BatchServer, store: Path, endpoint: dict[str, Any]) -> None:
        self.server = server
        path = "" if endpoint["kind"] == "anthropic" else "/v1"
        url = server.base_url + path
        self.settings: dict[str, Any] = {
            "providers": {"endpoints": {"there": {**endpoint, "base_url": url, "key_env": "THERE_KEY"}}},
            "pools": {"batches": {"first_pause": 0.001, "longest_pause": 0.001, "patience": 0.05}},
            "store": {"url": f"sqlite:///{store}"},
        }

    @asynccontextmanager
    async def runtime(self) -> AsyncIterator[Runtime]:
        async with Runtime.in_process(self.settings) as runtime:
            yield runtime

    async def map(self, prompts: list[str], **options: Any) -> list[Reply | LlmgineError]:
        async with self.runtime() as runtime:
            return await runtime.map(prompts, model="there/m", batch=True, **options)


@pytest.fixture
async def make(
    clean_environ: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[str], Stage]]:
    monkeypatch.setenv("THERE_KEY", "sk-thekeyitself")
    server = BatchServer()
    await server.start()
    yield lambda wire: Stage(server, tmp_path / "store.db", WIRES[wire])
    await server.stop()


@pytest.fixture(params=list(WIRES))
def stage(request: pytest.FixtureRequest, make: Callable[[str], Stage]) -> Stage:
    return make(request.param)


def texts(results: list[Reply | LlmgineError]) -> list[str]:
    return [
        result.text if isinstance(result, Reply) else getattr(result, "kind", type(result).__name__)
        for result in results
    ]


async def test_replies_stand_in_the_order_of_the_prompts(stage: Stage) -> None:
    """Though the results come in another, and some prompts only in a later batch."""
    stage.server.fates = {"b": ["500", "expired"], "c": ["missing"]}
    results = await stage.map(PROMPTS, system="Be brief.")
    assert texts(results) == ["re: a", "re: b", "re: c"]
    assert stage.server.asked == {"a": 1, "b": 3, "c": 2}
    first = results[0]
    assert isinstance(first, Reply)
    assert (first.model, first.session_id, first.usage.input_tokens) == ("there/served", "", 5)


async def test_a_failure_that_would_come_again(stage: Stage) -> None:
    """It is not asked again: it ends the map, or stands in its prompt's place."""
    stage.server.fates = {"b": ["400", "400"], "c": ["500", "500"]}
    results = await stage.map(PROMPTS, retries=1, return_exceptions=True)
    assert texts(results) == ["re: a", ErrorKind.INVALID_REQUEST, ErrorKind.SERVER]
    assert stage.server.asked == {"a": 1, "b": 1, "c": 2}
    with pytest.raises(ProviderError) as failed:
        await stage.map(PROMPTS)
    (said,) = failed.value.__notes__
    assert said.startswith("the prompt is number 1 of the map")


class City(BaseModel):
    name: str


class Town(City):
    name: str
    population: int = 0

    def model_post_init(self, context: Any) -> None:
        raise ValueError("there are no towns")


async def test_answers_come_as_the_type_that_was_asked_for(stage: Stage) -> None:
    """One that does not fit is asked anew; what the type refuses, as often as others."""
    stage.server.fates = {"b": ["unfit"]}
    results = await stage.map(["a", "b"], output=City)
    assert [getattr(one, "output", None) for one in results] == [City(name="Paris")] * 2
    assert stage.server.asked == {"a": 1, "b": 2}
    results = await stage.map(["t"], output=Town, retries=1, return_exceptions=True)
    assert isinstance(results[0], OutputInvalid)
    assert stage.server.asked["t"] == 2


async def test_many_prompts_make_several_batches(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more of them at a time than `concurrency` says."""
    for kind in ("openai.OpenAIBatchCodec", "anthropic.AnthropicBatchCodec"):
        monkeypatch.setattr(f"llmgine.providers.batches.{kind}.most_requests", 2)
    most = 0
    take = stage.server.admit

    def admit(batch: Any) -> Any:
        nonlocal most
        taken = take(batch)
        most = max(most, sum(not one.over for one in stage.server.batches.values()))
        return taken

    monkeypatch.setattr(stage.server, "admit", admit)
    prompts = [str(number) for number in range(9)]
    assert texts(await stage.map(prompts, concurrency=2)) == [f"re: {prompt}" for prompt in prompts]
    assert [len(batch.items) for batch in stage.server.batches.values()] == [2, 2, 2, 2, 1]
    assert most == 2


async def test_bytes_bound_a_batch_too(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt that no batch can hold is refused, and the others are asked."""
    monkeypatch.setattr("llmgine.providers.calls.batches.HttpBatches.most_bytes", 1_000)
    prompts = ["a" * 400, "b" * 400, "c" * 2_000, "d"]
    results = await stage.map(prompts, return_exceptions=True)
    assert [text[-1] for text in texts(results)] == ["a", "b", "t", "d"]
    assert texts(results)[2] == ErrorKind.INVALID_REQUEST
    assert len(stage.server.batches) == 2
    with pytest.raises(ProviderError) as failed:
        await stage.map(prompts[2:])
    (said,) = failed.value.__notes__
    assert said.startswith("the prompt is number 0 of the map")
    assert len(stage.server.batches) == 2


FAULTS = [
    {"create": ["500", "lost"]},
    {"create": ["lost"], "list": ["429"]},
    {"status": ["500", "lost"]},
    {"results": ["cut", "short", "500", "lost"]},
]


@pytest.mark.parametrize("trouble", FAULTS, ids=str)
async def test_what_may_pass_is_tried_again(stage: Stage, trouble: dict[str, list[str]]) -> None:
    """Without a prompt being asked twice."""
    stage.server.trouble = {step: list(faults) for step, faults in trouble.items()}
    stage.settings["pools"]["batches"]["patience"] = 60.0
    stage.server.retry_after = "0.001"
    assert texts(await stage.map(PROMPTS)) == ["re: a", "re: b", "re: c"]
    assert stage.server.asked == dict.fromkeys(PROMPTS, 1)
    assert not any(stage.server.trouble.values())


async def test_patience_comes_to_an_end(stage: Stage) -> None:
    """A provider that goes on failing ends the map, or each of its prompts."""
    stage.server.trouble = {"create": ["500"] * 200}
    results = await stage.map(PROMPTS, return_exceptions=True)
    assert texts(results) == [ErrorKind.SERVER] * 3
    stage.server.trouble = {"status": ["401"] * 4}
    with pytest.raises(ProviderError) as failed:
        await stage.map(PROMPTS)
    assert failed.value.kind is ErrorKind.AUTHENTICATION


async def test_a_queue_that_is_full_is_waited_for(make: Callable[[str], Stage]) -> None:
    """A batch that the provider had no room for is tried again; a bad line is taken out of it."""
    stage = make("responses")
    full = {"code": "token_limit_exceeded", "line": None, "message": "Enqueued token limit reached"}
    bad = {"code": "invalid_request", "line": 2, "message": "bad line"}
    stage.server.rejects = [[full], [bad]]
    results = await stage.map(PROMPTS, retries=1, return_exceptions=True)
    assert texts(results) == ["re: a", ErrorKind.INVALID_REQUEST, "re: c"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tools": [print]}, "tools"),
        ({"placement": "pooled", "stay": True}, "placement, stay"),
        ({"concurrency": 0}, "concurrency"),
        ({"deadline": 0}, "deadline"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    make: Callable[[str], Stage], options: dict[str, Any], said: str
) -> None:
    """Before anything is sent."""
    stage = make("responses")
    with pytest.raises(InvalidRequest, match=said):
        await stage.map(PROMPTS, **options)
    assert stage.server.steps == []


async def test_a_provider_without_batches(clean_environ: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said before anything is sent, and as the error of the whole map."""
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    async with Runtime.in_process() as runtime:
        with pytest.raises(ProviderError, match="openai and anthropic do") as failed:
            await runtime.map(PROMPTS, model="gemini/m", batch=True, return_exceptions=True)
        assert failed.value.kind is ErrorKind.UNSUPPORTED


async def test_one_model_answers_a_batch(make: Callable[[str], Stage]) -> None:
    """A name that stands for several is refused."""
    stage = make("responses")
    stage.settings["providers"]["aliases"] = {"best": ["there/m", "there/n"]}
    async with stage.runtime() as runtime:
        for model in ("best", ["there/m", "there/n"]):
            with pytest.raises(InvalidRequest, match="one model"):
                await runtime.map(PROMPTS, model=model, batch=True)
        stage.server.rounds = 0
        assert len(await runtime.map(PROMPTS, model=["there/m"], batch=True)) == 3


# Where a driver may die: a step of the server, before or after it is done; or a note, before or after.
DEATHS = [
    *[(step, how) for step in ("create", "status", "results") for how in ("hold", "held")],
    *[(note, how) for note in ("begun", "taken", "over") for how in ("before", "after")],
]


async def died(stage: Stage, at: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map whose driver goes at that moment and writes nothing more."""
    reached, real = stage.server.reached, getattr(StoredNotes, at, None)
    if real is None:
        stage.server.trouble = {at: [how]}
    else:

        async def note(self: StoredNotes, note: Any) -> None:
            if how == "after":
                await real(self, note)
            reached.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(StoredNotes, at, note)
    async with stage.runtime() as runtime:
        mapping = asyncio.create_task(runtime.map(PROMPTS, model="there/m", batch=True, name="m"))
        await asyncio.wait_for(reached.wait(), 20)
        mapping.cancel()
        await asyncio.gather(mapping, return_exceptions=True)
    if real is not None:
        monkeypatch.setattr(StoredNotes, at, real)


@pytest.mark.parametrize(("at", "how"), DEATHS)
async def test_a_map_goes_on_where_its_driver_died(
    stage: Stage, at: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what the provider has done since, without a prompt being asked twice; and with more prompts."""
    await died(stage, at, how, monkeypatch)
    results = await stage.map([*PROMPTS, "d"], name="m")
    assert texts(results) == ["re: a", "re: b", "re: c", "re: d"]
    assert stage.server.asked == dict.fromkeys([*PROMPTS, "d"], 1)


@pytest.mark.parametrize("how", ["hold", "held"])
async def test_a_batch_stays_with_its_key(stage: Stage, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """No other key would find it; which one it was is noted before it is submitted."""
    monkeypatch.setenv("OTHER_KEY", "sk-theotherkey")
    endpoint = stage.settings["providers"]["endpoints"]["there"]
    del endpoint["key_env"]
    names = ["first", "second"]
    keys = [{"name": "first", "env": "THERE_KEY"}, {"name": "second", "env": "OTHER_KEY"}]
    endpoint["keys"] = keys
    await died(stage, "create", how, monkeypatch)
    used = {key_of(call) for call in stage.server.calls}
    endpoint["keys"] = keys[::-1]
    assert texts(await stage.map(PROMPTS, name="m")) == ["re: a", "re: b", "re: c"]
    assert stage.server.asked == dict.fromkeys(PROMPTS, 1)
    if how == "held":
        assert {key_of(call) for call in stage.server.calls} == used, names


def key_of(call: Any) -> str:
    key: str = call.headers.get("authorization") or call.headers["x-api-key"]
    return key


async def test_a_file_that_made_no_batch(
    make: Callable[[str], Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that died over its upload has asked for nothing yet."""
    stage = make("responses")
    await died(stage, "upload", "held", monkeypatch)
    assert texts(await stage.map(PROMPTS, name="m")) == ["re: a", "re: b", "re: c"]
    assert stage.server.asked == dict.fromkeys(PROMPTS, 1)


async def test_a_batch_of_somebody_else_is_left_alone(
    make: Callable[[str], Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a provider keeps no tags, one of as many requests may be it until its results tell."""
    stage = make("anthropic")
    await died(stage, "begun", "after", monkeypatch)
    theirs = stage.server.foreign(3)
    assert texts(await stage.map(PROMPTS, name="m")) == ["re: a", "re: b", "re: c"]
    assert not theirs.cancelled
    assert stage.server.asked == {"theirs": 3, **dict.fromkeys(PROMPTS, 1)}


async def test_a_finished_map_is_read_again(stage: Stage) -> None:
    """Nothing is asked again but what had failed."""
    stage.server.fates = {"b": ["400"]}
    first = await stage.map(PROMPTS, name="m", return_exceptions=True)
    assert texts(first) == ["re: a", ErrorKind.INVALID_REQUEST, "re: c"]
    assert texts(await stage.map(PROMPTS, name="m")) == ["re: a", "re: b", "re: c"]
    assert stage.server.asked == {"a": 1, "b": 2, "c": 1}


async def test_a_map_that_runs_twice(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The later one goes on; the earlier one can submit nothing more."""
    stage.server.trouble = {"create": ["500", "hold"]}
    stage.settings["pools"]["batches"]["patience"] = 60.0
    async with stage.runtime() as runtime:

        def start() -> asyncio.Task[Any]:
            return asyncio.create_task(runtime.map(PROMPTS, model="there/m", batch=True, name="m"))

        first = start()
        await asyncio.wait_for(stage.server.reached.wait(), 20)
        assert texts(await asyncio.wait_for(start(), 20)) == ["re: a", "re: b", "re: c"]
        stage.server.drop()
        with pytest.raises(InvalidRequest, match="started again elsewhere"):
            await asyncio.wait_for(first, 20)
    assert stage.server.asked == dict.fromkeys(PROMPTS, 1)


async def test_a_batch_that_is_cancelled_at_once(stage: Stage) -> None:
    """Before its map has asked about it for the first time, which is no reason to ask for it again."""
    stage.server.rounds = 0
    take = stage.server.admit

    def admit(batch: Any) -> Any:
        batch.rounds = 1
        stage.server.cancel(take(batch))
        return batch

    stage.server.admit = admit  # type: ignore[method-assign]
    results = await stage.map(PROMPTS, name="m", return_exceptions=True)
    assert texts(results) == ["re: a", ErrorKind.CANCELLED, ErrorKind.CANCELLED]
    assert stage.server.asked == dict.fromkeys(PROMPTS, 1)


@pytest.mark.parametrize("taken_up", [False, True])
async def test_a_map_can_be_cancelled_by_its_name(
    stage: Stage, taken_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done by then stays, also for a later map of that name, which asks for the rest anew."""
    stage.server.rounds = 10**9
    if taken_up:
        await died(stage, "taken", "after", monkeypatch)
        stage.server.reached.clear()
    stage.server.trouble = {"status": ["", "hold"]}
    async with stage.runtime() as runtime:
        mapping = asyncio.create_task(
            runtime.map(PROMPTS, model="there/m", batch=True, name="m", return_exceptions=True)
        )
        await asyncio.wait_for(stage.server.reached.wait(), 20)
        assert await runtime.cancel_map("m") == 1
        for batch in stage.server.batches.values():
            batch.rounds = 0
        stage.server.drop()
        results = await asyncio.wait_for(mapping, 20)
        assert texts(results) == ["re: a", ErrorKind.CANCELLED, ErrorKind.CANCELLED]
        assert await runtime.cancel_map("m") == 0
    stage.server.rounds = 1
    assert texts(await stage.map(PROMPTS, name="m")) == ["re: a", "re: b", "re: c"]
    assert stage.server.asked == {"a": 1, "b": 2, "c": 2}


async def test_a_map_without_a_name_that_is_given_up(stage: Stage, eventually: Any) -> None:
    """Nobody could take it up again, so its batches are cancelled."""
    stage.server.rounds = 10**9
    stage.server.trouble = {"status": ["hold"]}
    async with stage.runtime() as runtime:
        mapping = asyncio.create_task(runtime.map(PROMPTS, model="there/m", batch=True))
        await asyncio.wait_for(stage.server.reached.wait(), 20)
        mapping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await mapping
    assert [batch.cancelled for batch in stage.server.batches.values()] == [True]
