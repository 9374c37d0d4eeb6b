"""A client that answers from recordings: no server, no key and no SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping

from llmgine.providers.clients.client import Call
from llmgine.providers.clients.pool import Site
from llmgine.providers.clients.routes import url_of
from llmgine.providers.frames import JsonArraySplitter, Splitter, SseSplitter, WholeFrames
from llmgine.providers.options import Api
from llmgine.providers.recording.interaction import Interaction
from llmgine.providers.recording.matching import route_of
from llmgine.providers.recording.shelf import Shelf


class Player:
    """Answers each call with what was recorded for the same request, byte for byte and piece by piece.

    A recorded failure fails again in the same way. Pauses are not played.
    """

    def __init__(self, site: Site) -> None:
        assert site.replay is not None
        self._site = site
        self._path = site.replay.expanduser()
        self._reading: asyncio.Task[Shelf] | None = None

    async def send(self, call: Call) -> RecordedAnswer:
        shelf = await self._shelf()
        url = url_of(self._site.api, self._site.base_url, call.model, call.purpose)
        found = await shelf.take(route_of(url), json.loads(call.body))
        if found.status is None and (error := found.failure()) is not None:
            raise error
        return RecordedAnswer(found, self._site.api)

    async def _shelf(self) -> Shelf:
        """The recordings, read once; what could not be read is tried anew by the next call."""
        if self._reading is None or (self._reading.done() and self._reading.exception() is not None):
            self._reading = asyncio.create_task(asyncio.to_thread(Shelf.read, self._path))
        return await asyncio.shield(self._reading)

    async def aclose(self) -> None:
        if self._reading is not None:
            self._reading.cancel()


class RecordedAnswer:
    """An answer whose body comes in the pieces in which it was recorded."""

    def __init__(self, interaction: Interaction, api: Api) -> None:
        self._interaction = interaction
        self._pieces = interaction.pieces()
        self._gemini = api == "gemini"
        self.status = interaction.status or 0
        self.headers: Mapping[str, str] = interaction.headers

    @property
    def content_type(self) -> str:
        if self._gemini and self._objects():
            return ""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def request_id(self) -> str | None:
        return self.headers.get("x-request-id") or self.headers.get("request-id")

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        for piece in self._pieces:
            await asyncio.sleep(0)  # as on a network, others get their turn
            yield piece
        if (error := self._interaction.failure()) is not None:
            raise error

    def splitter(self) -> Splitter:
        if self._gemini and self._objects():
            return WholeFrames()
        if self._gemini and self.content_type == "application/json":
            return JsonArraySplitter()
        return SseSplitter()

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _objects(self) -> bool:
        """Whether every piece is an object of its own, as the legacy transport of Gemini gives them."""
        return self.status == 200 and all(
            piece.startswith(b"{") and piece.endswith(b"}") for piece in self._pieces
        )
