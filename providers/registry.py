"""Opening a provider by its endpoint's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import SecretStr

from llmgine.providers.catalogue.profiles import ModelProfile, profiler
from llmgine.providers.errors import UnknownModel
from llmgine.providers.keys import find_key
from llmgine.providers.options import EndpointOptions, ProvidersOptions
from llmgine.providers.provider import LimitsTold, Provider

if TYPE_CHECKING:
    from llmgine.providers.layers.provider import Layers


def open_provider(name: str, options: ProvidersOptions) -> Provider:
    """The provider of endpoint `name`, with its key found and its SDK, if it has one, loaded.

    Its calls give structured output, are mended when they break, and know what the model can do. Loading
    takes a second or two, so it belongs to an actor's start. Raises `MissingKey`, `ModelNotInstalled` or
    `UnknownModel`.
    """
    key = find_key(name, _endpoint(name, options))
    return open_layers(name, options).over(open_endpoint(name, options, key))


def open_layers(name: str, options: ProvidersOptions) -> Layers:
    """What the calls of an endpoint go through beside its protocol, over whatever makes them."""
    from llmgine.providers.layers.provider import Layers

    endpoint = _endpoint(name, options)
    return Layers(endpoint, options, _profiler(name, endpoint, options))


def open_endpoint(
    name: str, options: ProvidersOptions, key: SecretStr | None, told: LimitsTold | None = None
) -> Provider:
    """A provider that makes the endpoint's calls with this key, and does no more than its protocol.

    `told` hears what each streamed answer says of the key's limits, as soon as it begins.

    Raises `ModelNotInstalled` or `UnknownModel`.
    """
    endpoint = _endpoint(name, options)
    profile = _profiler(name, endpoint, options)
    match endpoint.kind:
        case "scripted":
            from llmgine.providers.scripted.provider import ScriptedProvider

            return ScriptedProvider(name, options)
        case "local":
            from llmgine.providers.local.provider import LocalProvider

            return LocalProvider(name, options, profile)
        case _:
            from llmgine.providers.calls.provider import HttpProvider

            return HttpProvider.open(name, options, profile, key, told)


def _endpoint(name: str, options: ProvidersOptions) -> EndpointOptions:
    endpoint = options.endpoints.get(name)
    if endpoint is None:
        raise UnknownModel(
            f"no provider is called {name!r}; there are: {', '.join(sorted(options.endpoints))}. "
            "More are added under providers.endpoints"
        )
    return endpoint


def _profiler(
    name: str, endpoint: EndpointOptions, options: ProvidersOptions
) -> Callable[[str], ModelProfile]:
    return profiler(name, endpoint.preset or endpoint.kind, options.profiles)
