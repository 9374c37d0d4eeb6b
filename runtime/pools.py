"""Provider pools as a driver holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmgine.actors.control import ControlClient
from llmgine.providers import UnknownModel
from llmgine.providers.options import ProvidersOptions


@dataclass(frozen=True, slots=True)
class PoolHandle:
    """One provider's pool."""

    provider: str
    _control: ControlClient

    async def scale(self, size: int) -> Sequence[str]:
        """Returns the names of the pool's actors once `size` of them take calls.

        Surplus actors take no new call and go when their running streams have ended.
        """
        if size < 0:
            raise ValueError(f"a pool has 0 or more actors, not {size}")
        return tuple(await self._control.call("pools", "scale", self.provider, size))


@dataclass(frozen=True, slots=True)
class Pools:
    """`runtime.pools[provider]`."""

    _control: ControlClient
    _providers: ProvidersOptions

    def __getitem__(self, provider: str) -> PoolHandle:
        if provider not in self._providers.endpoints:
            known = ", ".join(sorted(self._providers.endpoints))
            raise UnknownModel(
                f"no provider is called {provider!r}; known are {known}; add one under providers.endpoints"
            )
        return PoolHandle(provider, self._control)
