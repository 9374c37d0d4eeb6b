"""The settings that each pool's actors run with: those of the launch, and what was changed since."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from llmgine.actors.pools import PoolOptions, PoolsOptions
from llmgine.actors.pools.errors import PoolChangeRefused
from llmgine.providers.mistakes import mistakes
from llmgine.providers.options import EndpointOptions, ProvidersOptions

# Settings of a pool that the supervisor alone acts on: no actor is replaced for them.
_OF_SUPERVISOR = ("size", "scaling")
# Settings of an endpoint that callers read at their own places.
_OF_CALLERS = ("kind", "models", "preset")


class PoolForms:
    """Settings as plain values. Changes are those of one pool, of its own and of its endpoint, by name."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._pools = PoolsOptions.model_validate(settings["pools"])
        self._providers = ProvidersOptions.model_validate(settings["providers"])

    def pool(self, provider: str, changes: Mapping[str, Any]) -> PoolOptions:
        """The pool's own settings."""
        options = self._pools.of(provider)
        if not changes:
            return options
        return PoolOptions.model_validate(_merged(options, _of(PoolOptions, changes)))

    def settings(self, provider: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The whole tree for one of the pool's actors."""
        if not changes:
            return self._settings
        pools, providers = self._settings["pools"], self._settings["providers"]
        pool = self.pool(provider, changes).model_dump(mode="json")
        endpoint = _merged(self._providers.endpoints[provider], _of(EndpointOptions, changes))
        return {
            **self._settings,
            "pools": {**pools, "by_provider": {**pools.get("by_provider", {}), provider: pool}},
            "providers": {**providers, "endpoints": {**providers.get("endpoints", {}), provider: endpoint}},
        }

    def changed(
        self, provider: str, before: Mapping[str, Any], asked: Mapping[str, Any]
    ) -> tuple[dict[str, Any], bool]:
        """All changes with those that are asked for, and whether actors must be replaced for them.

        Nested settings change by name, all else is set anew. `PoolChangeRefused` says what cannot be.
        """
        _check_names(provider, asked)
        try:
            tree = self.settings(provider, before)
            pool = PoolsOptions.model_validate(tree["pools"]).of(provider)
            endpoint = ProvidersOptions.model_validate(tree["providers"]).endpoints[provider]
            merged = {
                **_merged(pool, _of(PoolOptions, asked)),
                **_merged(endpoint, _of(EndpointOptions, asked)),
            }
            if merged["cache"]["enabled"] != pool.cache.enabled:
                raise PoolChangeRefused(
                    f"cache.enabled of {provider!r} is known to callers too, and cannot be changed while the "
                    "runtime runs; set it at the launch, or response_cache in requests and turns"
                )
            after = {**before, **{name: merged[name] for name in asked}}
            ProvidersOptions.model_validate(self.settings(provider, after)["providers"])
        except ValidationError as error:
            raise PoolChangeRefused(
                f"the pool {provider!r} cannot be changed so: {mistakes(error)}"
            ) from None
        old = {**pool.model_dump(mode="json"), **endpoint.model_dump(mode="json")}
        replaced = any(old[name] != merged[name] for name in asked if name not in _OF_SUPERVISOR)
        return after, replaced


def _check_names(provider: str, asked: Mapping[str, Any]) -> None:
    known = sorted({*PoolOptions.model_fields, *EndpointOptions.model_fields})
    for name in asked:
        if name in _OF_CALLERS:
            raise PoolChangeRefused(
                f"{name} of {provider!r} is known to callers too, and cannot be changed while the runtime "
                f"runs; set it in providers.endpoints.{provider} at the launch"
            )
        if name not in known:
            raise _unknown(f"a pool and its endpoint have no setting {name!r}", name, known)
    for options in (PoolOptions, EndpointOptions):
        _check_below(options, _of(options, asked), ())


def _check_below(options: type[BaseModel], asked: Mapping[str, Any], above: tuple[str, ...]) -> None:
    """The same for settings that stand inside of others."""
    for name, value in asked.items():
        if above and name not in options.model_fields:
            raise _unknown(f"{'.'.join(above)} has no setting {name!r}", name, sorted(options.model_fields))
        below = options.model_fields[name].annotation
        if isinstance(value, Mapping) and isinstance(below, type) and issubclass(below, BaseModel):
            _check_below(below, value, (*above, name))


def _unknown(said: str, name: str, known: list[str]) -> PoolChangeRefused:
    near = difflib.get_close_matches(name, known, 1)
    return PoolChangeRefused(
        said + (f"; did you mean {near[0]}?" if near else f"; it has {', '.join(known)}")
    )


def _of(options: type[BaseModel], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if name in options.model_fields}


def _merged(options: BaseModel, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values of the options with the changes over them; nested options change field by field."""
    merged = options.model_dump(mode="json")
    for name, value in changes.items():
        below = getattr(options, name, None)
        if isinstance(below, BaseModel) and isinstance(value, Mapping):
            merged[name] = _merged(below, value)
        else:
            merged[name] = value
    return merged
