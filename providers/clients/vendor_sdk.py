"""Clients of the openai and anthropic packages, which are built alike."""

from __future__ import annotations

from typing import Any, Literal

from llmgine.providers.clients.client import Call
from llmgine.providers.clients.http import HttpAnswer, connect_limits, http_client
from llmgine.providers.clients.pool import Site
from llmgine.providers.clients.routes import ASKED, VENDORS, path_of

Sdk = Literal["openai", "anthropic"]


class VendorClient:
    """One client of an SDK: authentication, URLs and the reuse of connections are the SDK's."""

    def __init__(self, name: Sdk, sdk: Any, site: Site) -> None:
        self._api = site.api
        self._sdk = sdk
        self._sdk_client: Any = _make(name, sdk, site)
        self._headers = _request_headers(sdk, site)

    async def send(self, call: Call) -> HttpAnswer:
        """Send the call and return once the answer's head is there, whatever its status.

        Raises what the transport raises (`httpx2.HTTPError`, `OSError`), never an SDK's class.
        """
        import httpx2

        options: dict[str, Any] = {
            "headers": {**self._headers, **call.headers},
            "timeout": connect_limits(call.timeouts),
        }
        if call.query:
            options["params"] = dict(call.query)
        if call.purpose in ASKED:
            send, body = self._sdk_client.get, {}
        else:
            send, body = self._sdk_client.post, _sent(call, options["headers"])
        try:
            response = await send(
                path_of(self._api, call.model, call.purpose, call.item),
                cast_to=httpx2.Response,
                options=options,
                stream=True,
                stream_cls=self._sdk.AsyncStream,
                **body,
            )
        except self._sdk.APIStatusError as error:
            return HttpAnswer(error.response)
        except self._sdk.APIConnectionError as error:
            raise (error.__cause__ or httpx2.TransportError("the connection failed")) from None
        return HttpAnswer(response)

    async def aclose(self) -> None:
        await self._sdk_client.close()


def _sent(call: Call, headers: dict[str, Any]) -> dict[str, Any]:
    """What the SDK is given to send: the body as it is, or as a file in a form, whose parts it marks off."""
    if not call.file:
        return {"content": call.body}
    headers["Content-Type"] = "multipart/form-data"
    file = (call.file, call.body, "application/jsonl")
    return {"files": {"file": file}, "body": {"purpose": "batch"}}


def _make(name: Sdk, sdk: Any, site: Site) -> Any:
    common = {
        "api_key": site.key.get_secret_value() if site.key else "none",
        "base_url": site.base_url or VENDORS[site.api],  # with None the SDK asks the environment
        "max_retries": 0,
        "http_client": http_client(site.base_url, site.max_connections),
        "default_headers": dict(site.headers),
    }
    client = (
        sdk.AsyncAnthropic(**common, open_telemetry=False)
        if name == "anthropic"
        else sdk.AsyncOpenAI(**common)
    )
    # The SDKs add the headers of OPENAI_CUSTOM_HEADERS and ANTHROPIC_CUSTOM_HEADERS for every server,
    # in place of its key where they name one; what the settings say holds.
    client._custom_headers = dict(site.headers)
    return client


def _request_headers(sdk: Any, site: Site) -> dict[str, Any]:
    headers: dict[str, Any] = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    if site.key is None:
        headers["Authorization"] = sdk.Omit()
    # The SDK reads these from the environment: the settings alone say what is sent.
    given = {name.lower() for name, _ in site.headers}
    private = ("OpenAI-Organization", "OpenAI-Project")
    return headers | {name: sdk.Omit() for name in private if name.lower() not in given}
