"""The recorded exchanges, each with the codec that speaks its wire."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from llmgine.providers.catalogue.quirks import OPENAI, PLAIN
from llmgine.providers.codecs import (
    AnthropicMessagesCodec,
    Codec,
    GeminiCodec,
    OpenAIChatCodec,
    OpenAIResponsesCodec,
    Target,
)
from llmgine.providers.events import StreamEvent
from llmgine.providers.frames import JsonArraySplitter, Splitter, SseSplitter

ROOT = Path(__file__).resolve().parents[4]
FOLDER = Path(os.environ.get("RECORDINGS") or ROOT.parent / "shared" / "recordings")

PROVIDERS = {
    "openai-chat": "openai",
    "openai-responses": "openai",
    "anthropic-messages": "anthropic",
    "gemini": "gemini",
}


@dataclass(frozen=True)
class Exchange:
    """One request and its answer."""

    name: str
    file: str
    wire: str
    compatible: bool
    model: str
    request: Any
    status: int
    headers: dict[str, str]
    body: str

    @property
    def codec(self) -> Codec:
        match self.wire:
            case "openai-chat":
                return OpenAIChatCodec(PLAIN if self.compatible else OPENAI)
            case "openai-responses":
                return OpenAIResponsesCodec()
            case "anthropic-messages":
                return AnthropicMessagesCodec()
            case _:
                return GeminiCodec()

    @property
    def target(self) -> Target:
        return Target(PROVIDERS[self.wire], self.model)

    @property
    def streamed(self) -> bool:
        return self.status < 300 and not self.body.lstrip().startswith("{")

    @property
    def splitter(self) -> Splitter:
        return JsonArraySplitter() if self.body.lstrip().startswith("[") else SseSplitter()

    def pieces(self, *edges: int) -> list[bytes]:
        """The body cut at these places."""
        data = self.body.encode()
        places = [0, *sorted(edges), len(data)]
        return [data[start:stop] for start, stop in itertools.pairwise(places)]

    def play(self, pieces: list[bytes]) -> list[StreamEvent]:
        """The events of the streamed body as it came in these pieces."""
        splitter, decoder = self.splitter, self.codec.decoder(self.target)
        frames = [frame for piece in pieces for frame in splitter.feed(piece)]
        assert splitter.end() is False
        return [event for frame in frames for event in decoder.feed(*frame)] + decoder.end()


def _wire(path: str, body: str) -> str | None:
    endings = {
        "/messages": "anthropic-messages",
        "/chat/completions": "openai-chat",
        "/responses": "openai-responses",
        "enerateContent": "gemini",  # generateContent and streamGenerateContent
    }
    if not path and '"chat.completion"' in body:  # bodies alone, of servers that speak Chat Completions
        return "openai-chat"
    return next((wire for ending, wire in endings.items() if path.endswith(ending)), None)


def _model(path: str, request: Any) -> str:
    if "/models/" in path:
        return path.rpartition("/models/")[2].partition(":")[0]
    return str(request.get("model") or "recorded") if isinstance(request, dict) else "recorded"


def _read() -> list[Exchange]:
    index = FOLDER / "index.json"
    entries = json.loads(index.read_text(encoding="utf-8")) if index.exists() else []
    found: list[Exchange] = []
    for entry in entries:
        file = entry["file"]
        interactions = json.loads((FOLDER / file).read_text(encoding="utf-8"))["interactions"]
        for number, interaction in enumerate(interactions):
            url = urlsplit(interaction.get("url") or "")
            body, request = interaction.get("body") or "", interaction.get("request")
            wire = _wire(url.path, body)
            assert wire is not None, f"{file} is an exchange on no wire that is known"
            found.append(
                Exchange(
                    name=f"{file.removesuffix('.json')}-{number}",
                    file=file,
                    wire=wire,
                    compatible=url.netloc != "api.openai.com" or "openai_compat" in file,
                    model=_model(url.path, request),
                    request=request,
                    status=interaction["status"],
                    headers=interaction.get("headers") or {},
                    body=body,
                )
            )
    return found


ALL = _read()
STREAMS = [one for one in ALL if one.streamed]
BODIES = [one for one in ALL if one.status < 300 and not one.streamed]
ERRORS = [one for one in ALL if one.status >= 300]
# An answer and the request that came next on the same wire, which may replay it.
FOLLOWED = [
    (one, after)
    for one, after in itertools.pairwise(ALL)
    if one.file == after.file and one.wire == after.wire and max(one.status, after.status) < 300
]


def each(found: list[Any], argument: str = "exchange") -> pytest.MarkDecorator:
    """A test for each of them; without recordings one that is skipped with the reason."""
    absent = pytest.param(None, marks=pytest.mark.skip(reason=f"no recordings in {FOLDER}"))
    names = [getattr(one, "name", "") or one[0].name for one in found]
    return pytest.mark.parametrize(argument, found or [absent], ids=names or ["none"])
