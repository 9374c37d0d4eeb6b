"""Reaching Ray from a driver: the cluster that it stands in, or one of its own on this machine."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass

from llmgine.actors.control import RayUnavailable, RuntimeNotFound
from llmgine.runtime.watchman import Watchman, below, is_ray

_HINT = "set RAY_ADDRESS to a cluster's host:port, or to `local` for one of its own on this machine"


@dataclass(frozen=True, slots=True)
class RayHost:
    """The connection of this process to Ray. `ours` says that connecting was our doing."""

    address: str
    auth_mode: str
    ours: bool
    watchman: Watchman | None = None

    async def leave(self) -> None:
        """Undoes what connecting did: ends the cluster if it was started here, else lets go of it."""
        if not self.ours:
            return
        import ray

        await asyncio.to_thread(ray.shutdown)
        if self.watchman is not None:
            await asyncio.to_thread(self.watchman.dismiss)


async def start_or_join(namespace: str) -> RayHost:
    """The cluster that RAY_ADDRESS or `ray start` names, else a new one that ends with this process."""
    return _connect(None, namespace)


async def join(address: str, namespace: str, auth_mode: str | None = None) -> RayHost:
    """The cluster at that address; `RuntimeNotFound` where there is none."""
    if auth_mode:
        os.environ.setdefault("RAY_AUTH_MODE", auth_mode)
    try:
        return _connect(address, namespace)
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


def _connect(address: str | None, namespace: str) -> RayHost:
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
        return _host(ours=False)
    before = below(os.getpid())
    try:
        # It blocks this loop for seconds. In a thread of its own it would not, but the kernel ends Ray's
        # servers with the thread that started them.
        _initialise(address, namespace)
    except ConnectionError:
        if address is None:
            shown = stated or "the last known address"
            raise RayUnavailable(f"the Ray cluster at {shown} does not answer; {_HINT}") from None
        raise
    except Exception as error:
        raise RayUnavailable(f"Ray could not be started or reached: {_first_line(error)}; {_HINT}") from error
    started = {pid: at for pid, at in below(os.getpid()).items() if pid not in before and is_ray(pid)}
    return _host(ours=True, watchman=Watchman(started) if started else None)


def _initialise(address: str | None, namespace: str) -> None:
    import ray

    ray.init(
        address=address,
        namespace=namespace,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def _host(*, ours: bool, watchman: Watchman | None = None) -> RayHost:
    import ray

    address = str(ray.get_runtime_context().gcs_address)
    return RayHost(address, os.environ.get("RAY_AUTH_MODE", "disabled"), ours, watchman)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
