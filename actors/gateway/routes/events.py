"""What changes, as it changes."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pydantic import Field

from llmgine.actors.gateway.routes.table import Call, Endpoint, Query
from llmgine.actors.gateway.watching import SESSION, TOPICS

_TOPIC = f"({'|'.join(TOPICS)}|{SESSION}[^,]+)"


class EventQuery(Query):
    """`topics` are parted by commas, of which the ids of sessions that are watched have none."""

    topics: str = Field(pattern=f"^{_TOPIC}(,{_TOPIC})*$", max_length=2000, examples=["overview,sessions"])


async def _events(call: Call) -> AsyncIterator[bytes]:
    return call.watching.watch(call.query.topics.split(","))


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
