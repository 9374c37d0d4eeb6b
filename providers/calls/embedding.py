"""One embedding call over HTTP: a prepared request sent, and its answer read as vectors."""

from __future__ import annotations

from collections.abc import Callable

from llmgine.providers.calls.transfer import Prepared, Transfer
from llmgine.providers.catalogue.prices import Pricer, unpriced
from llmgine.providers.clients import Client
from llmgine.providers.codecs.ratelimits import rate_limits
from llmgine.providers.contracts import EmbeddingResponse
from llmgine.providers.embeddings.answers import malformed
from llmgine.providers.embeddings.codec import EmbeddingCodec
from llmgine.providers.recording import Tap


class EmbeddingCall(Transfer):
    """Sends one request; `response` gives a vector for each input, or raises a `ProviderError`."""

    def __init__(
        self,
        client: Client,
        codec: EmbeddingCodec,
        prepared: Prepared,
        inputs: int,
        *,
        scrub: Callable[[str], str] = lambda text: text,
        price: Pricer = unpriced,
        tap: Tap | None = None,
    ) -> None:
        super().__init__(client, codec, prepared, scrub=scrub, tap=tap)
        self._codec = codec
        self._inputs = inputs
        self._price = price

    async def response(self) -> EmbeddingResponse:
        try:
            answer = await self._send()
            response = self._codec.decode(self._prepared.target, await self._body())
            if len(response.vectors) != self._inputs:
                raise malformed(f"{self._inputs} texts were sent, {len(response.vectors)} vectors came back")
        except Exception as error:
            failure = self._sign_error(self._broken(error))
            self._untap(failure)
            raise failure from None
        else:
            self._untap(None)
            return response.model_copy(
                update={
                    "cost": self._price(self._prepared.target.model, response),
                    "request_id": answer.request_id,
                    "rate_limits": rate_limits(answer.headers),
                    "adjustments": self._prepared.adjustments,
                }
            )
        finally:
            await self._close()
