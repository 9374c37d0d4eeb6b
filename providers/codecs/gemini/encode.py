"""Requests of Gemini's generateContent protocol."""

from __future__ import annotations

import re
from typing import Any

from llmgine.providers.codecs.encoding import Encoding
from llmgine.providers.codecs.gemini.contents import Contents
from llmgine.providers.codecs.gemini.limits import refuse
from llmgine.providers.codecs.gemini.settings import Settings

_CACHED = (("system", "systemInstruction"), ("tools", "tools"), ("tool_choice", "toolConfig"))
# The name becomes part of the URL, which it may not lead elsewhere.
_MODEL = re.compile(r"(?!.*(?:^|/)\.{1,2}(?:/|$))[\w.@-]+(?:/[\w.@-]+)*")


class GenerateContentEncoding:
    """Builds one body. What stays the same from turn to turn comes first; the order never varies."""

    def __init__(self, encoding: Encoding, *, legacy: bool) -> None:
        self._encoding = encoding
        self._legacy = legacy

    def body(self) -> dict[str, Any]:
        encoding = self._encoding
        self._check()
        if self._legacy:
            refuse(encoding)
        settings = Settings(encoding, legacy=self._legacy)
        body: dict[str, Any] = {}
        if system := encoding.system:
            body["systemInstruction"] = {"parts": [{"text": text} for text in system]}
        body |= settings.tools()
        if config := settings.generation():
            body["generationConfig"] = config
        if cached := settings.cached():
            self._leave_to_cache(body)
            body |= cached
        if encoding.request.idempotency_key is not None:
            encoding.dropped("idempotency_key", "Gemini does not tell a repeated call from a new one")
        body["contents"] = Contents(encoding, encoding.leading, legacy=self._legacy).build()
        return encoding.laid_over(body, "tools")

    def _check(self) -> None:
        encoding = self._encoding
        encoding.check()
        if not _MODEL.fullmatch(encoding.target.model):
            encoding.invalid("model", f"Gemini has no model of a name like {encoding.target.model!r}")
        if "contents" in encoding.options:
            encoding.invalid("provider_options.contents", "it has a field of its own; set `messages` instead")

    def _leave_to_cache(self, body: dict[str, Any]) -> None:
        """Gemini refuses a system prompt and tools beside cached content."""
        for name, field in _CACHED:
            if field in body:
                self._encoding.unsupported(name, "cached content brings its own; leave out `cache.content`")
                del body[field]
