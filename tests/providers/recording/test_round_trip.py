"""What is recorded of a server plays back as if the server were there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llmgine.providers.contracts import (
    EmbeddingRequest,
    LLMRequest,
    Message,
    TextPart,
    ToolResultPart,
    ToolSpec,
)
from llmgine.providers.errors import ErrorKind
from llmgine.providers.events import Done, Failed, StreamEvent, TextDelta
from llmgine.providers.options import ProvidersOptions
from llmgine.providers.provider import Provider
from llmgine.providers.registry import open_provider

if TYPE_CHECKING:
    from tests.providers.faults.server import FaultServer

SECRET = "sk-secret-0123456789"
PATHS = {"openai-chat": "/v1", "openai-responses": "/v1", "anthropic-messages": "", "gemini": ""}
KINDS = {"anthropic-messages": "anthropic", "gemini": "gemini"}
ADD = ToolSpec(
    name="add",
    parameters={"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
)
FAULTS = [
    "ok",
    "think",
    "parallel",
    "json",
    "bytewise",
    "unknown",
    "cut",
    "reset",
    "clean-end",
    "malformed",
    "error-frame",
    "status.429.retry-after",
    "status.529",
]


@pytest.fixture(params=list(PATHS))
def endpoint(request: pytest.FixtureRequest, fault_server: FaultServer) -> dict[str, Any]:
    """An endpoint of each protocol."""
    kind = KINDS.get(request.param, "openai-compatible")
    url = fault_server.base_url + PATHS[request.param]
    return {"kind": kind, "api": request.param, "base_url": url, "headers": {"x-site": "lab"}}


def opened(endpoint: dict[str, Any], **settings: Any) -> Provider:
    return open_provider(
        "there", ProvidersOptions.model_validate({"endpoints": {"there": endpoint}, **settings})
    )


def recording(
    endpoint: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch, **more: Any
) -> Provider:
    monkeypatch.setenv("THERE_KEY", SECRET)
    return opened({**endpoint, "key_env": "THERE_KEY"}, record={"folder": folder, **more})


def ask(model: str, *messages: Message, **fields: Any) -> LLMRequest:
    return LLMRequest(model=f"there/{model}", messages=messages or (Message.user("Hi"),), **fields)


async def heard(provider: Provider, request: LLMRequest, session: str = "") -> list[StreamEvent]:
    return [event async for event in provider.stream(request, session=session)]


def told(events: list[StreamEvent]) -> list[Any]:
    """Events as plain values; ids of calls that are made here differ from one time to the next."""
    last = events[-1]
    assert isinstance(last, Done | Failed)
    end: Any = last.response.model_dump(mode="json") if isinstance(last, Done) else last.error.to_wire()
    if isinstance(last, Failed):
        end["message"] = end["message"].replace("*" * len(SECRET), "[key]")
    partial = last.partial if isinstance(last, Failed) else None
    return [*events[:-1], end, partial]


def everything_in(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.iterdir())


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_recording_plays_as_it_was(
    endpoint: dict[str, Any],
    fault: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault_server: FaultServer,
) -> None:
    """Answers and failures come again event for event, without the server, a key or what was told of it."""
    request = ask(fault, tools=(ADD,) if fault == "parallel" else ())
    live = recording(endpoint, tmp_path, monkeypatch)
    first = await heard(live, request, "s1")
    await live.aclose()
    monkeypatch.delenv("THERE_KEY")
    player = opened({**endpoint, "replay": tmp_path})
    again = await heard(player, request)
    await player.aclose()
    assert told(again) == told(first)
    assert len(fault_server.calls) == 1
    assert SECRET not in everything_in(tmp_path)


async def test_a_conversation_plays_through(
    endpoint: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn whose history holds ids that were made here is found again; another question is not."""

    async def converse(provider: Provider) -> str:
        asked = Message.user("Add 2 and 2.")
        first = (await heard(provider, ask("missing-ids", asked, tools=(ADD,))))[-1]
        assert isinstance(first, Done)
        (call,) = first.response.tool_calls
        result = ToolResultPart(call_id=call.id, name=call.name, content=(TextPart(text="4"),))
        history = (asked, first.response.message, Message(role="tool", parts=(result,)))
        last = (await heard(provider, ask("missing-ids", *history, tools=(ADD,))))[-1]
        assert isinstance(last, Done)
        return last.response.text

    live = recording(endpoint, tmp_path, monkeypatch)
    said = await converse(live)
    await live.aclose()
    player = opened({**endpoint, "replay": tmp_path})
    assert await converse(player) == said == "It is 4."
    failed = (await heard(player, ask("missing-ids", Message.user("Other?"), tools=(ADD,))))[-1]
    assert isinstance(failed, Failed)
    assert failed.error.kind is ErrorKind.INVALID_REQUEST
    assert '"Other?" is asked, "Add 2 and 2." was recorded' in failed.error.message
    await player.aclose()


