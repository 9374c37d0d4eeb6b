"""Reaching Ray from a driver: the cluster that it stands in, or one of its own on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
from dataclasses import dataclass

from llmgine.actors.control import RayUnavailable, RuntimeNotFound
from llmgine.runtime.watchman import Watchman

logger = logging.getLogger(__name__)

# How long a Ray cluster may take to accept a connection, in seconds.
_ANSWER = 3.0

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
    stated = os.environ.get("RAY_ADDRESS", "")
    if stated and stated != "local":
        if not _answers(stated):
            raise RayUnavailable(f"no Ray cluster answers at {stated} (RAY_ADDRESS); {_HINT}")
        return _connect(stated, namespace)
    found = None if stated else known_address()
    if found is not None and not _answers(found):
        logger.warning("the Ray that was started at %s is gone; starting one of our own", found)
        found = None
    return _connect(found or "local", namespace)


async def join(address: str, namespace: str, auth_mode: str | None = None) -> RayHost:
    """The cluster at that address; `RuntimeNotFound` where there is none."""
    if auth_mode:
        os.environ.setdefault("RAY_AUTH_MODE", auth_mode)
    if not _answers(address):
        raise RuntimeNotFound(f"no Ray cluster answers at {address}; {_HINT}")
    return _connect(address, namespace)


def known_address() -> str | None:
    """The address that the environment, or `ray start` on this machine, names; None without one."""
    stated = os.environ.get("RAY_ADDRESS", "")
    if stated:
        return None if stated == "local" else stated
    from ray._private.services import find_bootstrap_address

    found: str | None = find_bootstrap_address(None)
    return found


def _answers(address: str) -> bool:
    """Whether somebody listens there. Ray itself would look for minutes, and heed no signal meanwhile."""
    host, colon, port = address.rpartition(":")
    if address.startswith("ray://") or not colon or not port.isdigit():
        return True  # for Ray, or for `_connect`, to say what is wrong with it
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER).close()
    except OSError:
        return False
    return True


def _connect(address: str, namespace: str) -> RayHost:
    if address.startswith("ray://"):
        raise RayUnavailable(
            f"{address} is Ray Client, which has no links to the actors; run the driver inside the cluster "
            f"(`ray job submit`), or {_HINT}"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise RayUnavailable(f"Ray cannot be imported ({error}); pip install 'ray[default]'") from None
    if ray.is_initialized():
        return _host(ours=False)
    watchman = Watchman() if address == "local" else None
    try:
        # It blocks this loop for seconds. In a thread of its own it would not, but the kernel ends Ray's
        # servers with the thread that started them.
        with watchman.looking() if watchman else contextlib.nullcontext():
            _initialise(address, namespace)
    except Exception as error:
        raise RayUnavailable(f"Ray could not be started or reached: {_first_line(error)}; {_HINT}") from error
    return _host(ours=True, watchman=watchman)


def _initialise(address: str, namespace: str) -> None:
    import ray

    terminating = signal.getsignal(signal.SIGTERM)
    ray.init(
        address=address,
        namespace=namespace,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    # Ray answers SIGTERM with a dump of its stacks, in place of whoever heeded it before.
    if terminating is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminating)
    # Ray tells of every process that dies on standard output, which is for the driver's own results.
    ray._private.worker._worker_logs_enabled = False


def _host(*, ours: bool, watchman: Watchman | None = None) -> RayHost:
    import ray

    address = str(ray.get_runtime_context().gcs_address)
    return RayHost(address, os.environ.get("RAY_AUTH_MODE", "disabled"), ours, watchman)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
