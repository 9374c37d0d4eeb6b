"""Which limits the settings set for each key, and which meters a call by a key runs past."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

from llmgine.actors.pools.quota.meters import DAY, MINUTE, RATES, Limit, Meter, Of
from llmgine.providers.catalogue.limits import KeyLimits, Limits

_FIELDS: Final[tuple[tuple[str, Of], ...]] = (
    ("requests_per_minute", "requests"),
    ("tokens_per_minute", "tokens"),
    ("input_tokens_per_minute", "input_tokens"),
    ("output_tokens_per_minute", "output_tokens"),
    ("concurrency", "concurrency"),
    ("dollars_per_day", "dollars"),
)
SETTING_OF: Final = {of: field for field, of in _FIELDS}
_MOST_MODELS = 1024


class Plan:
    """The limits of keys by name, as they are set."""

    def __init__(self, keys: Mapping[str, KeyLimits]) -> None:
        self._keys = dict(keys)
        self.settings = {meter: limit for key in self._keys for meter, limit in self._limits(key)}
        self.meters = lru_cache(_MOST_MODELS)(self._meters)

    @property
    def counts_dollars(self) -> bool:
        """Whether any key has a limit of dollars."""
        return any(meter.of == "dollars" for meter in self.settings)

    def group(self, key: str, model: str) -> str:
        """The group for which a limit holds that the provider tells of when this model is called."""
        return "" if self._keys[key].learn == "key" else model

    def learns(self, key: str) -> bool:
        return self._keys[key].learn != "off"

    def _meters(self, key: str, model: str) -> tuple[Meter, ...]:
        """What a call of the model by this key runs past, those first that are set."""
        groups = ["", *self._keys[key].patterns_of(model)]
        found = [meter for meter in self.settings if meter.key == key and meter.group in groups]
        if self.learns(key):
            group = self.group(key, model)
            known = any(meter.of in RATES for meter in found)
            learned: list[Of] = [*sorted(RATES)] if known else [*sorted(RATES), "trial"]
            found += [one for of in learned if (one := Meter(key, group, of)) not in found]
        return tuple(found)

    def _limits(self, key: str) -> Iterator[tuple[Meter, Limit]]:
        limits = self._keys[key]
        groups: list[tuple[str, Limits]] = [("", limits), *limits.models.items()]
        for group, some in groups:
            for field, of in _FIELDS:
                amount = getattr(some, field)
                if amount is not None:
                    window = DAY if of == "dollars" else MINUTE
                    yield Meter(key, group, of), Limit(float(amount), window, limits.burst)
