"""What goes wrong with code on its way to another process."""

from __future__ import annotations

from llmgine.providers.errors import LlmgineError


class UnsendableCode(LlmgineError):
    """Code cannot be pickled; the message names the object that stands in the way."""


class CodeUnavailable(LlmgineError):
    """Code cannot be loaded in this process; the message says what is missing."""
