"""Citations as the Messages protocol tells them, in the words of the contract."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmgine.providers.contracts import Citation


def citation_of(raw: Any) -> Citation:
    """A citation of any type; places within the source stay in `raw`. `TypeError` for no object."""
    if type(raw) is not dict:
        raise TypeError(f"a citation was expected, not {type(raw).__name__}")
    source = _text(raw, "source")  # a search result of the caller's own, which may be named by anything
    linked = source if source and "://" in source else None
    return Citation(
        url=_text(raw, "url") or linked,
        title=_text(raw, "title") or _text(raw, "document_title"),
        quote=_text(raw, "cited_text"),
        raw=raw,
    )


def spanning(citations: Iterable[Citation], length: int) -> list[Citation]:
    """The citations of a whole text: each one supports all of its block."""
    return [citation.model_copy(update={"start": 0, "end": length}) for citation in citations]


def _text(raw: dict[str, Any], name: str) -> str | None:
    value = raw.get(name)
    return value if isinstance(value, str) and value else None
