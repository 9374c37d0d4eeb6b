"""One key's source inside a provider actor: its file and environment, or a function of the user's."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import math
from collections.abc import Callable
from typing import Any

from pydantic import SecretStr

from llmgine.providers.keys.places import UNFIT, Found, KeyPlace, Missing, can_be_sent, look

_PATIENCE = 30.0


class KeySource:
    """Looks for one key. Whatever a function does, its exception shows up as the name of its class alone."""

    def __init__(self, place: KeyPlace, *, patience: float = _PATIENCE) -> None:
        self.place = place
        self._patience = patience

    async def look(self) -> Found | Missing:
        """The key as it is now; a function may take `patience` seconds. Nothing here holds up the loop."""
        if self.place.function is None:
            return await asyncio.to_thread(look, self.place)
        where = f"function {self.place.function}"
        try:
            async with asyncio.timeout(self._patience):
                given = await self._asked(self.place.function)
        except TimeoutError:
            return Missing((f"{where} (no answer within {self._patience:g} s)",))
        except ModuleNotFoundError as error:
            return Missing((f"{where} (there is no module {error.name})",))
        except Exception as error:  # the user's own, whose text may hold the key
            return Missing((f"{where} (raised {type(error).__name__})",))
        return _found(given, where)

    async def _asked(self, path: str) -> Any:
        function = await asyncio.to_thread(_loaded, path)
        if inspect.iscoroutinefunction(function):
            return await function(self.place.name)
        given = await asyncio.to_thread(function, self.place.name)
        return await given if inspect.isawaitable(given) else given


def _loaded(path: str) -> Callable[[str], Any]:
    module, _, names = path.partition(":")
    loaded: Any = functools.reduce(getattr, names.split("."), importlib.import_module(module))
    return loaded  # type: ignore[no-any-return]


def _found(given: Any, where: str) -> Found | Missing:
    key, holds_for = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    text = key.get_secret_value() if isinstance(key, SecretStr) else key
    if not isinstance(text, str) or not _is_time(holds_for):
        return Missing((f"{where} (gave neither a key nor a key and the seconds for which it holds)",))
    if not can_be_sent(text.strip()):
        return Missing((f"{where} ({UNFIT if text.strip() else 'gave an empty key'})",))
    return Found(SecretStr(text.strip()), where, holds_for)


def _is_time(value: Any) -> bool:
    if value is None:
        return True
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and value > 0 and math.isfinite(value)
    )
