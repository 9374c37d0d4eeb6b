"""Which of a provider's keys a call takes. Pure: times are seconds of one clock, given in.

What a failure says of the key that it came with:

    authentication             the key is out until its text changes
    permission, not found      other keys go before it for this model, for a while; so without money
    rate limit                 it rests for this model, as long as the provider asks; where that asks for no
                               time, other keys go before it, longer each time in a row
    overloaded, with a time    all keys rest for this model
    no connection              counts in the key's breaker
    what else a server does    counts in the breaker of the key and the model
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal
from zlib import crc32

from llmgine.actors.breaking import Breaker
from llmgine.actors.pools.keys.options import KeysOptions
from llmgine.providers.errors import ErrorKind, ErrorPhase, ProviderError

Why = Literal["absent", "refused", "excluded", "broken", "resting"]

_MOST_MODELS = 512
_ROOM = 8  # calls by which the key of a session may be ahead of the others
_TRIAL = 1.0  # seconds after which it is worth to ask again whether a breaker on trial has closed
_OF_THE_SERVER = frozenset(
    {
        ErrorKind.OVERLOADED,
        ErrorKind.SERVER,
        ErrorKind.TIMEOUT,
        ErrorKind.CONNECTION,
        ErrorKind.TRUNCATED,
        ErrorKind.MALFORMED,
    }
)
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why no key can be had: the reason that passes soonest, and when, where time makes it pass."""

    why: Why
    until: float | None = None


class _Model:
    """One key with one model. A later, smaller hint never shortens a rest."""

    __slots__ = ("_pauses", "aside_until", "breaker", "rests_until")

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.rests_until = self.aside_until = 0.0
        self._pauses = 0

    def rest(self, until: float) -> None:
        self.rests_until = max(self.rests_until, until)

    def pause(self, now: float, options: KeysOptions) -> None:
        """It is set aside for a time that nobody told; failures of one burst count once."""
        if now >= self.aside_until:
            self.aside_until = now + min(options.longest_pause, options.pause * 2.0 ** min(self._pauses, 32))
            self._pauses += 1

    def went_well(self) -> None:
        self._pauses = 0


class _Key:
    __slots__ = ("breaker", "failed", "in_flight", "models", "present", "refused", "taken", "text")

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.models: dict[str, _Model] = {}
        self.present = self.refused = False
        self.text = self.in_flight = self.taken = self.failed = 0


@dataclass(eq=False, slots=True)
class Take:
    """A call that was given a key, and which text of it; it is succeeded, failed or released, once."""

    key: str
    model: str
    _text: int
    _known: _Model
    _of_key: int
    _of_model: int


