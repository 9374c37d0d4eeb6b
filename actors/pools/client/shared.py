"""What all model calls of one process have in common."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from llmgine.actors.link import Peer
from llmgine.actors.pools.caching.hashing import AnswerKeys
from llmgine.actors.pools.client.places import Places
from llmgine.actors.pools.failover.breakers import Breakers
from llmgine.actors.pools.failover.budget import Budget
from llmgine.actors.pools.failover.latency import FirstTokens
from llmgine.actors.pools.failover.options import FailoverOptions
from llmgine.actors.pools.pieces import RequestWriter
from llmgine.providers import Fallback
from llmgine.providers.names import Link, ModelName, resolve_chain
from llmgine.providers.options import ProvidersOptions

if TYPE_CHECKING:
    from llmgine.providers.catalogue.profiles import ModelProfile

_MOST_NAMES = 1_000


class Shared:
    """Places, breakers, budgets, names, what was sent; written by every call, by none across an await."""

    def __init__(
        self,
        places: Places,
        peer: Callable[[str], Peer],
        providers: ProvidersOptions,
        options: FailoverOptions,
        chance: random.Random,
        shares: Callable[[str], bool],
    ) -> None:
        self.places = places
        self.peer = peer
        self.options = options
        self.chance = chance
        self.breakers = Breakers(options.breaker, chance.random)
        self.budget = Budget(options.budget)
        self.hedges = Budget(options.hedge.budget)
        self.writer = RequestWriter()
        self.answers = AnswerKeys(providers, shares)
        self._providers = providers
        self._chains: dict[tuple[str, tuple[Fallback, ...]], tuple[Link, ...]] = {}
        self._first_tokens: dict[ModelName, FirstTokens] = {}

    def chain(self, model: str, fallbacks: tuple[Fallback, ...] = ()) -> tuple[Link, ...]:
        """The models that a call may take in turn; UnknownModel."""
        asked = (model, fallbacks)
        known = self._chains.get(asked)
        if known is None:
            known = resolve_chain(model, self._providers, fallbacks)
            if len(self._chains) >= _MOST_NAMES:
                self._chains.clear()
            self._chains[asked] = known
        return known

    def profile(self, model: ModelName) -> ModelProfile:
        """What that model can do; reads the catalogue, which is not for the loop."""
        from llmgine.providers.catalogue.profiles import profiler

        endpoint = self._providers.endpoints[model.provider]
        kind = endpoint.preset or endpoint.kind
        return profiler(model.provider, kind, self._providers.profiles)(model.model)

    def first_tokens(self, model: ModelName) -> FirstTokens:
        """How long that model's calls take to begin."""
        if model not in self._first_tokens:
            if len(self._first_tokens) >= _MOST_NAMES:
                self._first_tokens.clear()
            self._first_tokens[model] = FirstTokens()
        return self._first_tokens[model]
