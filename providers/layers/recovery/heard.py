"""What a reader has heard of an answer that may be given in several pieces."""

from __future__ import annotations

from llmgine.providers.contracts import (
    Adjustment,
    AnyPart,
    Citation,
    LLMResponse,
    Message,
    RefusalPart,
    TextPart,
)
from llmgine.providers.events import (
    PartDone,
    Reset,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStart,
)

Numbered = TextDelta | ThinkingDelta | ToolCallStart | ToolCallDelta | PartDone


class Heard:
    """The events of one answer as its reader gets them, whether one call gives it or several in turn.

    The first text of a continuing call goes on with the text that had been broken off; every other part
    is a new one.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """It is all taken back."""
        self._kept: list[AnyPart] = []  # parts of the pieces before this one
        self._whole: dict[int, AnyPart] = {}  # finished parts of this piece, by the reader's index
        self._growing: dict[int, list[str]] = {}
        self._is_text = True
        self._broken: str | None = None  # the text that this piece goes on with
        self._swallow = ""
        self._joins = False
        self._begins = True
        self._shift = 0

    @property
    def silent(self) -> bool:
        """Whether the reader has heard nothing yet."""
        return self._is_text and not self.parts

    @property
    def texts(self) -> tuple[TextPart, ...] | None:
        """All that was said, the unfinished text last; None where it is not text alone, or says nothing."""
        parts = self.parts
        texts = tuple(part for part in parts if isinstance(part, TextPart))
        says = any(part.text.strip() for part in texts)
        return texts if self._is_text and says and len(texts) == len(parts) else None

    @property
    def parts(self) -> tuple[AnyPart, ...]:
        """The parts so far, the unfinished texts among them."""
        unfinished = {index: TextPart(text="".join(text)) for index, text in self._growing.items()}
        here = {**unfinished, **self._whole}
        broken = () if self._broken is None or not self._begins else (TextPart(text=self._broken),)
        return (*self._kept, *broken, *(here[index] for index in sorted(here)))

    def take(self, event: StreamEvent) -> list[StreamEvent]:
        """A piece's next event as the reader gets it."""
        if isinstance(event, Reset):
            self.clear()
            return [event]
        assert isinstance(event, Numbered)
        events: list[StreamEvent] = self._begun(event) if self._begins else []
        event.index += self._shift
        if isinstance(event, TextDelta):
            self._text(event)
            return [*events, event] if event.text else events
        if isinstance(event, PartDone):
            self._done(event)
        else:
            self._is_text = False
        return [*events, event]

    def broke(self, *, swallow: bool) -> None:
        """This piece ended early, and the next goes on with it; with `swallow` white space that would
        come twice is left out."""
        if self._begins:
            return  # nothing of it has come
        last = max(self._growing, default=None)
        parts = list(self.parts)
        self._broken = None
        if last is not None:
            self._broken = "".join(self._growing[last])
            parts.pop()
        text = self._broken or ""
        self._swallow = text[len(text.rstrip()) :] if swallow else ""
        self._kept = parts
        self._whole, self._growing = {}, {}
        self._begins = True

    def end(self) -> list[StreamEvent]:
        """What is left to say when the last piece is over: the broken text, where it had nothing to add."""
        if self._broken is None or not self._begins:
            return []
        whole = TextPart(text=self._broken)
        self._broken = None
        self._kept.append(whole)
        return [PartDone(len(self._kept) - 1, whole)]

    def joined(self, last: Message | None) -> Message:
        """The last piece's message, or what has come of it, as that of the whole answer."""
        if last is None or self._begins:
            return Message(role="assistant", parts=self.parts)
        parts, here = list(last.parts), len(self._kept)
        if self._joins and parts and isinstance(parts[0], TextPart | RefusalPart):
            parts[0] = self._whole.get(here) or TextPart(text="".join(self._growing[here]))
        return Message(role="assistant", parts=(*self._kept, *parts))

    def _begun(self, event: Numbered) -> list[StreamEvent]:
        self._begins = False
        self._shift = len(self._kept)
        if self._broken is None:
            self._joins = False
            return []
        is_text = isinstance(event, TextDelta) or (
            isinstance(event, PartDone) and isinstance(event.part, TextPart)
        )
        self._joins = is_text and event.index == 0
        if self._joins:
            self._growing[self._shift] = [self._broken]
            return []
        self._swallow = ""
        whole = TextPart(text=self._broken)
        self._kept.append(whole)
        self._shift += 1
        return [PartDone(self._shift - 1, whole)]

    def _text(self, event: TextDelta) -> None:
        if self._swallow and event.text:
            event.text = event.text.removeprefix(self._swallow)
            self._swallow = ""
        self._growing.setdefault(event.index, []).append(event.text)

    def _done(self, event: PartDone) -> None:
        text = self._growing.pop(event.index, None)
        self._is_text = self._is_text and isinstance(event.part, TextPart)
        if self._joins and event.index == len(self._kept) and isinstance(event.part, TextPart | RefusalPart):
            event.part = _longer(self._broken or "", "".join(text or ()), event.part)
        self._whole[event.index] = event.part


def put_together(response: LLMResponse, heard: Heard, pieces: int) -> LLMResponse:
    """The last piece's response as that of the whole answer, which tells of how many pieces it is."""
    reason = f"the answer broke off and was gone on with; it was put together from {pieces} calls"
    note = Adjustment(field="mid_stream", action="changed", reason=reason)
    message = heard.joined(response.message)
    return response.model_copy(update={"message": message, "adjustments": (note, *response.adjustments)})


def _longer(before: str, heard: str, rest: TextPart | RefusalPart) -> TextPart | RefusalPart:
    """The text of two pieces as one; a seal and a provider's own data are of the second alone."""
    text = heard if len(heard) > len(before) else before + rest.text
    if isinstance(rest, RefusalPart):  # the reader had heard it as text
        return RefusalPart(text=text, origin=rest.origin)
    shift = len(text) - len(rest.text)
    citations = tuple(_moved(each, shift) for each in rest.citations)
    return TextPart(text=text, citations=citations, origin=rest.origin)


def _moved(citation: Citation, by: int) -> Citation:
    ends = {name: getattr(citation, name) for name in ("start", "end")}
    return citation.model_copy(update={name: at + by for name, at in ends.items() if at is not None})
