"""From a schedule that fails to a smaller one that fails alike: what is left is what it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

from tests.simulation.plan import DEPLOYMENT, Plan

# So many smaller schedules are tried.
_TRIALS = 150

# The invariant that a plan breaks and the step at which it does; None where it breaks none.
Fails = Callable[[Plan], tuple[int, int] | None]


def shrink(plan: Plan, fails: Fails) -> Plan:
    """Fewer steps, faults, changes, handlers and processes, as long as the same invariant is broken."""
    broken = fails(plan)
    if broken is None:
        return plan
    invariant, step = broken
    plan = replace(plan, steps=min(plan.steps, step))
    trials = _TRIALS
    again = True
    while again:
        again = False
        for smaller in _smaller(plan):
            if not trials:
                return plan
            trials -= 1
            found = fails(smaller)
            if found is not None and found[0] == invariant:
                plan = replace(smaller, steps=min(smaller.steps, found[1]))
                again = True
                break
    return plan


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Each with one thing less, the largest first."""
    for name in plan.processes:
        if len(plan.processes) > 1:
            yield _without_process(plan, name)
    for handler in plan.handlers:
        yield replace(plan, handlers=tuple(one for one in plan.handlers if one is not handler))
    for kind in _on(plan.faults):
        if kind != "frames":
            yield replace(plan, faults=_off(plan.faults, kind))
    frames = plan.faults.frames
    for kind in _on(frames):
        yield replace(plan, faults=replace(plan.faults, frames=_off(frames, kind)))
    for kind in _on(plan.changes):
        yield replace(plan, changes=_off(plan.changes, kind))
    for kind in ("scheduled", "letters"):
        if getattr(plan, kind):
            yield _off(plan, kind)
    if "commands" in plan.features:
        yield replace(plan, features=plan.features - {"commands"})
    for handler in plan.handlers:
        for kind in _on(handler.temper):
            calmer = replace(handler, temper=_off(handler.temper, kind))
            yield replace(plan, handlers=tuple(calmer if one is handler else one for one in plan.handlers))
    if plan.steps > 1:
        yield replace(plan, steps=plan.steps * 3 // 4)


def _on(switches: Any) -> list[str]:
    return [one.name for one in fields(switches) if getattr(switches, one.name)]


def _off(switches: Any, kind: str) -> Any:
    return replace(switches, **{kind: 0.0})


def _without_process(plan: Plan, name: str) -> Plan:
    left = tuple(one for one in plan.processes if one != name)
    owners = {*left, DEPLOYMENT}
    return replace(plan, processes=left, handlers=tuple(one for one in plan.handlers if one.owner in owners))


def describe(plan: Plan) -> str:
    """What is left of it, in a line."""
    faults = [one for one in _on(plan.faults) if one != "frames"] + _on(plan.faults.frames)
    parts = {
        "steps": str(plan.steps),
        "processes": ", ".join(plan.processes),
        "handlers": ", ".join(f"{one.name} at {one.owner}" for one in plan.handlers),
        "faults": ", ".join(faults),
        "changes": ", ".join(_on(plan.changes)),
    }
    return "shrunk to " + "; ".join(f"{name}: {text or 'none'}" for name, text in parts.items())
