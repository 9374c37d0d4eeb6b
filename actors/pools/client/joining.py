"""An answer that several tries of one model give in turn, each going on with what was said before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmgine.actors.pools.client.said import Said
from llmgine.providers.contracts import LLMRequest, LLMResponse, Message
from llmgine.providers.events import StreamEvent

if TYPE_CHECKING:
    from llmgine.providers.catalogue.profiles import ModelProfile
    from llmgine.providers.layers.recovery.heard import Heard


def joined(said: Said, request: LLMRequest, profile: ModelProfile) -> Joined:
    """What was said of the request so far, to be gone on with."""
    return Joined(said.heard(), request, profile)


class Joined:
    """The answer as its reader hears it. `request` is what was asked, `profile` what its model can do."""

    def __init__(self, heard: Heard, request: LLMRequest, profile: ModelProfile) -> None:
        self._heard = heard
        self._request = request
        self._profile = profile
        self._pieces = 1

    def goes_on(self) -> LLMRequest | None:
        """The request that goes on with the answer; None where that cannot be gone on with."""
        from llmgine.providers.layers.recovery.policy import continued, prefills

        texts = self._heard.texts
        if texts is None:
            return None
        self._pieces += 1
        self._heard.broke(swallow=prefills(self._request, self._profile))
        return continued(self._request, texts, self._profile)

    def take(self, event: StreamEvent) -> list[StreamEvent]:
        """What the reader hears of it."""
        return self._heard.take(event)

    def end(self) -> list[StreamEvent]:
        """What is left to say before the last event."""
        return self._heard.end()

    def message(self, last: Message | None) -> Message:
        """The whole answer, of whose last piece this has come."""
        return self._heard.joined(last)

    def response(self, last: LLMResponse) -> LLMResponse:
        """The last piece's response as that of the whole answer."""
        from llmgine.providers.layers.recovery.heard import put_together

        return put_together(last, self._heard, self._pieces)
