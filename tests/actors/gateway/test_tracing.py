"""The spans of requests."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.actors.gateway.errors import NotFound, Upstream
from llmgine.actors.gateway.tracing import Traced
from llmgine.actors.sessions import SessionBusy
from llmgine.telemetry import Span, SpanRecorder, names

PATH = "/v1/chat/completions"


async def asked(*statuses: int, raises: Exception | None = None) -> tuple[Span, Exception | None]:
    """The span of a request that is answered with a status, or fails, and what left it."""
    recorder = SpanRecorder("gateway")

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        for status in statuses:
            await send({"type": "http.response.start", "status": status})
        if raises is not None:
            raise raises

    async def send(message: Any) -> None: ...

    left: Exception | None = None
    scope = {"type": "http", "method": "POST", "path": PATH, "headers": []}
    try:
        await Traced(inner, recorder, frozenset({PATH}))(scope, None, send)
    except Exception as error:
        left = error
    batch = recorder.drain()
    assert batch is not None
    (record,) = batch.spans
    return Span.from_record(record, "gateway"), left


@pytest.mark.parametrize(
    ("status", "error"), [(200, None), (404, None), (429, None), (500, "500"), (502, "502")]
)
async def test_an_answer_is_an_error_where_the_mistake_is_on_this_side(
    status: int, error: str | None
) -> None:
    """Each span bears its answer's status; what the client got wrong is no error of the server's."""
    span, _ = await asked(status)
    assert (span.error, span.attributes[names.HTTP_RESPONSE_STATUS_CODE]) == (error, status)


@pytest.mark.parametrize(
    ("raised", "status", "error"),
    [
        (NotFound("no such session"), 404, None),
        (SessionBusy("a turn runs"), 409, None),
        (Upstream("it failed"), 502, "502"),
        (KeyError("ours"), 500, "500"),
    ],
)
async def test_what_is_raised_counts_as_what_it_is_answered_with(
    raised: Exception, status: int, error: str | None
) -> None:
    """A refusal that is still to be told has its status on the span already."""
    span, left = await asked(raises=raised)
    assert (span.error, span.attributes[names.HTTP_RESPONSE_STATUS_CODE]) == (error, status)
    assert getattr(left, "status", None) == status


async def test_an_answer_that_breaks_off_is_an_error() -> None:
    """The status has been told, and what came of the rest is the span's error."""
    span, left = await asked(200, raises=ConnectionError("gone"))
    assert (span.error, span.attributes[names.HTTP_RESPONSE_STATUS_CODE]) == ("ConnectionError", 200)
    assert isinstance(left, ConnectionError)
