"""One request of a vendor's client after the other: read, asked of the runtime, answered in its words."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llmgine.actors.gateway.errors import Forbidden, MalformedRequest
from llmgine.actors.gateway.failures import reason_of
from llmgine.actors.gateway.port import GatewayPort
from llmgine.actors.gateway.sse import EventAnswer
from llmgine.actors.gateway.tally import Tally
from llmgine.actors.gateway.vendor.calls import Answer, model_answer, session_answer, whole
from llmgine.actors.gateway.vendor.failures import Vendor, failure_of
from llmgine.actors.gateway.vendor.frames import Frame, Telling
from llmgine.actors.gateway.vendor.reading import Asked, Fields, RequestRefused, on_unsupported
from llmgine.actors.gateway.vendor.sessions import OWN_MODEL, ask_of
from llmgine.actors.gateway.vendor.wires import Answering, Wire, turn_of_response
from llmgine.providers.contracts import Origin
from llmgine.providers.events import Done
from llmgine.telemetry import TraceContext

logger = logging.getLogger(__name__)

SESSION: Final = "x-llmgine-session"

Respond = Callable[[GatewayPort, Request], Awaitable[Response]]


def endpoint(
    vendor: Vendor | Callable[[Request], Vendor],
    port: Callable[[], GatewayPort],
    respond: Respond,
    tally: Tally,
) -> Callable[[Request], Awaitable[Response]]:
    """A route whose errors are counted and answered as the vendor answers them; it ends with its client."""

    async def answer(request: Request) -> Response:
        whose = vendor if isinstance(vendor, str) else vendor(request)
        named = request_id(whose)
        request.scope["request_id"] = named
        request.scope["body"] = await request.body()
        try:
            response = await _while_connected(request, respond(port(), request))
        except Exception as error:
            tally.add(reason_of(error))
            failure = failure_of(whose, error, named[1], keyed=_key(request.headers) is not None)
            response = JSONResponse(failure.body, failure.status, failure.headers)
        response.headers[named[0]] = named[1]
        return response

    return answer


def request_id(vendor: Vendor) -> tuple[str, str]:
    """The header in which the vendor's clients look for a request's id, and a new one."""
    return ("x-request-id" if vendor == "openai" else "request-id"), f"req_{secrets.token_hex(12)}"


async def _while_connected(request: Request, work: Any) -> Response:
    """The response; the work is cancelled when the client goes."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()  # type: ignore[no-any-return]
        return Response(status_code=499)  # nobody reads it
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def body_of(request: Request) -> Any:
    """The body as JSON; `MalformedRequest` where it is none."""
    try:
        return from_json(request.scope["body"], allow_inf_nan=False)
    except ValueError as error:
        raise MalformedRequest(f"the body is no JSON: {error}") from None


def trace_of(request: Request) -> TraceContext | None:
    return TraceContext.parse(request.headers.get("traceparent"))


def answering(wire: Wire, clock: Callable[[], float]) -> Respond:
    """The endpoint of one wire; `clock` says when an answer is made."""

    async def respond(port: GatewayPort, request: Request) -> Response:
        body = body_of(request)
        asked = wire.read(body, await target_of(port, body), request.headers)
        key = _key(request.headers)
        session = await _session(port, asked, request.headers)
        _check_reach(request, session)
        if session is None and asked.request.model == OWN_MODEL:
            raise RequestRefused(
                f"model: {OWN_MODEL!r} is the model of a session, and none is named; set {SESSION}",
                field="model",
            )
        asked = _with_headers(asked, request.headers)
        made = Answering(key or secrets.token_hex(16), int(clock()), asked, session)
        answer = _answer(port, request, wire, made, key)
        if not asked.stream:
            return JSONResponse(wire.whole(await whole(answer), made))
        return await _streamed(wire.vendor, answer, wire.telling(made), request)

    return respond


def _answer(port: GatewayPort, request: Request, wire: Wire, made: Answering, key: str | None) -> Answer:
    asked, trace = made.asked, trace_of(request)
    if made.session is None:
        return model_answer(port, asked.request, trace, streamed=asked.stream)
    # An answer of this wire can be gone on from by its id, which therefore names the turn.
    named = made.id if wire.path == "/responses" else key
    # A client that gave a key comes back for the answer.
    ask = ask_of(asked.request, made.session, key=named, goes_on=key is not None, trace=trace)
    return session_answer(port, ask, streamed=asked.stream)


async def target_of(port: GatewayPort, body: Any) -> Origin | None:
    """What the request's model stands for; None for the session's own."""
    model = Fields(body).needed("model")
    return None if model == OWN_MODEL else await port.target(model)


async def _session(port: GatewayPort, asked: Asked, headers: Mapping[str, str]) -> str | None:
    """The session that the request names, if it does; all places that name one name the same."""
    named = {SESSION: headers.get(SESSION), "conversation": asked.conversation}
    if asked.previous is not None:
        named["previous_response_id"] = await _gone_on(port, asked.previous, _key(headers))
    told = {name: value for name, value in named.items() if value}
    if len({*told.values()}) > 1:
        raise RequestRefused(f"{' and '.join(told)} name different sessions", field=[*told][-1])
    return next(iter(told.values()), None)


async def _gone_on(port: GatewayPort, previous: str, own: str | None) -> str:
    """The session of the answer with this id, which has to be its last but for that of the request's key."""
    found = turn_of_response(previous)
    if found is not None:
        session, key = found
        if await port.last_turn(session) in (f"{session}:{key}", f"{session}:{own}"):
            return session
    raise RequestRefused(
        f"previous_response_id: {previous[:100]!r} is not the last answer of a session; answers outside of "
        "sessions are not kept: give the conversation as input, or name a session in `conversation`",
        field="previous_response_id",
        code="previous_response_not_found",
    )


def _key(headers: Mapping[str, str]) -> str | None:
    """What names the request among its repetitions."""
    given = headers.get("idempotency-key")
    return (given and hashlib.sha256(given.encode()).hexdigest()[:32]) or None


def _check_reach(request: Request, session: str | None) -> None:
    """`Forbidden` for a session that is none of this client's."""
    reach: str = request.scope["client_sessions"]
    if session is not None and not session.startswith(reach):
        raise Forbidden(
            f"this client's sessions begin with {reach!r}, and {session[:100]!r} does not",
            hint="name one that does; gateway.clients.….sessions says how they begin",
        )


def _with_headers(asked: Asked, headers: Mapping[str, str]) -> Asked:
    told = {"on_unsupported": on_unsupported(headers), "idempotency_key": _key(headers)}
    return replace(asked, request=asked.request.model_copy(update=told))


async def _streamed(vendor: Vendor, answer: Answer, telling: Telling, request: Request) -> Response:
    """The answer as a stream; what fails before its first piece is an answer of its own."""
    try:
        first = await anext(answer)
    except BaseException:
        await answer.aclose()
        raise
    named = request.scope["request_id"][1]
    return EventAnswer(_frames(vendor, first, answer, telling, named))


async def _frames(
    vendor: Vendor, first: Any, answer: Answer, telling: Telling, named: str
) -> AsyncGenerator[bytes]:
    async with aclosing(answer):
        yield _bytes(telling.begin())
        try:
            event = first
            while not isinstance(event, Done):
                if frames := telling.event(event):
                    yield _bytes(frames)
                event = await anext(answer)
            yield _bytes(telling.end(event.response))
        except Exception as error:
            yield _bytes(telling.failed(failure_of(vendor, error, named).body))


def _bytes(frames: list[Frame]) -> bytes:
    return b"".join(frame.encode() for frame in frames)
