"""A call of a tool that comes to nothing, as the model is told of it."""

from __future__ import annotations

from llmgine.actors.sessions.errors import ToolError, sendable

# How much of an error's text, or of arguments that are no JSON, is shown to the model.
_TEXT_LIMIT = 2000


class CallFailed(Exception):
    """A call came to nothing; the text is for the model. With `again` it may be made again."""

    def __init__(self, text: str, *, again: bool = False) -> None:
        super().__init__(text)
        self.again = again


def raised(name: str, error: BaseException) -> CallFailed:
    """What a tool raised: a `ToolError` in its own words and for good, all else by its class."""
    if isinstance(error, CallFailed):
        return error
    if isinstance(error, ToolError):
        return CallFailed(cut(shown(error)))
    return CallFailed(f"{name} failed: {told(error)}", again=isinstance(error, Exception))


def told(error: BaseException) -> str:
    """The error's class and text."""
    return cut(f"{type(error).__name__}: {shown(error)}")


def shown(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # a class of the user's own that cannot even be shown
        return "it has no text"


def cut(text: str) -> str:
    """As much of the text as a model is told of a failure."""
    text = text if len(text) <= _TEXT_LIMIT else text[:_TEXT_LIMIT] + "…"
    return sendable(text)
