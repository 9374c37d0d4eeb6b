"""Keeping a key's text out of whatever is told or kept."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from pydantic import SecretStr

HIDDEN = "[key]"

_SHORT = 8  # a shorter key may be a part of any word, so only as a word of its own is it one
# What servers that need no key are given for one, as their own manuals say. No secret, and all over JSON.
_PLACEHOLDERS = frozenset(
    {"none", "null", "empty", "dummy", "ollama", "vllm", "local", "key", "apikey", "api-key", "no-key", "n/a"}
)


class KeyMask:
    """Hides one key in texts and bodies. None, and a word that stands for no key, hide nothing."""

    def __init__(self, key: SecretStr | None) -> None:
        text = key.get_secret_value() if key else ""
        self._pattern: re.Pattern[str] | None = None
        self._bytes: re.Pattern[bytes] | None = None
        if text and text.lower() not in _PLACEHOLDERS:
            pattern = _pattern(text)
            self._pattern, self._bytes = re.compile(pattern), re.compile(pattern.encode())

    def text(self, text: str) -> str:
        """The text with a word in the place of the key."""
        return self._pattern.sub(HIDDEN, text) if self._pattern else text

    def body(self, body: bytes) -> bytes:
        """The body with the key overwritten; its length and the places of everything else stay."""
        return self._bytes.sub(lambda found: b"*" * len(found[0]), body) if self._bytes else body


def _pattern(key: str) -> str:
    """The key as it is, and as JSON and URLs write it."""
    forms = {key, json.dumps(key)[1:-1], quote(key, safe="")}
    found = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    if len(key) >= _SHORT:
        return found
    return rf'(?<![A-Za-z0-9])(?:{found})(?![A-Za-z0-9])(?!"\s*:)'  # nor is it the name of a field
