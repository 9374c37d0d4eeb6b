"""The official SDK clients, pooled: one per SDK, endpoint and key in each process and loop.

A client does authentication, URLs, transport and the reuse of connections. Bodies go in and come
out as bytes: the SDKs' own event models cost many times what our decoders do.
"""

from __future__ import annotations

import asyncio
import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from llmgine.providers.clients.client import Client
from llmgine.providers.options import Api, Transport

_SDKS: dict[Api, str] = {
    "openai-chat": "openai",
    "openai-responses": "openai",
    "anthropic-messages": "anthropic",
    "gemini": "google.genai",
}
_LEGACY = ("gemini", "google-generativeai")


@dataclass(frozen=True)
class Site:
    """Where a client goes and as whom; equal sites share one client. No `base_url` is the vendor's own.

    With `replay` it goes nowhere: recordings in that folder answer.
    """

    api: Api
    base_url: str | None
    key: SecretStr | None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    max_connections: int = 1000
    transport: Transport | None = None
    replay: Path | None = None


@dataclass
class _Shared:
    client: Client
    users: int = 0


_clients: dict[tuple[Site, asyncio.AbstractEventLoop], _Shared] = {}


def lease(site: Site) -> Client:
    """The client of this site for the running loop, made when there is none yet."""
    key = (site, asyncio.get_running_loop())
    shared = _clients.get(key)
    if shared is None:
        _forget_closed_loops()
        shared = _clients[key] = _Shared(_make(site))
    shared.users += 1
    return shared.client


async def release(site: Site) -> None:
    """Give one lease back; the last one closes the client and its connections."""
    key = (site, asyncio.get_running_loop())
    shared = _clients.get(key)
    if shared is None:
        return
    shared.users -= 1
    if shared.users == 0:
        del _clients[key]
        await shared.client.aclose()


def load(api: Api, transport: Transport | None = None) -> Any:
    """The one SDK that speaks `api`, imported now if it was not."""
    if (api, transport) == _LEGACY:
        from llmgine.providers.clients.gemini_legacy import load_sdk

        return load_sdk()
    return importlib.import_module(_SDKS[api])


def _forget_closed_loops() -> None:
    for key in [key for key in _clients if key[1].is_closed()]:
        del _clients[key]


def _make(site: Site) -> Client:
    if site.replay is not None:
        from llmgine.providers.clients.player import Player

        return Player(site)
    sdk = load(site.api, site.transport)
    if (site.api, site.transport) == _LEGACY:
        from llmgine.providers.clients.gemini_legacy import GeminiLegacyClient

        return GeminiLegacyClient(sdk, site)
    if site.api == "gemini":
        from llmgine.providers.clients.gemini import GeminiClient

        return GeminiClient(sdk, site)
    from llmgine.providers.clients.vendor_sdk import VendorClient

    return VendorClient("anthropic" if site.api == "anthropic-messages" else "openai", sdk, site)
