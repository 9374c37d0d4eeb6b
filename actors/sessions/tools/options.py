"""How calls of a tool are made: what can be said of it, and what of that is a mistake."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypedDict


class ToolOptions(TypedDict, total=False):
    """How calls of a tool are made; `Tool` says what each option means."""

    timeout: float | None
    concurrency: int | None
    retries: int
    idempotent: bool
    approval: bool
    approval_expiry: float | None
    trusted: bool
    process: bool
    memory: int | None
    remote: bool
    num_cpus: float
    num_gpus: float
    resources: Mapping[str, float]


class NamedOptions(ToolOptions, total=False):
    """Those options, and what a model is told of the tool; by default its name and its docstring."""

    name: str | None
    description: str | None


def _is_number(given: object) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)


def _whole(least: int) -> Callable[[Any], bool]:
    return lambda given: _is_number(given) and isinstance(given, int) and given >= least


def _or_none(taken: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda given: given is None or taken(given)


def _is_bool(given: Any) -> bool:
    return isinstance(given, bool)


def _is_amount(given: Any) -> bool:
    return _is_number(given) and given >= 0


def _are_amounts(given: Any) -> bool:
    return isinstance(given, Mapping) and all(
        isinstance(name, str) and _is_amount(amount) for name, amount in given.items()
    )


_SECONDS = _or_none(lambda given: _is_number(given) and given > 0), "seconds above 0, or leave it out"
_SWITCH = _is_bool, "True or False"
_AMOUNT = _is_amount, "a number from 0"

# What each option takes, and how that is told.
_TAKEN: dict[str, tuple[Callable[[Any], bool], str]] = {
    "timeout": _SECONDS,
    "concurrency": (_or_none(_whole(1)), "a whole number from 1, or leave it out"),
    "retries": (_whole(0), "a whole number from 0"),
    "idempotent": _SWITCH,
    "approval": _SWITCH,
    "approval_expiry": _SECONDS,
    "trusted": _SWITCH,
    "process": _SWITCH,
    "memory": (_or_none(_whole(1)), "a whole number of bytes, or leave it out"),
    "remote": _SWITCH,
    "num_cpus": _AMOUNT,
    "num_gpus": _AMOUNT,
    "resources": (_are_amounts, "amounts by their names, as {'disk': 1}"),
}


def mistakes(options: ToolOptions) -> Iterable[str]:
    """What is wrong with these options, each alone and beside each other, and what mends it."""
    for option, given in options.items():
        if option not in _TAKEN:
            yield f"there is no option {option!r}"
            continue
        taken, told = _TAKEN[option]
        if not taken(given):
            yield f"{option} is {given!r}; give {told}"
    process, remote = options.get("process"), options.get("remote")
    if process and remote:
        yield "process=True and remote=True exclude each other; a task of the cluster has its own process"
    if "memory" in options and not process:
        yield "memory bounds a process of its own; give process=True with it"
    held = sorted({"num_cpus", "num_gpus", "resources"} & options.keys())
    if held and not remote:
        yield f"{held[0]} is for a task of the cluster; give remote=True with it"
