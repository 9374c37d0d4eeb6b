"""Opening a provider by its endpoint's name."""

from __future__ import annotations

from collections.abc import Callable

from llmgine.providers.catalogue.profiles import ModelProfile, profiler
from llmgine.providers.errors import UnknownModel
from llmgine.providers.options import EndpointOptions, ProvidersOptions
from llmgine.providers.provider import Provider


def open_provider(name: str, options: ProvidersOptions) -> Provider:
    """The provider of endpoint `name`, with its key found and its SDK, if it has one, loaded.

    Its calls give structured output, are mended when they break, and know what the model can do. Loading
    takes a second or two, so it belongs to an actor's start. Raises `MissingKey`, `ModelNotInstalled` or
    `UnknownModel`.
    """
    from llmgine.providers.layers.provider import LayeredProvider

    endpoint = options.endpoints.get(name)
    if endpoint is None:
        raise UnknownModel(
            f"no provider is called {name!r}; there are: {', '.join(sorted(options.endpoints))}. "
            "More are added under providers.endpoints"
        )
    profile = profiler(name, endpoint.preset or endpoint.kind, options.profiles)
    return LayeredProvider(_opened(name, endpoint, options, profile), endpoint, options, profile)


def _opened(
    name: str,
    endpoint: EndpointOptions,
    options: ProvidersOptions,
    profile: Callable[[str], ModelProfile],
) -> Provider:
    match endpoint.kind:
        case "scripted":
            from llmgine.providers.scripted.provider import ScriptedProvider

            return ScriptedProvider(name, options)
        case "local":
            from llmgine.providers.local.provider import LocalProvider

            return LocalProvider(name, options, profile)
        case _:
            from llmgine.providers.calls.provider import HttpProvider

            return HttpProvider.open(name, options, profile)
