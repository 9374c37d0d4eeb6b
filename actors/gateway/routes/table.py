"""Endpoints as values, from which both the routes and their description are made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from llmgine.actors.gateway.errors import (
    MalformedRequest,
    NotFound,
    Unprocessable,
    WrongContentType,
    WrongMethod,
)
from llmgine.actors.gateway.port import GatewayPort
from llmgine.actors.gateway.shapes import Shape
from llmgine.actors.gateway.sse import EventAnswer
from llmgine.actors.gateway.watching import Watching
from llmgine.providers.mistakes import mistakes

PREFIX = "/api/v1"

M = TypeVar("M", bound=BaseModel)
S = TypeVar("S", bound=Shape)


def _whole_number(value: Any) -> Any:
    """The digits of a query as a number; anything else is left for pydantic to refuse."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


Limit = Annotated[int, Field(ge=1, le=500), BeforeValidator(_whole_number)]
Cursor = Annotated[str, Field(pattern="^[0-9]{1,18}$")]


class Query(BaseModel):
    """What may stand behind the question mark."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Paged(Query):
    """Part of a list: `cursor` is the `next` of the part before it."""

    cursor: Cursor | None = None
    limit: Limit = 50


@dataclass(frozen=True, slots=True)
class Call:
    """One request that was let in: the names in its path, its query and body as they were declared."""

    port: GatewayPort
    watching: Watching
    request: Request
    path: Mapping[str, str]
    query: Any
    body: Any

    @property
    def client(self) -> str:
        """The name of whoever asks."""
        return str(self.request.scope.get("client_name", "local"))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path. `answer` is a model, or None where a stream of events comes back."""

    method: str
    path: str
    run: Callable[[Call], Awaitable[Any]]
    answer: Any
    summary: str
    query: type[Query] | None = None
    body: type[Shape] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names in its path."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))


def routes(endpoints: Iterable[Endpoint], port: Callable[[], GatewayPort], watching: Watching) -> list[Route]:
    """One route for each path, which answers in the table's own words where the method is another."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    return [Route(f"{PREFIX}{path}", _Dispatch(methods, port, watching)) for path, methods in by_path.items()]


class _Dispatch:
    """An ASGI application: one path, with a method or several."""

    def __init__(
        self, methods: Mapping[str, Endpoint], port: Callable[[], GatewayPort], watching: Watching
    ) -> None:
        self._methods = methods
        self._port = port
        self._watching = watching
        self._answers = {name: TypeAdapter(one.answer) for name, one in methods.items() if one.answer}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        await (await self._response(request))(scope, receive, send)

    async def _response(self, request: Request) -> Response:
        endpoint = self._methods.get(request.method)
        if endpoint is None:
            raise WrongMethod(request.method, request.url.path, tuple(sorted(self._methods)))
        call = Call(
            self._port(),
            self._watching,
            request,
            {name: _unquoted(text) for name, text in request.path_params.items()},
            None if endpoint.query is None else _query(endpoint.query, request),
            None if endpoint.body is None else await read_body(endpoint.body, request),
        )
        answer = await endpoint.run(call)
        if endpoint.method != "GET":
            self._watching.stir()
        if endpoint.answer is None:
            events: AsyncIterator[Any] = answer
            return EventAnswer(events)
        return Response(self._answers[endpoint.method].dump_json(answer), media_type="application/json")


def _unquoted(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise NotFound("the path is not UTF-8") from None


def _query(kind: type[Query], request: Request) -> Query:
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in given:
            raise Unprocessable(f"the query names {name} twice")
        given[name] = value
    return _fitting(kind, given, "the query")


async def read_body(kind: type[S], request: Request) -> S:
    """The request's JSON as that shape; a `Refusal` that says why it is none."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise WrongContentType(
            f"the body is {content_type or 'of no type'}",
            hint="send JSON, with content-type: application/json",
        )
    try:
        given = from_json(await request.body(), allow_inf_nan=False)
    except ValueError as error:
        raise MalformedRequest(f"the body is no JSON: {error}") from None
    return _fitting(kind, given, "the body")


def _fitting(kind: type[M], given: Any, where: str) -> M:
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise Unprocessable(f"{where} does not fit: {mistakes(error)}") from None
