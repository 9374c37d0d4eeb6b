"""Which sources support which piece of a Gemini answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmgine.providers.codecs.assembly import Slot
from llmgine.providers.contracts import Citation

_MOST = 1000  # each one's place is looked for in the whole text


def cite(slots: Sequence[Slot], grounding: Mapping[str, Any]) -> None:
    """Gives text parts that are not closed yet their citations; what has no known shape is passed over.

    `grounding` holds the fields of groundingMetadata and citationMetadata. Their places are bytes of the
    whole answer's UTF-8, which become characters of the part.
    """
    answer = _Answer(slots)
    if not slots:
        return
    chunks = _list(grounding.get("groundingChunks"))
    for support in _objects(grounding.get("groundingSupports"))[:_MOST]:
        segment = support.get("segment")
        place = answer.place(segment if isinstance(segment, dict) else {})
        for number in _list(support.get("groundingChunkIndices")):
            if type(number) is int and 0 <= number < len(chunks):
                _add(place, _source(chunks[number]), {"support": support, "chunk": chunks[number]})
    for name in ("citationSources", "citations"):
        for source in _objects(grounding.get(name))[:_MOST]:
            _add(answer.place(source), source, source)


class _Answer:
    """The text of an answer, which may be cut into several parts."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = slots
        self._texts = ["".join(slot.pieces) for slot in slots]
        self._whole = "".join(self._texts)
        self._bytes = self._whole.encode("utf-8", "surrogatepass")

    def place(self, segment: Mapping[str, Any]) -> tuple[Slot, int | None, int | None]:
        """The part that a segment lies in, and from where to where; the last part where it is not found."""
        found = self._found(segment)
        if found is None:
            return self._slots[-1], None, None
        start, end = found
        for slot, text in zip(self._slots, self._texts, strict=True):
            if start < len(text):
                return slot, start, min(end, len(text))
            start, end = start - len(text), end - len(text)
        return self._slots[-1], None, None

    def _found(self, segment: Mapping[str, Any]) -> tuple[int, int] | None:
        start, end, text = segment.get("startIndex", 0), segment.get("endIndex"), segment.get("text")
        if type(start) is int and type(end) is int and 0 <= start < end <= len(self._bytes):
            named = self._bytes[start:end].decode("utf-8", "replace")
            if text in (None, named):
                begun = len(self._bytes[:start].decode("utf-8", "replace"))
                return begun, begun + len(named)
        if isinstance(text, str) and text and (begun := self._whole.find(text)) >= 0:
            return begun, begun + len(text)
        return None


def _add(
    place: tuple[Slot, int | None, int | None], source: Mapping[str, Any], raw: Mapping[str, Any]
) -> None:
    slot, start, end = place
    if slot.part is None:
        texts = {name: value for name in ("title", "text") if isinstance(value := source.get(name), str)}
        url = source.get("uri")
        slot.citations.append(
            Citation(
                url=url if isinstance(url, str) else None,
                title=texts.get("title"),
                quote=texts.get("text"),
                start=start,
                end=end,
                raw=dict(raw),
            )
        )


def _source(chunk: Any) -> Mapping[str, Any]:
    """What a chunk says of its source, whatever kind of source it is."""
    inner = chunk.values() if isinstance(chunk, dict) else ()
    return next((value for value in inner if isinstance(value, dict)), {})


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in _list(value) if isinstance(one, dict)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
