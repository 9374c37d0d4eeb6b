"""What the codec case feeds to everyone, and the environments of the peers that cannot live beside us."""

from __future__ import annotations

import json
import subprocess
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from benchmarks import answers, environments
from benchmarks.contract import Effort, Peer, Violation
from benchmarks.harness import missing
from benchmarks.registry import PEERS

WIRES = ("openai_chat", "openai_responses", "anthropic", "gemini")
PEER = Peer("guest", "a guest", environment=("guest[all]>=1.2", "other"))


def said(wire: str, frame: dict[str, Any]) -> str:
    match wire:
        case "openai_chat":
            return "".join(choice["delta"].get("content", "") for choice in frame["choices"])
        case "openai_responses":
            return str(frame["delta"]) if frame["type"] == "response.output_text.delta" else ""
        case "anthropic":
            return str(frame["delta"]["text"]) if frame["type"] == "content_block_delta" else ""
        case _:
            return str(frame["candidates"][0]["content"]["parts"][0]["text"])


@pytest.mark.parametrize("wire", WIRES)
async def test_a_prepared_answer_says_its_pieces_frame_by_frame(wire: str) -> None:
    """Each read gives one frame, and what the frames say is what is expected of every contender."""
    async with (
        answers.client(httpx2, wire) as client,
        client.stream("POST", "http://prepared/") as response,
    ):
        chunks = [chunk async for chunk in response.aiter_raw()]
    assert chunks == answers.frames(wire)
    assert all(chunk.endswith((b"\n\n", b"\r\n\r\n")) and chunk.count(b"data: ") == 1 for chunk in chunks)
    payloads = [chunk.partition(b"data: ")[2] for chunk in chunks]
    texts = [said(wire, json.loads(payload)) for payload in payloads if not payload.startswith(b"[DONE]")]
    assert [text for text in texts if text] == answers.pieces(wire)
    assert len(answers.pieces(wire)) == answers.CHUNKS


async def test_a_contender_that_loses_text_has_no_figure() -> None:
    """The figure is CPU per chunk, and only where the text came out whole."""

    async def whole() -> str:
        return "".join(answers.pieces("gemini"))

    async def less() -> str:
        return (await whole())[1:]

    figures = await answers.us_per_chunk({"gemini": whole}, Effort(1, 0.001))
    assert list(figures) == ["us_per_chunk_gemini"]
    assert figures["us_per_chunk_gemini"] > 0
    with pytest.raises(Violation, match="gemini came out differently"):
        await answers.us_per_chunk({"gemini": less}, Effort(1, 0.001))


@pytest.fixture
def installs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What would have been installed, without pip."""
    calls: list[list[str]] = []

    def create(folder: Path, **options: Any) -> None:
        (folder / "bin").mkdir(parents=True)

    monkeypatch.setattr(venv, "create", create)
    monkeypatch.setattr(environments, "_install", lambda interpreter, wanted: calls.append(wanted))
    return calls


def test_an_environment_is_made_once(tmp_path: Path, installs: list[list[str]]) -> None:
    """A second run finds it; other requirements make it anew."""
    assert environments.prepare(PEER, tmp_path) == environments.prepare(PEER, tmp_path) == ""
    assert installs == [["uvloop", "guest[all]>=1.2", "other"]]
    (tmp_path / "guest" / "installed.txt").write_text("older", encoding="utf-8")
    (tmp_path / "guest" / "bin").rmdir()
    assert environments.prepare(PEER, tmp_path) == ""
    assert len(installs) == 2


def test_an_environment_that_cannot_be_made_names_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installs: list[list[str]]
) -> None:
    """The last line of pip's words, and the next run tries again."""

    def fail(interpreter: Path, wanted: list[str]) -> None:
        raise subprocess.CalledProcessError(1, ["pip"], stderr="one\nERROR: no such thing\n\n")

    monkeypatch.setattr(environments, "_install", fail)
    reason = "its environment cannot be made: ERROR: no such thing"
    assert environments.prepare(PEER, tmp_path) == reason
    assert not (tmp_path / "guest" / "installed.txt").exists()


def test_versions_are_those_of_the_environment(tmp_path: Path) -> None:
    """Only of what it was made for."""
    place = tmp_path / "guest" / "lib" / "python3.11" / "site-packages"
    for name in ("guest", "bystander"):
        about = place / f"{name}-1.3.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.3\n", "utf-8")
    assert environments.versions(PEER, tmp_path) == {"guest": "1.3"}


def test_a_peer_with_an_environment_is_prepared_when_it_is_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether it is missing is what making its environment says, and its own interpreter runs it."""
    prepare: Callable[[Peer], str] = lambda peer: f"no {peer.name}"  # noqa: E731
    monkeypatch.setattr(environments, "prepare", prepare)
    assert missing(PEERS["litellm"]) == "no litellm"
    assert environments.python(PEERS["litellm"]) != environments.python(PEERS["sdk"])
