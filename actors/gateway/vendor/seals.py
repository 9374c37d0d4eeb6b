"""Reasoning that a client keeps for us: what its maker wants back, in the one opaque field that vendors have.

A client gives it back as it came; what is read out of it is worth no more than the rest of its request.
"""

from __future__ import annotations

import base64
from typing import Any, Final

from pydantic import Field

from llmgine.providers.contracts import Contract, Origin, ThinkingPart

_MARK: Final = "llmgine.1."


class _Seal(Contract):
    origin: Origin | None = None
    signature: str | None = None
    redacted: str | None = None
    encrypted: str | None = None
    provider_data: dict[str, Any] = Field(default_factory=dict)


def sealed(part: ThinkingPart) -> str:
    """Everything of the part but its text."""
    told = _Seal(**{name: getattr(part, name) for name in _Seal.model_fields})
    return _MARK + base64.urlsafe_b64encode(told.model_dump_json(exclude_defaults=True).encode()).decode()


def unsealed(text: str, seal: str) -> ThinkingPart | None:
    """The part with this text that `seal` was made of; None for what is none of ours."""
    if not seal.startswith(_MARK):
        return None
    try:
        told = _Seal.model_validate_json(base64.urlsafe_b64decode(seal.removeprefix(_MARK)))
    except ValueError:
        return None
    return ThinkingPart(text=text, **{name: getattr(told, name) for name in _Seal.model_fields})
