"""What both of OpenAI's protocols say alike: forced arguments, effort, and what of a prompt is kept."""

from __future__ import annotations

import hashlib
from typing import Any

from llmgine.providers.codecs.encoding import Encoding
from llmgine.providers.codecs.reasoning import effort_for, nearest_effort
from llmgine.providers.codecs.schema import openai_strict
from llmgine.providers.contracts import Effort, Reasoning, ToolSpec

_LONGEST_KEY = 64
_HOUR = 3600


def strict_parameters(encoding: Encoding, tool: ToolSpec, field: str) -> dict[str, Any] | None:
    """The schema that a tool's arguments are forced to fit; None, which is noted, where they cannot be."""
    dialect = openai_strict(tool.parameters)
    if not dialect.strict:
        encoding.changed(f"{field}.strict", dialect.differences[0])
        return None
    for difference in dialect.differences:
        encoding.changed(f"{field}.parameters", difference)
    return dialect.schema


def may_force(encoding: Encoding) -> bool:
    """Whether the choice of tools can be sent: a call that a model cannot be made to make is unsupported."""
    if encoding.target.profile.forced_tools or encoding.request.tool_choice in ("auto", "none"):
        return True
    encoding.unsupported("tool_choice", "this model cannot be made to call a tool")
    return False


def effort_of(encoding: Encoding, asked: Reasoning) -> Effort | None:
    """The level of effort to ask for, one that the model knows; None where nothing was said about it."""
    wanted = asked.effort
    if wanted is None:
        if asked.budget is None:
            return None
        wanted = effort_for(asked.budget)
    elif asked.budget is not None:
        encoding.dropped("reasoning.budget", "the model is told how much to think by effort alone")
    sent = nearest_effort(wanted, encoding.target.profile.efforts)
    if sent != wanted or (asked.budget and asked.effort is None):
        encoding.changed("reasoning", f"the model is told how much to think by effort: {sent}")
    return sent


def cache_key(encoding: Encoding, key: str | None) -> dict[str, Any]:
    """The field that tells requests of one kind."""
    if key is None:
        return {}
    if len(key) > _LONGEST_KEY:
        reason = f"keys have {_LONGEST_KEY} characters at most, so that its hash is sent"
        encoding.changed("cache.key", reason)
        key = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return {"prompt_cache_key": key}


def cache_retention(encoding: Encoding, ttl: float | None) -> dict[str, Any]:
    """How long a model keeps the beginnings that it chooses by itself."""
    if ttl is None:
        return {}
    if ttl <= _HOUR:
        encoding.dropped("cache.ttl", "up to an hour OpenAI itself chooses how long it keeps a beginning")
        return {}
    if ttl != 24 * _HOUR:
        encoding.changed("cache.ttl", "it is kept for 24 h, the nearest time that this model offers")
    return {"prompt_cache_retention": "24h"}
