"""How actors are named inside a runtime's Ray namespace."""

from __future__ import annotations

import re

from llmgine.providers.errors import InvalidRequest

GATEWAY = "gateway"
STORE = "store"
SUPERVISOR = "supervisor"
TELEMETRY = "telemetry"

_RUNTIME_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HANDLER_NAME = re.compile(r"handler-(?P<deployment>.+)-(?P<number>\d+)")
_HOST_NAME = re.compile(r"host-(?P<number>\d+)")
_PROVIDER_NAME = re.compile(r"provider-(?P<pool>.+)-(?P<number>\d+)")


def namespace(runtime: str) -> str:
    """The Ray namespace of a runtime; `InvalidRequest` for a name that cannot be one."""
    if not _RUNTIME_NAME.fullmatch(runtime):
        raise InvalidRequest(
            f"a runtime's name is 1 to 64 letters, digits, '.', '_' or '-' and begins with a letter "
            f"or digit, not {runtime!r}"
        )
    return f"llmgine.{runtime}"


def router(shard: int) -> str:
    return f"router-{shard}"


def routers(shards: int) -> list[str]:
    """Every router of a bus with so many shards, in their order."""
    return [router(shard) for shard in range(shards)]


def provider(pool: str, number: int) -> str:
    return f"provider-{pool}-{number}"


def parse_provider(name: str) -> tuple[str, int]:
    """The pool and the number in a provider actor's name."""
    match = _PROVIDER_NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is no provider actor's name")
    return match["pool"], int(match["number"])


def is_provider(name: str) -> bool:
    return _PROVIDER_NAME.fullmatch(name) is not None


def handler(deployment: str, number: int) -> str:
    return f"handler-{deployment}-{number}"


def parse_handler(name: str) -> tuple[str, int]:
    """The deployment and the number in a replica's name."""
    match = _HANDLER_NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is no replica's name")
    return match["deployment"], int(match["number"])


def host(number: int) -> str:
    """An actor that sessions live in; which ones is up to the supervisor."""
    return f"host-{number}"


def parse_host(name: str) -> int | None:
    """The number in a host's name; None for what is none."""
    match = _HOST_NAME.fullmatch(name)
    return None if match is None else int(match["number"])
