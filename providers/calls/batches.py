"""Batches over HTTP: the steps of their codec, each an exchange with the server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from llmgine.providers.batches import BatchCodec, LineSplitter, Sending, Steps
from llmgine.providers.batches.codec import MOST_BYTES
from llmgine.providers.calls.transfer import Prepared, Transfer
from llmgine.providers.catalogue.prices import Pricer, unpriced
from llmgine.providers.clients import Client
from llmgine.providers.codecs import Codec, Target
from llmgine.providers.codecs.decoding import json_object
from llmgine.providers.contracts import Adjustment, BatchStatus, LLMRequest, LLMResponse
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, InvalidRequest, ProviderError
from llmgine.providers.options import Timeouts
from llmgine.providers.provider import BatchResult

R = TypeVar("R")

# A file of the largest size goes over a slow line for longer than any single call may take.
_LONG = 3600.0
_UNPRICED = Adjustment(
    field="cost", action="dropped", reason="the price table has no price of this model in a batch"
)


class BatchTransfer(Transfer):
    """One exchange about a batch: `answer` is its JSON, `lines` are those of a download."""

    _bounded = False

    async def answer(self) -> dict[str, Any]:
        try:
            await self._send()
            return json_object(self._prepared.target, await self._body())
        except Exception as error:
            raise self._sign_error(self._broken(error)) from None
        finally:
            await self._close()

    async def lines(self) -> AsyncGenerator[list[bytes], None]:
        splitter = LineSplitter()
        try:
            await self._send()
            while (chunk := await self._chunk()) is not None:
                yield splitter.feed(chunk)
            yield splitter.end()
        except Exception as error:
            raise self._sign_error(self._broken(error)) from None
        finally:
            await self._close()


class HttpBatches:
    """The batches of one model behind an endpoint; exchanges that go on stand in `running`."""

    key = ""
    most_bytes = MOST_BYTES

    def __init__(
        self,
        codec: Codec,
        batches: BatchCodec,
        target: Target,
        client: Callable[[Target], Client],
        timeouts: Timeouts,
        running: set[Transfer],
        *,
        scrub: Callable[[str], str] = lambda text: text,
        price: Pricer = unpriced,
    ) -> None:
        self.most_requests = batches.most_requests
        self._codec = codec
        self._batches = batches
        self._target = target
        self._client = client
        self._timeouts = timeouts.model_copy(update={"first_byte": _LONG, "total": _LONG})
        self._running = running
        self._scrub = scrub
        self._price = price

    def line(self, custom_id: str, request: LLMRequest) -> bytes:
        try:
            return self._batches.line(custom_id, request, self._target)
        except InvalidRequest as error:
            raise self._error(str(error), ErrorKind.INVALID_REQUEST, ErrorPhase.REQUEST) from None
        except ProviderError as error:
            error.provider, error.model = self._target.provider, self._target.model
            raise

    async def submit(self, tag: str, lines: Sequence[bytes]) -> BatchStatus:
        return await self._taken(self._batches.submit(self._target, tag, lines))

    async def find(self, tag: str, since: float, total: int, excluded: Collection[str]) -> BatchStatus | None:
        return await self._taken(self._batches.find(self._target, tag, since, total, excluded))

    async def status(self, id: str) -> BatchStatus:
        return await self._taken(self._batches.status(self._target, id))

    async def cancel(self, id: str) -> BatchStatus:
        return await self._taken(self._batches.cancel(self._target, id))

    async def results(self, id: str, like: LLMRequest) -> AsyncGenerator[BatchResult, None]:
        status = await self.status(id)
        if not status.over:
            raise self._error(f"the batch {id} is not over yet", ErrorKind.INVALID_REQUEST)
        adjustments = self._codec.encode(like, self._target).adjustments
        came = 0
        for file in status.files:
            async with aclosing(self._download(file)) as downloaded:
                async for line in downloaded:
                    came += 1
                    yield self._read(line, adjustments)
        if came < (least := self._batches.least_results(status)):
            raise self._error(
                f"{came} of {least} results of {id} came",
                ErrorKind.TRUNCATED,
                ErrorPhase.MID_STREAM,
            )

    async def _download(self, file: str) -> AsyncGenerator[bytes, None]:
        transfer = self._transfer(Sending("batch_results", file))
        try:
            async with aclosing(transfer.lines()) as downloaded:
                async for lines in downloaded:
                    for line in lines:
                        yield line
        finally:
            self._running.discard(transfer)

    def _read(self, line: bytes, adjustments: tuple[Adjustment, ...]) -> BatchResult:
        result = self._batches.read(self._target, line)
        outcome = result.outcome
        if isinstance(outcome, LLMResponse):
            cost = self._price(self._target.model, outcome)
            made = (*adjustments, *outcome.adjustments, *(() if cost is not None else (_UNPRICED,)))
            outcome = outcome.model_copy(update={"cost": cost, "adjustments": made})
        else:
            outcome.message = self._scrub(outcome.message)
            outcome.args = (outcome.message,)
        return BatchResult(result.custom_id, outcome)

    async def _taken(self, steps: Steps[R]) -> R:
        """What the steps come to, each made in its turn."""
        try:
            sending = next(steps)
            while True:
                transfer = self._transfer(sending)
                try:
                    answer = await transfer.answer()
                finally:
                    self._running.discard(transfer)
                sending = steps.send(answer)
        except StopIteration as end:
            result: R = end.value
            return result

    def _transfer(self, sending: Sending) -> BatchTransfer:
        headers: Mapping[str, str] = {"Accept": "application/json"}
        if sending.purpose == "batch_results":
            headers = {"Accept": "application/binary"}
        sent = Prepared(
            self._target,
            sending.body,
            headers,
            self._timeouts,
            (),
            sending.purpose,
            sending.item,
            sending.query,
            sending.file,
        )
        transfer = BatchTransfer(self._client(self._target), self._batches, sent, scrub=self._scrub)
        self._running.add(transfer)
        return transfer

    def _error(
        self, message: str, kind: ErrorKind, phase: ErrorPhase = ErrorPhase.PRE_TOKEN
    ) -> ProviderError:
        return ProviderError(
            message,
            kind=kind,
            phase=phase,
            scope=ErrorScope.REQUEST,
            provider=self._target.provider,
            model=self._target.model,
        )
