"""OpenAI's batches: a file of requests goes up, and files of results come down."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from llmgine.providers.batches.codec import CLOCK_SKEW, MOST_PAGES, Sending, Steps
from llmgine.providers.batches.reading import (
    body_of,
    broken,
    count,
    json_line,
    object_of,
    seconds_of,
    text,
    unanswered,
)
from llmgine.providers.codecs import Codec, Target
from llmgine.providers.codecs.failures import failure
from llmgine.providers.contracts import BatchState, BatchStatus, LLMRequest, LLMResponse
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, ProviderError
from llmgine.providers.provider import BatchResult

_TAG: Final = "llmgine"
_STATES: Final = {
    "validating": BatchState.RUNNING,
    "in_progress": BatchState.RUNNING,
    "finalizing": BatchState.RUNNING,
    "cancelling": BatchState.CANCELLING,
    "completed": BatchState.COMPLETED,
    "expired": BatchState.EXPIRED,
    "cancelled": BatchState.CANCELLED,
    "failed": BatchState.FAILED,
}
_ENDPOINTS: Final = {"openai-responses": "/v1/responses", "openai-chat": "/v1/chat/completions"}
_UNTRIED: Final = {"batch_expired": "expired", "batch_cancelled": "cancelled"}
_QUEUE_FULL: Final = "token_limit_exceeded"  # more tokens wait in batches than the account may have there
_PAGE: Final = 100


class OpenAIBatchCodec:
    """Batches over the bodies of Responses or of Chat Completions, as `codec` writes and reads them."""

    most_requests = 50_000

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._endpoint = _ENDPOINTS[codec.api]

    def line(self, custom_id: str, request: LLMRequest, target: Target) -> bytes:
        body = body_of(self._codec, request, target)
        return json_line({"custom_id": custom_id, "method": "POST", "url": self._endpoint, "body": body})

    def submit(self, target: Target, tag: str, lines: Sequence[bytes]) -> Steps[BatchStatus]:
        content = b"".join(line + b"\n" for line in lines)
        file = yield Sending("batch_upload", body=content, file=f"{tag}.jsonl")
        wanted = {
            "input_file_id": _id(target, file),
            "endpoint": self._endpoint,
            "completion_window": "24h",
            "metadata": {_TAG: tag},
        }
        answer = yield Sending("batch_create", body=json_line(wanted))
        return _status(target, answer)

    def find(
        self, target: Target, tag: str, since: float, total: int, excluded: Collection[str]
    ) -> Steps[BatchStatus | None]:
        after: dict[str, str] = {}
        for _ in range(MOST_PAGES):
            page = yield Sending("batch_list", query={"limit": str(_PAGE), **after})
            some = [_status(target, one) for one in page.get("data") or () if isinstance(one, dict)]
            for status in some:
                if status.tag == tag and status.id not in excluded:
                    return status
            oldest = min((one.created or since for one in some), default=0.0)
            if not some or not page.get("has_more") or oldest < since - CLOCK_SKEW:
                return None
            after = {"after": some[-1].id}
        return None

    def status(self, target: Target, id: str) -> Steps[BatchStatus]:
        answer = yield Sending("batch_status", id)
        return _status(target, answer)

    def cancel(self, target: Target, id: str) -> Steps[BatchStatus]:
        answer = yield Sending("batch_cancel", id)
        return _status(target, answer)

    def least_results(self, status: BatchStatus) -> int:
        return status.done

    def read(self, target: Target, line: bytes) -> BatchResult:
        told = object_of(target, line)
        return BatchResult(told["custom_id"], self._outcome(target, told))

    def decode_error(
        self, target: Target, status: int, headers: Mapping[str, str], body: bytes, phase: ErrorPhase
    ) -> ProviderError:
        error = self._codec.decode_error(target, status, headers, body, phase)
        if status in (400, 404) and "Cannot find file" in error.message:  # it is there, and not yet seen
            error.kind, error.retryable = ErrorKind.SERVER, True
        return error

    def _outcome(self, target: Target, told: dict[str, Any]) -> LLMResponse | ProviderError:
        answer, error = told.get("response"), told.get("error")
        if isinstance(answer, dict):
            body, code = json_line(answer.get("body")), answer.get("status_code")
            try:
                if code == 200:
                    response = self._codec.decode_body(target, body)
                    return response.model_copy(update={"request_id": text(answer.get("request_id")) or None})
                status = code if type(code) is int else 500
                failed = self._codec.decode_error(target, status, {}, body, ErrorPhase.PRE_TOKEN)
            except ProviderError as raised:
                failed = raised
            failed.request_id = failed.request_id or text(answer.get("request_id")) or None
            return failed
        if isinstance(error, dict):
            if how := _UNTRIED.get(text(error.get("code"))):
                return unanswered(target, how)
            return failure(target, {"error": error}, status=200, phase=ErrorPhase.PRE_TOKEN)
        return broken(target, "a line of the results has neither a response nor an error")


def _status(target: Target, batch: dict[str, Any]) -> BatchStatus:
    metadata, counts = batch.get("metadata"), batch.get("request_counts")
    files = (text(batch.get("output_file_id")), text(batch.get("error_file_id")))
    known: dict[str, Any] = {}
    state = _STATES.get(text(batch.get("status")), BatchState.RUNNING)
    if state is BatchState.FAILED:
        known = _why(target, batch.get("errors"))
    return BatchStatus(
        id=_id(target, batch),
        state=state,
        tag=text(metadata.get(_TAG)) or None if isinstance(metadata, dict) else None,
        total=count(counts, "total"),
        done=count(counts, "completed"),
        failed=count(counts, "failed"),
        created=seconds_of(batch.get("created_at")),
        expires=seconds_of(batch.get("expires_at")),
        files=tuple(filter(None, files)),
        **known,
    )


def _why(target: Target, errors: Any) -> dict[str, Any]:
    """Why none of a batch's requests was tried, and which of them are to blame."""
    data = errors.get("data") if isinstance(errors, dict) else None
    told = [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []
    error = failure(target, {"error": told[0]} if told else {}, status=400, phase=ErrorPhase.PRE_TOKEN)
    if any(one.get("code") == _QUEUE_FULL for one in told):
        error.kind, error.scope, error.retryable = ErrorKind.RATE_LIMIT, ErrorScope.KEY, True
    lines = {line for one in told if type(line := one.get("line")) is int}
    return {"error": error.to_wire(), "bad_lines": tuple(sorted(lines))}


def _id(target: Target, answer: dict[str, Any]) -> str:
    if found := text(answer.get("id")):
        return found
    raise broken(target, "the server's answer names no batch or file")