async def test_a_call_that_was_left_plays_up_to_there(
    endpoint: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What had come when the reader left is played, then the connection is gone."""
    live = recording(endpoint, tmp_path, monkeypatch)
    stream: Any = live.stream(ask("stall"))
    async for event in stream:
        if isinstance(event, TextDelta):
            break
    await stream.aclose()
    await live.aclose()
    player = opened({**endpoint, "replay": tmp_path})
    last = (await heard(player, ask("stall")))[-1]
    await player.aclose()
    assert isinstance(last, Failed)
    assert last.error.kind is ErrorKind.CONNECTION
    assert last.partial is not None
    assert last.partial.text == "Hello"


@pytest.mark.parametrize("transport", ["google-genai", "google-generativeai"])
async def test_gemini_s_transports_play_each_other_s(
    fault_server: FaultServer, transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one package recorded plays whichever package is set."""
    endpoint = {"kind": "gemini", "base_url": fault_server.base_url}
    live = recording({**endpoint, "transport": "google-generativeai"}, tmp_path, monkeypatch)
    assert isinstance((await heard(live, ask("ok")))[-1], Done)
    assert isinstance((await heard(live, ask("cut")))[-1], Failed)
    await live.aclose()
    player = opened({**endpoint, "transport": transport, "replay": tmp_path})
    whole = (await heard(player, ask("ok")))[-1]
    assert isinstance(whole, Done)
    assert whole.response.text == "Hello big world"
    cut = (await heard(player, ask("cut")))[-1]
    assert isinstance(cut, Failed)
    assert cut.error.kind is ErrorKind.CONNECTION
    await player.aclose()


async def test_embeddings_play_too(
    fault_server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors are recorded like answers, under the session that asked for them."""
    endpoint = {"base_url": f"{fault_server.base_url}/v1"}
    request = EmbeddingRequest(model="there/e", inputs=("one", "three"))
    live = recording(endpoint, tmp_path, monkeypatch)
    first = await live.embed(request, session="s")
    await live.aclose()
    assert '"session": "s"' in everything_in(tmp_path)
    player = opened({**endpoint, "replay": tmp_path})
    assert (await player.embed(request)).vectors == first.vectors
    await player.aclose()


async def test_only_listed_sessions_are_recorded(
    endpoint: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session that a call is made for decides, and nothing is written where the filter leaves all out."""
    live = recording(endpoint, tmp_path / "tapes", monkeypatch, sessions=["mine"])
    await heard(live, ask("ok"), "yours")
    await heard(live, ask("ok"), "mine")
    await heard(live, ask("ok"))
    await live.aclose()
    (path,) = (tmp_path / "tapes").iterdir()
    assert "-mine-" in path.name


def test_a_player_needs_no_sdk(tmp_path: Path) -> None:
    """Playing imports no SDK."""
    script = (
        "import sys\n"
        "from llmgine.providers.options import ProvidersOptions\n"
        "from llmgine.providers.registry import open_provider\n"
        f"endpoints = {{'openai': {{'replay': {str(tmp_path)!r}}}}}\n"
        "open_provider('openai', ProvidersOptions.model_validate({'endpoints': endpoints}))\n"
        "print([name for name in ('openai', 'anthropic', 'google.genai') if name in sys.modules])\n"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_what_has_no_exchanges_is_not_replayed() -> None:
    """A scripted endpoint with `replay` is a mistake of the settings."""
    with pytest.raises(ValueError, match="replay is for servers"):
        ProvidersOptions.model_validate({"endpoints": {"scripted": {"replay": "x"}}})
