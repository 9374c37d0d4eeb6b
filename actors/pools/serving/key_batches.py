"""Batches that tell which key they belong to."""

from __future__ import annotations

from llmgine.providers.batches import ForwardingBatches
from llmgine.providers.provider import Batches


class KeyBatches(ForwardingBatches):
    """The batches of `inner` under the key of that name."""

    def __init__(self, inner: Batches, key: str) -> None:
        super().__init__(inner)
        self.key = key
