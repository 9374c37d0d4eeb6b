"""Reaching Ray from a driver: the cluster that it stands in, or one of its own on this machine."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass

from llmgine.actors.control import RayUnavailable, RuntimeNotFound

# Where Ray puts the address of the cluster that `ray start` started on this machine.
_HINT = "set RAY_ADDRESS to a cluster's host:port, or to `local` for one of its own on this machine"


@dataclass(frozen=True, slots=True)
class RayHost:
    """The connection of this process to Ray. `joined` says that it was there before us."""

    address: str
    auth_mode: str
    joined: bool

    async def leave(self) -> None:
        """Undoes what connecting did: ends the cluster if it was started here, else lets go of it."""
        if self.joined:
            return
        import ray

        await asyncio.to_thread(ray.shutdown)


async def start_or_join(namespace: str) -> RayHost:
    """The cluster that RAY_ADDRESS or `ray start` names, else a new one that ends with this process."""
    return await _connect(None, namespace)


async def join(address: str, namespace: str, auth_mode: str | None = None) -> RayHost:
    """The cluster at that address; `RuntimeNotFound` where there is none."""
    if auth_mode:
        os.environ.setdefault("RAY_AUTH_MODE", auth_mode)
    try:
        return await _connect(address, namespace)
    except ConnectionError as error:
        raise RuntimeNotFound(f"no Ray cluster answers at {address}: {error}") from None


def known_address() -> str | None:
    """The address that the environment, or `ray start` on this machine, names; None without one."""
    stated = os.environ.get("RAY_ADDRESS", "")
    if stated:
        return None if stated == "local" else stated
    from ray._private.services import find_bootstrap_address

    found: str | None = find_bootstrap_address(None)
    return found


async def _connect(address: str | None, namespace: str) -> RayHost:
    stated = address or os.environ.get("RAY_ADDRESS", "")
    if stated.startswith("ray://"):
        raise RayUnavailable(
            f"{stated} is Ray Client, which has no links to the actors; run the driver inside the cluster "
            f"(`ray job submit`), or {_HINT}"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise RayUnavailable(f"Ray cannot be imported ({error}); pip install 'ray[default]'") from None
    if ray.is_initialized():
        return _host(joined=True)
    try:
        # In a thread, because it blocks for seconds and a driver's loop may have other work.
        await asyncio.to_thread(_initialise, address, namespace)
    except ConnectionError:
        if address is None:
            raise RayUnavailable(
                f"the Ray cluster at {stated or 'the last known address'} does not answer; {_HINT}"
            ) from None
        raise
    except Exception as error:
        raise RayUnavailable(f"Ray could not be started or reached: {_first_line(error)}; {_HINT}") from error
    return _host(joined=False)


def _initialise(address: str | None, namespace: str) -> None:
    import ray

    ray.init(
        address=address,
        namespace=namespace,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def _host(*, joined: bool) -> RayHost:
    import ray

    return RayHost(
        address=str(ray.get_runtime_context().gcs_address),
        auth_mode=os.environ.get("RAY_AUTH_MODE", "disabled"),
        joined=joined,
    )


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
