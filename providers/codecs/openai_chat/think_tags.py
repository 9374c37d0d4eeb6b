"""Reasoning that a server leaves within the text, between `<think>` tags."""

from __future__ import annotations

import enum
from typing import Literal

OPENING = "<think>"
CLOSING = "</think>"

Said = tuple[Literal["thinking", "text"], str]


class _State(enum.Enum):
    START = enum.auto()
    INSIDE = enum.auto()
    AFTER = enum.auto()
    DONE = enum.auto()


class ThinkTags:
    """Tells reasoning from text while an answer grows, however it is cut into pieces.

    Only a tag at the very start of the answer opens reasoning, white space aside; any later one is text that
    speaks of tags. With `opened` the answer begins inside, because the prompt held the opening tag. At most
    the beginning of a tag is held back. `opening` and `closing` are the tags with the white space around the
    reasoning, so that with the pieces not a character is lost.
    """

    def __init__(self, *, opened: bool = False) -> None:
        self._state = _State.INSIDE if opened else _State.START
        self._held = ""
        self.opening = ""
        self.closing = ""

    @property
    def done(self) -> bool:
        """Whether everything from now on is text."""
        return self._state is _State.DONE

    def feed(self, text: str) -> list[Said]:
        """What a piece of the answer says, as far as it is decided; none of it is empty."""
        said: list[Said] = []
        text, self._held = self._held + text, ""
        if self._state is _State.START:
            text = self._start(text)
        if self._state is _State.INSIDE:
            text = self._inside(text, said)
        if self._state is _State.AFTER:
            text = self._after(text)
        if self._state is _State.DONE and text:
            said.append(("text", text))
        return said

    def end(self) -> list[Said]:
        """What was held back, when the answer ended or something other than text follows."""
        held, self._held = self._held, ""
        inside = self._state is _State.INSIDE
        self._state = _State.DONE
        if not held:
            return []
        return [("thinking" if inside else "text", held)]

    def _start(self, text: str) -> str:
        bare = text.lstrip()
        if bare.startswith(OPENING):
            self._state = _State.INSIDE
            self.opening = text[: len(text) - len(bare) + len(OPENING)]
            return bare[len(OPENING) :]
        if OPENING.startswith(bare):
            self._held = text
            return ""
        self._state = _State.DONE
        return text

    def _inside(self, text: str, said: list[Said]) -> str:
        thought, tag, rest = text.partition(CLOSING)
        if tag:
            self._state = _State.AFTER
            self.closing = CLOSING
        else:
            kept = _begun(text)
            thought, self._held = text[: len(text) - kept], text[len(text) - kept :]
        if thought:
            said.append(("thinking", thought))
        return rest

    def _after(self, text: str) -> str:
        bare = text.lstrip()
        self.closing += text[: len(text) - len(bare)]
        if bare:
            self._state = _State.DONE
        return bare


def _begun(text: str) -> int:
    """How many characters at the end of a text may be the beginning of the closing tag."""
    for length in range(min(len(text), len(CLOSING) - 1), 0, -1):
        if CLOSING.startswith(text[-length:]):
            return length
    return 0
