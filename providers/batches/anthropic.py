"""Anthropic's message batches: requests go up in one body, and one file of results comes down."""

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
from llmgine.providers.errors import ErrorPhase, ProviderError
from llmgine.providers.provider import BatchResult

_UNTRIED: Final = {"expired": "expired", "canceled": "cancelled"}
_OUTCOMES: Final = ("processing", "succeeded", "errored", "canceled", "expired")
_PAGE: Final = 1000


class AnthropicBatchCodec:
    """Batches over the bodies of Messages, as `codec` writes and reads them. They keep no tag."""

    most_requests = 100_000

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def line(self, custom_id: str, request: LLMRequest, target: Target) -> bytes:
        return json_line({"custom_id": custom_id, "params": body_of(self._codec, request, target)})

    def submit(self, target: Target, tag: str, lines: Sequence[bytes]) -> Steps[BatchStatus]:
        answer = yield Sending("batch_create", body=b'{"requests":[' + b",".join(lines) + b"]}")
        return _status(target, answer)

    def find(
        self, target: Target, tag: str, since: float, total: int, excluded: Collection[str]
    ) -> Steps[BatchStatus | None]:
        after: dict[str, str] = {}
        for _ in range(MOST_PAGES):
            page = yield Sending("batch_list", query={"limit": str(_PAGE), **after})
            some = [_status(target, one) for one in page.get("data") or () if isinstance(one, dict)]
            recent = [one for one in some if (one.created or since) >= since - CLOCK_SKEW]
            for status in recent:
                if status.total == total and status.id not in excluded:
                    return status
            if not recent or not page.get("has_more"):
                return None
            after = {"after_id": text(page.get("last_id")) or some[-1].id}
        return None

    def status(self, target: Target, id: str) -> Steps[BatchStatus]:
        answer = yield Sending("batch_status", id)
        return _status(target, answer)

    def cancel(self, target: Target, id: str) -> Steps[BatchStatus]:
        answer = yield Sending("batch_cancel", id)
        return _status(target, answer)

    def least_results(self, status: BatchStatus) -> int:
        return status.total

    def read(self, target: Target, line: bytes) -> BatchResult:
        told = object_of(target, line)
        return BatchResult(told["custom_id"], self._outcome(target, told.get("result")))

    def decode_error(
        self, target: Target, status: int, headers: Mapping[str, str], body: bytes, phase: ErrorPhase
    ) -> ProviderError:
        return self._codec.decode_error(target, status, headers, body, phase)

    def _outcome(self, target: Target, result: Any) -> LLMResponse | ProviderError:
        kind = result.get("type") if isinstance(result, dict) else None
        if how := _UNTRIED.get(text(kind)):
            return unanswered(target, how)
        if kind == "errored":
            return failure(target, result.get("error"), status=200, phase=ErrorPhase.PRE_TOKEN)
        if kind != "succeeded":
            return broken(target, f"a line of the results is of the unknown kind {kind!r}")
        try:
            return self._codec.decode_body(target, json_line(result.get("message")))
        except ProviderError as error:
            return error


def _status(target: Target, batch: dict[str, Any]) -> BatchStatus:
    counts = batch.get("request_counts")
    id, ended = text(batch.get("id")), batch.get("processing_status") == "ended"
    if not id:
        raise broken(target, "the server's answer names no batch")
    cancelled = batch.get("cancel_initiated_at") is not None
    if ended:
        cut = BatchState.CANCELLED if cancelled else BatchState.EXPIRED
        whole = not (count(counts, "canceled") or count(counts, "expired"))
        state = BatchState.COMPLETED if whole else cut
    else:
        state = BatchState.CANCELLING if cancelled else BatchState.RUNNING
    return BatchStatus(
        id=id,
        state=state,
        total=sum(count(counts, name) for name in _OUTCOMES),
        done=count(counts, "succeeded"),
        failed=count(counts, "errored"),
        created=seconds_of(batch.get("created_at")),
        expires=seconds_of(batch.get("expires_at")),
        files=(id,) if ended else (),
    )
