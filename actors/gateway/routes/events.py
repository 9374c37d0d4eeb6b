"""What changes, as it changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import unquote

from pydantic import Field

from llmgine.actors.gateway.routes.table import Call, Endpoint, Query
from llmgine.actors.gateway.watching import SESSION, TOPICS

_TOPIC = f"({'|'.join(TOPICS)}|{SESSION}[^,]+)"


class EventQuery(Query):
    """`topics` are parted by commas; in the ids of sessions `%2C` stands for one, and `%25` for `%`."""

    topics: str = Field(pattern=f"^{_TOPIC}(,{_TOPIC})*$", max_length=2000, examples=["overview,sessions"])

    @property
    def each(self) -> list[str]:
        """The topics, each as it is called."""
        return [unquote(topic) for topic in self.topics.split(",")]


async def _events(call: Call) -> AsyncIterator[bytes]:
    return call.watching.watch(call.query.each)


ENDPOINTS = (
    Endpoint(
        "GET",
        "/events",
        _events,
        None,
        f"Live topics, each as a frame of `topic` and `data` when it has changed: "
        f"{', '.join(TOPICS)}, {SESSION}ID",
        EventQuery,
    ),
)
