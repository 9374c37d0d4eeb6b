"""Finish reasons and tables of the codecs, read the other way round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from llmgine.providers.contracts import FinishReason, LLMResponse

K = TypeVar("K")
V = TypeVar("V")


def turned(table: Mapping[K, V]) -> dict[V, K]:
    """The table read backwards; of several words for one thing the first is the vendor's own."""
    back: dict[V, K] = {}
    for word, thing in table.items():
        back.setdefault(thing, word)
    return back


def finish_word(
    response: LLMResponse,
    words: Mapping[str, FinishReason],
    others: Mapping[FinishReason, str],
) -> str:
    """The vendor's word for why the model stopped: the provider's own where it is one of them.

    `words` are the vendor's and what they mean, `others` what is said of reasons that it has no word for.
    """
    reason, raw = response.finish_reason, response.finish_reason_raw
    if raw is not None and words.get(raw) is reason:
        return raw
    return turned(words).get(reason) or others[reason]
