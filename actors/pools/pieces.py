"""A request on its way to a provider actor: its head, and each tool and message by itself, as JSON.

A conversation's next request is the last one and a little more. So who sends it keeps the JSON of what it
has sent, and who reads it keeps what that came to: either does anew only what is new. Kept is only what
comes a second time, so that single requests pay nothing for it, within a bound of bytes, and as long as
nobody changes a dict or a list inside it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar
from weakref import ref

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, from_json

from llmgine.providers import InvalidRequest, LLMRequest, Message
from llmgine.providers.contracts import ToolSpec
from llmgine.providers.mistakes import mistakes

_K = TypeVar("_K")
_V = TypeVar("_V")
_Piece = TypeVar("_Piece", ToolSpec, Message)

_MOST_WRITTEN: Final = 16 << 20
_MOST_READ: Final = 32 << 20
# About how many bytes a piece takes beside those of its JSON, unread and read.
_WRITTEN: Final = 500
_READ: Final = 2_500

_MOST_SEEN: Final = 4 << 20
_SEEN: Final = 100

_APART: Final = {"tools", "messages"}
_PLAIN: Final = (str, bytes, int, float, type(None))
_TOOL: Final = TypeAdapter(ToolSpec)
_MESSAGE: Final = TypeAdapter(Message)


class Body(NamedTuple):
    """A request in its wire form."""

    head: bytes
    tools: list[bytes]
    messages: list[bytes]


class Recent(Generic[_K, _V]):
    """What was used lately, up to `most` bytes; something of more than half of that is not kept.

    What is asked for moves to the younger half, and the older one goes as a whole once the younger is full.
    """

    def __init__(self, most: int) -> None:
        self._half = most // 2
        self._size = 0
        self._young: dict[_K, tuple[_V, int]] = {}
        self._old: dict[_K, tuple[_V, int]] = {}

    def get(self, key: _K) -> _V | None:
        found = self._young.get(key)
        if found is not None:
            return found[0]
        found = self._old.pop(key, None)
        if found is None:
            return None
        self.keep(key, *found)
        return found[0]

    def keep(self, key: _K, value: _V, size: int) -> None:
        """Over what was kept under the key."""
        if size > self._half:
            return
        _, before = self._young.pop(key, (None, 0))
        self._size += size - before
        if self._size > self._half:
            self._old, self._young, self._size = self._young, {}, size
        self._young[key] = value, size

    @property
    def size(self) -> int:
        """Bytes of all that is kept."""
        return sum(size for half in (self._young, self._old) for _, size in half.values())


class _Written(NamedTuple):
    piece: ref[ToolSpec | Message]
    insides: list[Any]  # the dicts and lists in the piece
    were: list[Any]  # copies of them
    json: bytes


class _Read(NamedTuple):
    piece: ToolSpec | Message
    insides: list[Any]
    were: list[Any]


class RequestWriter:
    """Writes requests; one per process. A piece is known again by its identity, and not kept alive."""

    def __init__(self, most: int = _MOST_WRITTEN) -> None:
        self.kept: Recent[int, _Written] = Recent(most)
        self._seen: Recent[int, bool] = Recent(_MOST_SEEN)

    def write(self, request: LLMRequest) -> Body:
        """Raises `InvalidRequest` for what is no JSON."""
        try:
            head, tools = written_head(request), self._pieces(_TOOL, request.tools)
            return Body(head, tools, self._pieces(_MESSAGE, request.messages))
        except PydanticSerializationError as error:
            raise unwritable(error) from None

    def _pieces(self, kind: TypeAdapter[_Piece], pieces: Sequence[_Piece]) -> list[bytes]:
        found = []
        for piece in pieces:
            kept = self.kept.get(id(piece))
            if kept is not None and kept.piece() is piece and kept.insides == kept.were:
                found.append(kept.json)
            else:
                found.append(self._new(kind, piece))
        return found

    def _new(self, kind: TypeAdapter[_Piece], piece: _Piece) -> bytes:
        json = kind.serializer.to_json(piece)
        if self._seen.get(id(piece)):
            with contextlib.suppress(TypeError):
                written = _Written(ref(piece), *_insides(piece), json)
                self.kept.keep(id(piece), written, len(json) + _WRITTEN)
        else:
            self._seen.keep(id(piece), True, _SEEN)
        return json


class RequestReader:
    """Reads what a `RequestWriter` wrote; requests share pieces of the same JSON."""

    def __init__(self, most: int = _MOST_READ) -> None:
        self.kept: Recent[bytes, _Read] = Recent(most)
        self._seen: Recent[int, bool] = Recent(_MOST_SEEN)

    def read(self, body: Sequence[Any]) -> LLMRequest:
        """Of a `Body`; raises `InvalidRequest`."""
        try:
            head, tools, messages = body
            fields = from_json(head)
            fields["tools"] = self._pieces("tools", _TOOL, tools)
            fields["messages"] = self._pieces("messages", _MESSAGE, messages)
            return LLMRequest.model_validate(fields)
        except ValidationError as error:
            raise unreadable(mistakes(error)) from None
        except (TypeError, ValueError):
            raise unreadable("it is not in the pieces that a request travels in") from None

    def _pieces(self, field: str, kind: TypeAdapter[_Piece], pieces: list[bytes]) -> list[Any]:
        found: list[Any] = []
        for json in pieces:
            kept = self.kept.get(json)
            if kept is not None and kept.insides == kept.were:
                found.append(kept.piece)
                continue
            try:
                found.append(self._new(kind, json))
            except ValidationError as error:
                raise unreadable(mistakes(error, below=f"{field}.{len(found)}")) from None
        return found

    def _new(self, kind: TypeAdapter[_Piece], json: bytes) -> _Piece:
        piece: _Piece = kind.validator.validate_json(json)
        if self._seen.get(hash(json)):
            self.kept.keep(json, _Read(piece, *_insides(piece)), 2 * len(json) + _READ)
        else:
            self._seen.keep(hash(json), True, _SEEN)
        return piece


def written_head(request: LLMRequest) -> bytes:
    """All of the request but its tools and messages."""
    return request.model_dump_json(exclude=_APART, exclude_defaults=True).encode()


def unwritable(error: PydanticSerializationError) -> InvalidRequest:
    """For what cannot be sent."""
    return InvalidRequest(f"the request cannot be sent as JSON: {error}")


def unreadable(why: str) -> InvalidRequest:
    """For what was sent and is no request."""
    return InvalidRequest(
        f"the provider actor cannot read this request ({why}); is one version of llmgine installed on every "
        f"node?"
    )


def _insides(piece: BaseModel) -> tuple[list[Any], list[Any]]:
    """The dicts and lists in the piece and copies of them; TypeError where something else may change."""
    found: list[Any] = []
    _collect(piece, found)
    return found, _copied(found)


def _collect(value: Any, found: list[Any]) -> None:
    """Adds the outermost dicts and lists in the value."""
    if isinstance(value, _PLAIN):
        return
    if isinstance(value, dict | list):
        found.append(value)
    elif isinstance(value, BaseModel):
        for inside in vars(value).values():
            _collect(inside, found)
    elif isinstance(value, tuple):
        for inside in value:
            _collect(inside, found)
    else:
        raise TypeError(f"a {type(value).__name__} may change unseen")


def _copied(value: Any) -> Any:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, dict):
        return {key: _copied(inside) for key, inside in value.items()}
    if isinstance(value, list):
        return [_copied(inside) for inside in value]
    raise TypeError(f"a {type(value).__name__} may change unseen")
