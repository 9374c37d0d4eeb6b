"""A streamed answer as the Responses protocol tells it, event by event."""

from __future__ import annotations

from typing import Any

from llmgine.actors.gateway.vendor.frames import Frame
from llmgine.actors.gateway.vendor.ordering import InOrder, PartEvent
from llmgine.actors.gateway.vendor.responses import output
from llmgine.actors.gateway.vendor.responses.output import Head, Item
from llmgine.providers.codecs.encoding import arguments_text
from llmgine.providers.contracts import (
    AnyPart,
    LLMResponse,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from llmgine.providers.events import (
    PartDone,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStart,
)


class _Open:
    """The item that is being told."""

    def __init__(self, item: Item, place: int) -> None:
        self.item = item
        self.place = place
        self.text: list[str] = []  # of the content, summary or arguments that are being told
        self.speaking = False  # whether a content or a summary of it was begun

    @property
    def where(self) -> dict[str, Any]:
        return {"item_id": self.item["id"], "output_index": self.place}

    @property
    def at(self) -> dict[str, Any]:
        """The place of its next content."""
        return {**self.where, "content_index": len(self.item["content"])}


class ResponsesStream:
    """Turns the events of one call into the frames of its answer.

    A refusal is known as one only when it is whole: it is streamed as text, and told again as a refusal.
    """

    def __init__(self, head: Head) -> None:
        self._head = head
        self._sequence = 0
        self._order = InOrder()
        self._output: list[Item] = []
        self._open: _Open | None = None

    def begin(self) -> list[Frame]:
        begun = self._head.response("in_progress")
        return [self._frame(f"response.{kind}", response=begun) for kind in ("created", "in_progress")]

    def event(self, event: PartEvent) -> list[Frame]:
        """The frames of an event that is not the last one."""
        return [frame for one in self._order.take(event) for frame in self._told(one)]

    def end(self, response: LLMResponse) -> list[Frame]:
        frames = self._close()
        whole = output.ended(response, self._head, self._output)
        return [*frames, self._frame(f"response.{whole['status']}", response=whole)]

    def failed(self, error: dict[str, Any]) -> list[Frame]:
        """The frames of an error in the midst of the answer; `error` is the vendor's body of one."""
        told = error["error"]
        shown = {"code": told["code"] or told["type"], "message": told["message"]}
        whole = self._head.response("failed", output=self._output, error=shown)
        return [
            self._frame("error", **shown, param=told["param"]),
            self._frame("response.failed", response=whole),
        ]

    def _told(self, event: PartEvent) -> list[Frame]:
        match event:
            case TextDelta(text=text):
                return self._text(text)
            case ThinkingDelta(text=text):
                return self._thought(text)
            case ToolCallStart(id=id_, name=name):
                begun = output.call(ToolCallPart(id=id_, name=name, arguments=None), self._id("fc"))
                return [*self._close(), *self._add(begun | {"arguments": "", "status": "in_progress"})]
            case ToolCallDelta(arguments=arguments):
                return self._argued(arguments)
            case PartDone(part=TextPart() as part):
                return self._end_text(part)
            case PartDone(part=RefusalPart() as part):
                return self._refused(part)
            case PartDone(part=ThinkingPart() as part):
                return self._end_thought(part)
            case PartDone(part=ToolCallPart() as part):
                return self._end_call(part)
            case PartDone(part=part):
                return self._alone(part)

    # Messages, of one text or refusal after the other.

    def _text(self, text: str) -> list[Frame]:
        frames, item = self._begun("message")
        if not item.speaking:
            item.speaking = True
            empty = output.content(TextPart(text=""))
            frames.append(self._frame("response.content_part.added", **item.at, part=empty))
        item.text.append(text)
        return [*frames, self._frame("response.output_text.delta", **item.at, delta=text, logprobs=[])]

    def _end_text(self, part: TextPart) -> list[Frame]:
        item = self._open
        if item is None or not item.speaking:
            return []
        block = output.content(part.model_copy(update={"text": "".join(item.text)}))
        assert block is not None
        frames = [
            self._frame(
                "response.output_text.annotation.added", **item.at, annotation_index=at, annotation=one
            )
            for at, one in enumerate(block["annotations"])
        ]
        frames += [
            self._frame("response.output_text.done", **item.at, text=block["text"], logprobs=[]),
            self._frame("response.content_part.done", **item.at, part=block),
        ]
        self._said(item, block)
        return frames

    def _refused(self, part: RefusalPart) -> list[Frame]:
        frames, item = self._begun("message")
        frames += self._end_text(TextPart(text=""))
        block = output.content(part)
        assert block is not None
        frames += [
            self._frame("response.content_part.added", **item.at, part={**block, "refusal": ""}),
            self._frame("response.refusal.delta", **item.at, delta=part.text),
            self._frame("response.refusal.done", **item.at, refusal=part.text),
            self._frame("response.content_part.done", **item.at, part=block),
        ]
        self._said(item, block)
        return frames

    def _said(self, item: _Open, block: Item) -> None:
        item.item["content"].append(block)
        item.speaking, item.text = False, []

    # Reasoning, of one summary.

    def _thought(self, text: str) -> list[Frame]:
        frames, item = self._begun("reasoning")
        where = {**item.where, "summary_index": 0}
        if not item.speaking:
            item.speaking = True
            empty = {"type": "summary_text", "text": ""}
            frames.append(self._frame("response.reasoning_summary_part.added", **where, part=empty))
        item.text.append(text)
        return [*frames, self._frame("response.reasoning_summary_text.delta", **where, delta=text)]

    def _end_thought(self, part: ThinkingPart) -> list[Frame]:
        frames, item = self._begun("reasoning")
        text = "".join(item.text)
        item.item.update(output.reasoning(part.model_copy(update={"text": text}), item.item["id"]))
        if item.speaking:
            where = {**item.where, "summary_index": 0}
            told = {"type": "summary_text", "text": text}
            frames += [
                self._frame("response.reasoning_summary_text.done", **where, text=text),
                self._frame("response.reasoning_summary_part.done", **where, part=told),
            ]
        item.speaking = False
        return [*frames, *self._close()]

    # Calls.

    def _argued(self, arguments: str) -> list[Frame]:
        assert self._open is not None
        self._open.text.append(arguments)
        return [self._frame("response.function_call_arguments.delta", **self._open.where, delta=arguments)]

    def _end_call(self, part: ToolCallPart) -> list[Frame]:
        item = self._open
        assert item is not None
        frames = [] if item.text else self._argued(arguments_text(part))
        arguments = "".join(item.text)
        item.item.update(arguments=arguments, status="completed")
        told = {"name": part.name, "arguments": arguments}
        frames.append(self._frame("response.function_call_arguments.done", **item.where, **told))
        return [*frames, *self._close()]

    # Items.

    def _alone(self, part: AnyPart) -> list[Frame]:
        """A part that has no deltas."""
        item = output.item_of(part, self._head.id, len(self._output))
        return [] if item is None else [*self._close(), *self._add(item), *self._close()]

    def _begun(self, kind: str) -> tuple[list[Frame], _Open]:
        """The item of this kind that is being told, or a new one."""
        frames: list[Frame] = []
        if self._open is None or self._open.item["type"] != kind:
            frames = self._close()
            if kind == "message":
                frames += self._add(output.message(self._id("msg"), "in_progress"))
            else:
                frames += self._add({"id": self._id("rs"), "type": "reasoning", "summary": []})
        assert self._open is not None
        return frames, self._open

    def _id(self, kind: str) -> str:
        return output.item_id(kind, self._head.id, len(self._output) + (self._open is not None))

    def _add(self, item: Item) -> list[Frame]:
        self._open = _Open(item, len(self._output))
        # The item grows; what is told now is how it stands.
        told = {name: list(each) if isinstance(each, list) else each for name, each in item.items()}
        return [self._frame("response.output_item.added", output_index=self._open.place, item=told)]

    def _close(self) -> list[Frame]:
        """Ends the item that is being told."""
        item = self._open
        if item is None:
            return []
        frames = self._end_text(TextPart(text="")) if item.item["type"] == "message" else []
        if item.item.get("status") == "in_progress":
            item.item["status"] = "completed"
        self._output.append(item.item)
        self._open = None
        return [
            *frames,
            self._frame("response.output_item.done", output_index=item.place, item=item.item),
        ]

    def _frame(self, kind: str, **fields: Any) -> Frame:
        told = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return Frame(told, kind)
