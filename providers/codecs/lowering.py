"""A request of any sort on its way into a protocol, with the differences that it suffers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from llmgine.providers.codecs.codec import Target
from llmgine.providers.contracts import Adjustment, EmbeddingRequest, LLMRequest
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, InvalidRequest, ProviderError
from llmgine.providers.options import holds_key


class Lowering:
    """Keeps account of what was left out or changed, and refuses what must not be sent."""

    def __init__(self, asked: LLMRequest | EmbeddingRequest, target: Target, api: str) -> None:
        self._asked = asked
        self.target = target
        self.api = api
        self._adjustments: list[Adjustment] = []

    @property
    def options(self) -> dict[str, Any]:
        """The request's own options for this protocol, and over them those for this endpoint."""
        given = self._asked.provider_options
        return merged(given.get(self.api, {}), given.get(self.target.provider, {}))

    @property
    def adjustments(self) -> tuple[Adjustment, ...]:
        return tuple(self._adjustments)

    def unsupported(self, field: str, reason: str) -> None:
        """The protocol has no place for a field: an error, or where the caller allows it a note."""
        if self._asked.on_unsupported == "adjust":
            self.dropped(field, reason)
            return
        raise ProviderError(
            f'{field}: {reason}; leave it out, or set on_unsupported="adjust" to send the rest',
            kind=ErrorKind.UNSUPPORTED,
            phase=ErrorPhase.REQUEST,
            scope=ErrorScope.MODEL,
            provider=self.target.provider,
            model=self.target.model,
        )

    def dropped(self, field: str, reason: str) -> None:
        self._adjustments.append(Adjustment(field=field, action="dropped", reason=reason))

    def changed(self, field: str, reason: str) -> None:
        self._adjustments.append(Adjustment(field=field, action="changed", reason=reason))

    def invalid(self, field: str, reason: str) -> NoReturn:
        raise InvalidRequest(f"{field}: {reason}")

    def laid_over(self, body: Mapping[str, Any], *joined: str) -> dict[str, Any]:
        """The body with the options over it; to the lists named in `joined` they add."""
        options = self.options
        for name in joined:
            if isinstance(more := options.get(name), list):
                held = body.get(name, [])
                options[name] = [*held, *(one for one in more if one not in held)]
        return merged(body, options)

    def check_options(self, *own_fields: str) -> None:
        """`InvalidRequest` for an option that has a field of its own, and for a header that holds a key."""
        options = self.options
        for name in ("model", *own_fields):
            if name in options:
                self.invalid(f"provider_options.{name}", f"it has a field of its own; set `{name}` instead")
        for name in self._asked.extra_headers:
            if holds_key(name):
                reason = "it holds a key, which no request carries; use the endpoint's key_file or key_env"
                self.invalid(f"extra_headers.{name}", reason)


def merged(body: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The body with options laid over it; objects are merged, everything else is replaced."""
    result = dict(body)
    for name, value in options.items():
        held = result.get(name)
        both = isinstance(held, Mapping) and isinstance(value, Mapping)
        result[name] = merged(held, value) if both and held is not None else value
    return result
