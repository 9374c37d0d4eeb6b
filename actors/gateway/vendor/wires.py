"""The three ways in which vendors ask for an answer, each as its two directions of translation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from llmgine.actors.gateway.vendor.chat.request import read_chat
from llmgine.actors.gateway.vendor.chat.response import completion
from llmgine.actors.gateway.vendor.chat.stream import ChatStream
from llmgine.actors.gateway.vendor.failures import Vendor
from llmgine.actors.gateway.vendor.frames import Telling
from llmgine.actors.gateway.vendor.messages.request import read_messages
from llmgine.actors.gateway.vendor.messages.response import message
from llmgine.actors.gateway.vendor.messages.stream import MessagesStream
from llmgine.actors.gateway.vendor.reading import Asked
from llmgine.actors.gateway.vendor.responses.output import Head, response
from llmgine.actors.gateway.vendor.responses.request import read_responses
from llmgine.actors.gateway.vendor.responses.stream import ResponsesStream
from llmgine.providers.contracts import LLMResponse, Origin


@dataclass(frozen=True, slots=True)
class Answering:
    """One answer: `id` without the vendor's prefix, when it was made in seconds since 1970, to what."""

    id: str
    created: int
    asked: Asked
    session: str | None = None

    @property
    def model(self) -> str:
        """The name that the client gave, which every piece of an answer has to repeat."""
        return self.asked.request.model


class Wire(Protocol):
    """One vendor's way; `path` is below /v1."""

    path: ClassVar[str]
    vendor: ClassVar[Vendor]

    def read(self, body: Any, target: Origin | None, headers: Mapping[str, str]) -> Asked:
        """The request; `RequestRefused` for what cannot be asked of the model behind `target`."""
        ...

    def whole(self, answer: LLMResponse, of: Answering) -> dict[str, Any]: ...

    def telling(self, of: Answering) -> Telling: ...


class ChatWire:
    path: ClassVar[str] = "/chat/completions"
    vendor: ClassVar[Vendor] = "openai"

    def read(self, body: Any, target: Origin | None, headers: Mapping[str, str]) -> Asked:
        return read_chat(body, target, headers)

    def whole(self, answer: LLMResponse, of: Answering) -> dict[str, Any]:
        return completion(answer, id=f"chatcmpl-{of.id}", created=of.created, model=of.model)

    def telling(self, of: Answering) -> Telling:
        usage = of.asked.include_usage
        return ChatStream(id=f"chatcmpl-{of.id}", created=of.created, model=of.model, include_usage=usage)


class ResponsesWire:
    path: ClassVar[str] = "/responses"
    vendor: ClassVar[Vendor] = "openai"

    def read(self, body: Any, target: Origin | None, headers: Mapping[str, str]) -> Asked:
        return read_responses(body, target, headers)

    def whole(self, answer: LLMResponse, of: Answering) -> dict[str, Any]:
        return response(answer, self._head(of))

    def telling(self, of: Answering) -> Telling:
        return ResponsesStream(self._head(of))

    def _head(self, of: Answering) -> Head:
        return Head(response_id(of.id, of.session), of.created, of.model, of.asked.echo, of.session)


class MessagesWire:
    path: ClassVar[str] = "/messages"
    vendor: ClassVar[Vendor] = "anthropic"

    def read(self, body: Any, target: Origin | None, headers: Mapping[str, str]) -> Asked:
        return read_messages(body, target, headers)

    def whole(self, answer: LLMResponse, of: Answering) -> dict[str, Any]:
        return message(answer, id=f"msg_{of.id}", model=of.model)

    def telling(self, of: Answering) -> Telling:
        return MessagesStream(id=f"msg_{of.id}", model=of.model)


WIRES: tuple[Wire, ...] = (ChatWire(), ResponsesWire(), MessagesWire())


def response_id(id: str, session: str | None) -> str:
    """The id of an answer; one that was made in a session names it, so that it can be gone on from."""
    return f"resp_{id}" if session is None else f"resp_{id}.{session}"


def turn_of_response(id: str) -> tuple[str, str] | None:
    """The session and the key of the turn that made an answer; None for one that was made in none."""
    key, dot, session = id.removeprefix("resp_").partition(".")
    return (session, key) if dot and session and id.startswith("resp_") else None