class KeyRing:
    """The keys of one provider by name. None is there until it was `renewed`; `random` draws from 0 to 1."""

    def __init__(self, names: Iterable[str], options: KeysOptions, random: Callable[[], float]) -> None:
        self._options = options
        self._random = random
        self._keys = {name: _Key(Breaker(options.breaker, random)) for name in names}
        self._all: dict[str, float] = {}
        self._turn = 0

    @property
    def any_present(self) -> bool:
        return any(key.present for key in self._keys.values())

    def renewed(self, name: str) -> None:
        """The key has a new text; what its account was limited for stays as it is."""
        key = self._keys[name]
        key.present, key.refused = True, False
        key.text += 1
        for known in key.models.values():
            known.aside_until = 0.0

    def absent(self, name: str) -> None:
        """The key has no text that holds."""
        self._keys[name].present = False

    def order(self, model: str, now: float, session: str = "", excluded: frozenset[str] = _NONE) -> list[str]:
        """The keys that may take a call now, best first; none where it is better to wait for one.

        A session keeps to one key, for what the provider keeps of its prompts, while others are not much less
        busy. Where all were set aside for the model it takes one of them, and after another has failed none.
        """
        if self._all and now < self._all.get(model, 0.0):
            return []
        free: list[str] = []
        aside: list[str] = []
        waits = False
        for name, key in self._keys.items():
            if not key.present or key.refused or name in excluded:
                continue
            known = key.models.get(model)
            if known is not None and now < known.aside_until:
                if self._is_open(key, known, now):
                    aside.append(name)
            elif self._is_open(key, known, now):
                free.append(name)
            else:
                waits = True
        if not free:
            if waits or excluded:
                return []
            free = aside
        return free if len(free) < 2 else self._ranked(free, session)

    def blocked(self, model: str, now: float, excluded: frozenset[str] = _NONE) -> Blocked:
        """Why `order` is empty."""
        resting: list[float] = []
        broken: list[float] = []
        whys: set[Why] = set()
        of_all = self._all.get(model, 0.0)
        for name, key in self._keys.items():
            known = key.models.get(model)
            if not key.present:
                whys.add("absent")
            elif key.refused:
                whys.add("refused")
            elif name in excluded:
                whys.add("excluded")
            elif (until := max(of_all, known.rests_until if known else 0.0)) > now:
                resting.append(until)
            elif self._is_open(key, known, now):  # it is set aside, and another was tried
                whys.add("excluded")
            else:
                breakers = (key.breaker, known.breaker) if known else (key.breaker,)
                opens = [one.half_open_at for one in breakers if one.half_open_at is not None]
                broken.append(max(opens, default=now + _TRIAL))
        if resting:
            return Blocked("resting", min(resting + broken))
        if broken:
            return Blocked("broken", min(broken))
        why: Why = "excluded" if "excluded" in whys else "refused" if "refused" in whys else "absent"
        return Blocked(why)

    def take(self, name: str, model: str) -> Take:
        """A call goes with a key that `order` has just given."""
        key = self._keys[name]
        known = key.models.get(model) or self._met(key, model)
        key.breaker.take(1)
        known.breaker.take(1)
        key.in_flight += 1
        key.taken += 1
        return Take(name, model, key.text, known, key.breaker.generation, known.breaker.generation)

    def succeeded(self, take: Take, now: float) -> None:
        """The call ended well."""
        key, known = self._back(take), take._known
        key.breaker.succeeded(take._of_key, now)
        known.breaker.succeeded(take._of_model, now)
        known.went_well()

    def released(self, take: Take) -> None:
        """The call ended without telling anything of the key: it was given up, or its request was wrong."""
        self._back(take).breaker.released(take._of_key)
        take._known.breaker.released(take._of_model)

    def failed(self, take: Take, error: ProviderError, now: float) -> None:
        """The call failed; what that means for later calls is the table above."""
        key, known = self._keys[take.key], take._known
        key.failed += 1
        if error.kind not in _OF_THE_SERVER or _asks_to_wait(error):
            self.released(take)
            self._mark(take, error, now)
        elif error.phase is ErrorPhase.CONNECT:
            self._back(take).breaker.failed(take._of_key, now)
            known.breaker.released(take._of_model)
        else:
            self._back(take).breaker.succeeded(take._of_key, now)
            known.breaker.failed(take._of_model, now)

    def statistics(self, now: float) -> dict[str, dict[str, Any]]:
        """Each key by name: its state, calls, failures and calls in flight; models that it rests for."""
        return {name: self._figures(key, now) for name, key in self._keys.items()}

    def _mark(self, take: Take, error: ProviderError, now: float) -> None:
        key, known = self._keys[take.key], take._known
        match error.kind:
            case ErrorKind.AUTHENTICATION:
                key.refused = key.refused or take._text == key.text
            case ErrorKind.OVERLOADED:
                until = max(self._all.get(take.model, 0.0), now + (error.retry_after or 0.0))
                self._all = {name: at for name, at in self._all.items() if now < at} | {take.model: until}
            case ErrorKind.PERMISSION | ErrorKind.NOT_FOUND:
                known.aside_until = now + self._options.aside
            case ErrorKind.RATE_LIMIT if not error.retryable:
                known.aside_until = now + self._options.aside
            case ErrorKind.RATE_LIMIT if error.retry_after is not None:
                known.rest(now + error.retry_after)
            case ErrorKind.RATE_LIMIT:
                known.pause(now, self._options)

    def _back(self, take: Take) -> _Key:
        key = self._keys[take.key]
        key.in_flight -= 1
        return key

    def _is_open(self, key: _Key, known: _Model | None, now: float) -> bool:
        if key.breaker.permits(now) < 1:
            return False
        return known is None or (now >= known.rests_until and known.breaker.permits(now) > 0)

    def _ranked(self, free: list[str], session: str) -> list[str]:
        if session:
            start = crc32(session.encode()) % len(free)
        else:
            self._turn += 1
            start = self._turn % len(free)
        turned = free[start:] + free[:start]
        least = min(self._keys[name].in_flight for name in free)
        most = least + least // 2 + _ROOM if session else least
        return sorted(turned, key=lambda name: self._keys[name].in_flight > most)

    def _met(self, key: _Key, model: str) -> _Model:
        if len(key.models) >= _MOST_MODELS:  # names of models come from requests, so there is no end of them
            idle = (name for name, one in key.models.items() if one.breaker.state == "closed")
            del key.models[next(idle, next(iter(key.models)))]
        known = key.models[model] = _Model(Breaker(self._options.breaker, self._random))
        return known

    def _figures(self, key: _Key, now: float) -> dict[str, Any]:
        state = "ok"
        if not key.present:
            state = "absent"
        elif key.refused:
            state = "refused"
        elif key.breaker.state != "closed":
            state = key.breaker.state
        left = {name: round(one.rests_until - now, 3) for name, one in key.models.items()}
        return {
            "state": state,
            "calls": key.taken,
            "failed": key.failed,
            "in_flight": key.in_flight,
            "resting": {name: seconds for name, seconds in left.items() if seconds > 0},
            "aside": [name for name, one in key.models.items() if now < one.aside_until],
            "broken": [name for name, one in key.models.items() if one.breaker.state != "closed"],
        }


def _asks_to_wait(error: ProviderError) -> bool:
    return error.kind is ErrorKind.OVERLOADED and error.retry_after is not None
