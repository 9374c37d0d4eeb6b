"""What of a span's attributes may leave the process that recorded it.

Content is dropped unless it is switched on, strings that look like secrets are masked, values are
brought to plain bounded ones, and a user's own hook has the last word. All of this happens in the
recording process.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from llmgine.telemetry.names import CONTENT_ATTRIBUTES, CONTENT_PREFIX

MASK = "[masked]"
MAX_ATTRIBUTES = 128
_MAX_ITEMS = 256
_MAX_DEPTH = 6
_CONTENT_DEPTH = 10  # what tools are given may be nested that deep, and their schemas
_INT64 = range(-(2**63), 2**64)

RedactionHook = Callable[[str, dict[str, Any]], Mapping[str, Any]]
Mask = Callable[[str], str]

_SECRET = re.compile(
    r"""
      \b(?:sk|rk|pk|gsk|xai|hf|r8|pplx|nvapi|tgp|csk|fw)[-_][A-Za-z0-9_\-]{12,}  # keys of model providers
    | \bAIza[0-9A-Za-z_\-]{30,}                                    # Google
    | \b(?:AKIA|ASIA)[0-9A-Z]{16}\b                                # AWS
    | \bgh[pousr]_[A-Za-z0-9]{20,} | \bgithub_pat_[A-Za-z0-9_]{20,}
    | \bxox[abeprs]-[A-Za-z0-9-]{10,}                              # Slack
    | \beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*    # JSON web tokens
    | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----[\s\S]*?(?:-----END[ ][A-Z ]*PRIVATE[ ]KEY-----|\Z)
    | (?i:\b(?:bearer|basic)[ ]+)[A-Za-z0-9._~+/\-]{12,}=*
    | (?i:(?<=api_key=)|(?<=apikey=)|(?<=api-key=)|(?<=password=)|(?<=secret=)|(?<=token=)
        |(?<=access_token=)|(?<=://key=))[^\s&"',;]{4,}
    | (?<=://)[^/\s:@]+:[^/\s@]+(?=@)                              # user:password in URLs
    """,
    re.VERBOSE,
)
_SHORTEST = 8  # nothing that the pattern finds is shorter
_CACHED = 64
_MAX_KEY = 256
_SECRET_NAME = re.compile(
    r"(?i)(?:^|[._-])(?:api[_-]?key|authorization|password|passwd|secret|access[_-]?token|cookie)$"
)


def is_content(key: str) -> bool:
    """Whether an attribute holds what people or models said."""
    return key in CONTENT_ATTRIBUTES or key.startswith(CONTENT_PREFIX)


def without_content(attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes that say nothing of what people or models said."""
    return {key: value for key, value in attributes.items() if not is_content(key)}


def mask_secrets(text: str) -> str:
    """The text with everything that looks like a key, token or password masked."""
    if len(text) < _SHORTEST:
        return text
    return _masked_short(text) if len(text) <= _CACHED else _SECRET.sub(MASK, text)


def masking_also(mask: Mask) -> Mask:
    """`mask_secrets`, after another mask that knows what else is secret."""
    return lambda text: mask_secrets(mask(text))


@functools.lru_cache(maxsize=2048)
def _masked_short(text: str) -> str:
    """Names of models, tools and operations come again and again; the search costs 20 times the look-up."""
    return _SECRET.sub(MASK, text)


@functools.lru_cache(maxsize=2048)
def _safe_key(key: str) -> tuple[str, bool]:
    """The key as it may travel, and whether it names a secret."""
    return cut(_encodable(key), _MAX_KEY), bool(_SECRET_NAME.search(key))


def cut(text: str, limit: int) -> str:
    """The text, cut to `limit` characters with a note of how many are missing."""
    return text if len(text) <= limit else f"{text[:limit]}… [{len(text) - limit} more]"


def plain(value: Any, limit: int, depth: int = 0, mask: Mask = mask_secrets) -> Any:
    """A value that msgpack and JSON both carry, masked and bounded; never raises.

    Strings, numbers, booleans, lists and maps stay what they are; anything else becomes its text.
    """
    kind = type(value)
    if kind is str:
        if len(value) < _SHORTEST <= limit and mask is mask_secrets and value.isascii():
            return value
        # Masked before it is cut, or half a key could stay; what is far beyond the cut is not searched.
        masked = _encodable(mask(value[: 2 * limit]))
        missing = len(value) - 2 * limit
        return cut(masked, limit) if missing <= 0 else f"{masked[:limit]}… [{missing + limit} more]"
    if value is None or kind is bool:
        return value
    if kind is float:
        return value if math.isfinite(value) else str(value)
    if kind is int:
        return value if value in _INT64 else cut(_text(value), limit)
    if isinstance(value, list | tuple | set | frozenset | Mapping) and depth < _MAX_DEPTH:
        try:
            return _plain_items(value, limit, depth + 1, mask)
        except Exception as error:  # another thread changes it, or it is of a class that fails
            return f"[{kind.__name__} that cannot be read: {type(error).__name__}]"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    return plain(_text(value), limit, mask=mask)


def _plain_items(value: Any, limit: int, depth: int, mask: Mask) -> Any:
    if isinstance(value, Mapping):
        return plain_mapping(value, limit, depth, mask)
    return [plain(item, limit, depth, mask) for item, _ in zip(value, range(_MAX_ITEMS), strict=False)]


def plain_mapping(
    attributes: Mapping[Any, Any], limit: int, depth: int = 0, mask: Mask = mask_secrets
) -> dict[str, Any]:
    """`plain` over a mapping; at most MAX_ATTRIBUTES keys, and keys that name a secret lose their value."""
    result: dict[str, Any] = {}
    for key, value in attributes.items():
        if len(result) >= MAX_ATTRIBUTES:
            result["llmgine.dropped_attributes"] = len(attributes) - MAX_ATTRIBUTES
            break
        name = key if type(key) is str else _text(key)
        safe, secret = _safe_key(name if mask is mask_secrets else mask(name))
        start = _MAX_DEPTH - _CONTENT_DEPTH if not depth and safe in CONTENT_ATTRIBUTES else depth
        result[safe] = MASK if secret else plain(value, limit, start, mask)
    return result


def as_json(attributes: dict[str, Any], limit: int) -> dict[str, Any]:
    """With content that has a structure as JSON text, as OpenTelemetry's conventions have it on spans.

    What is longer than the limit loses its oldest items, and is valid JSON whatever it loses.
    """
    structured = [key for key in attributes if is_content(key) and isinstance(attributes[key], list | dict)]
    if not structured:
        return attributes
    return attributes | {key: _json(attributes[key], limit) for key in structured}


def _json(value: Any, limit: int) -> str:
    text = json.dumps(value, ensure_ascii=False)
    while len(text) > limit and isinstance(value, list) and len(value) > 1:
        value = value[1:]
        text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= limit else json.dumps(f"[{len(text)} characters, too many to record]")


def _encodable(text: str) -> str:
    """The text, with halves of surrogate pairs written out: UTF-8 cannot carry them."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception as error:  # a value's own __str__ may do anything
        return f"[{type(value).__name__} without text: {type(error).__name__}]"
