"""What must hold of every run of the world."""

from __future__ import annotations

from tests.actors.pools.quota.world import World


def violations(world: World, *, at_least: float) -> list[str]:
    """What is wrong with a run; `at_least` is the share of the scarcest limit that must have been used.

    A known limit is exceeded in no window; by one lease at most where it was not known at first, or the
    owner was restarted.
    """
    case, server, found = world.case, world.server, []
    for of, limit in case.limits.items():
        slack = world.largest[of] if not case.known or world.restarts else 0.0
        if (most := server.most(of)) > limit + slack + 1e-6:
            found.append(f"exceeded: {most:.1f} {of} in a window, of {limit:g} and a lease of {slack:g}")
    if not world.restarts and case.known and server.refused:
        found.append(f"refused: {len(server.refused)} calls")
    found += [f"disagreed: {one}" for one in world.disagreed[:1]]
    end = case.seconds
    used = max(server.total(of, 60, end) / (limit * (end - 60) / 60) for of, limit in case.limits.items())
    if used < at_least:
        found.append(f"unused: {used:.2f} of the scarcest limit")
    return found
