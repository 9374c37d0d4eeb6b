"""Gemini over the google-genai package: its authentication, URLs and headers, and our own transport."""

from __future__ import annotations

from typing import Any

from llmgine.providers.clients.client import Call
from llmgine.providers.clients.http import HttpAnswer, connect_limits, http_client
from llmgine.providers.clients.pool import Site
from llmgine.providers.clients.routes import address_of, path_of
from llmgine.providers.frames import JsonArraySplitter, Splitter, SseSplitter

_KEY_HEADER = "x-goog-api-key"


class GeminiAnswer(HttpAnswer):
    """An answer of a Gemini server, which may stream a JSON array where an event stream was asked for."""

    def splitter(self) -> Splitter:
        return JsonArraySplitter() if self.content_type == "application/json" else SseSplitter()


class GeminiClient:
    """One client of the SDK, which says where a call goes and as whom."""

    def __init__(self, sdk: Any, site: Site) -> None:
        self._http = http_client(site.base_url, site.max_connections)
        self._keyless = site.key is None
        self._sdk_client: Any = self._make(sdk, site)

    async def send(self, call: Call) -> GeminiAnswer:
        """Post the body and return once the answer's head is there, whatever its status.

        Raises what the transport raises (`httpx2.HTTPError`, `OSError`), never an SDK's class.
        """
        path = path_of("gemini", call.model, call.purpose).lstrip("/")
        # The SDK's public calls read answers into models of its own, at 200 µs a chunk.
        request = self._sdk_client._api_client._build_request("post", path, {})
        headers = {**request.headers, **call.headers}
        if self._keyless:
            headers.pop(_KEY_HEADER, None)
        built = self._http.build_request(
            "POST",
            request.url,
            content=call.body,
            headers=headers,
            timeout=connect_limits(call.timeouts),
        )
        return GeminiAnswer(await self._http.send(built, stream=True))

    async def aclose(self) -> None:
        self._blocking.close()
        await self._http.aclose()

    def _make(self, sdk: Any, site: Site) -> Any:
        """The SDK's client, told everything that it would else read from the environment."""
        import httpx2

        # Its blocking client is never used; without one given it makes one, with certificates and all.
        self._blocking = httpx2.Client(transport=httpx2.MockTransport(_refuse), trust_env=False)
        options = sdk.types.HttpOptions(
            base_url=address_of("gemini", site.base_url),
            api_version="",
            headers=dict(site.headers),
            httpx_client=self._blocking,
            httpx_async_client=self._http,
        )
        key = site.key.get_secret_value() if site.key else "none"
        # None means neither recording nor replaying here, which the environment could ask for.
        debug = sdk.client.DebugConfig(client_mode=None, replays_directory=None, replay_id=None)
        return sdk.Client(vertexai=False, api_key=key, http_options=options, debug_config=debug)


def _refuse(request: Any) -> Any:
    raise AssertionError("the blocking client of google-genai was used")
