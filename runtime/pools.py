"""Provider pools as a driver holds them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python

from llmgine.actors.control import ControlClient
from llmgine.actors.pools.errors import PoolChangeRefused
from llmgine.providers import InvalidRequest, UnknownModel
from llmgine.providers.options import ProvidersOptions
from llmgine.runtime.checks import checked_number
from llmgine.runtime.pool_statistics import PoolStatistics

# How long a change of a pool is waited for, in seconds; it goes on afterwards.
_WAIT = 60.0


@dataclass(frozen=True, slots=True)
class PoolHandle:
    """One provider's pool.

    Its verbs wait for up to `wait` seconds and then raise `PoolNotReady`; what they asked for goes on.
    """

    provider: str
    _control: ControlClient

    async def scale(self, size: int, *, wait: float = _WAIT) -> Sequence[str]:
        """Returns the names of the pool's actors once `size` of them take calls.

        Surplus actors take no new call and go when their running streams have ended. An actor for which
        the cluster has no room waits until there is; the others serve meanwhile.
        """
        asked = checked_number("size", size, 0)
        return tuple(await self._ask("scale", asked, _checked_wait(wait)))

    async def drain(self, actor: str | None = None, *, wait: float | None = None) -> None:
        """Returns once every actor of the pool has ended its streams and is gone, or the named one.

        Another takes the place of a single actor before it leaves. A pool that was drained whole starts
        again with the next call that needs it.
        """
        await self._ask("drain", actor, None if wait is None else _checked_wait(wait))

    async def reconfigure(self, *, wait: float = _WAIT, **changes: Any) -> Sequence[str]:
        """Changes settings of the pool and of its endpoint, and returns the names of its actors then.

        New actors take calls with the new settings before the old ones end their streams and go, so no
        call is lost. Nested settings change by name (`scaling={"max_size": 4}`), others are set anew. The
        changes hold as long as the runtime. `PoolChangeRefused` says what is wrong, and then nothing has
        changed.
        """
        return tuple(await self._ask("reconfigure", _plain(changes), _checked_wait(wait)))

    async def clear_cache(self) -> None:
        """No request is answered any more with what was said until now: kept answers are forgotten, in the
        store too, and those of calls under way are not kept.
        """
        await self._ask("clear_cache")

    async def statistics(self) -> PoolStatistics:
        """How the pool and each of its actors stand."""
        found: Mapping[str, Any] = await self._ask("statistics")
        return PoolStatistics.of(self.provider, found[self.provider])

    async def _ask(self, verb: str, *arguments: Any) -> Any:
        return await self._control.call("pools", verb, self.provider, *arguments)


@dataclass(frozen=True, slots=True)
class Pools:
    """`runtime.pools`: the pool of each provider by its name; iterating gives the names."""

    _control: ControlClient
    _providers: ProvidersOptions

    def __getitem__(self, provider: str) -> PoolHandle:
        if provider not in self:
            raise UnknownModel(
                f"no provider is called {provider!r}; known are {', '.join(self)}; add one under "
                f"providers.endpoints"
            )
        return PoolHandle(provider, self._control)

    def __contains__(self, provider: object) -> bool:
        return provider in self._providers.endpoints

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._providers.endpoints))

    def __len__(self) -> int:
        return len(self._providers.endpoints)

    async def statistics(self) -> dict[str, PoolStatistics]:
        """How each pool stands that has been used or changed, by the provider's name."""
        found: Mapping[str, Any] = await self._control.call("pools", "statistics")
        return {provider: PoolStatistics.of(provider, told) for provider, told in found.items()}


def _checked_wait(wait: float) -> float:
    if isinstance(wait, int | float) and not isinstance(wait, bool) and 0 < wait < math.inf:
        return wait
    raise InvalidRequest(f"wait= is seconds above 0, not {wait!r}")


def _plain(changes: Mapping[str, Any]) -> dict[str, Any]:
    """As plain values; of settings that were given as their class only what was set."""
    try:
        return {
            name: value.model_dump(mode="json", exclude_unset=True)
            if isinstance(value, BaseModel)
            else to_jsonable_python(value)
            for name, value in changes.items()
        }
    except PydanticSerializationError as error:
        raise PoolChangeRefused(f"settings are plain values: {error}") from None
