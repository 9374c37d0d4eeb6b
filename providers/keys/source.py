"""One key's source inside a provider actor: its file and environment, or a function of the user's."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import math
from collections.abc import Callable
from typing import Any, cast

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
        except _Failed as failed:
            return Missing((f"{where} ({failed})",))
        return _found(given, where)

    async def _asked(self, path: str) -> Any:
        given = await asyncio.to_thread(_begun, path, self.place.name)
        if not inspect.isawaitable(given):
            return given
        try:
            return await given
        except Exception as error:
            raise _Failed(f"raised {type(error).__name__}") from None


class _Failed(Exception):
    """A user's function gave nothing. Its own exception goes no further: its text may hold the key."""


def _begun(path: str, name: str) -> Any:
    """What the function gives; where it is async, what gives it on the loop."""
    module, _, names = path.partition(":")
    try:
        function = functools.reduce(getattr, names.split("."), importlib.import_module(module))
        return cast("Callable[[str], Any]", function)(name)
    except ModuleNotFoundError as error:
        raise _Failed(f"there is no module {error.name}") from None
    except Exception as error:
        raise _Failed(f"raised {type(error).__name__}") from None


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
