"""What changes, as it changes."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pydantic import Field

from llmgine.actors.gateway.routes.table import Call, Endpoint, Query
from llmgine.actors.gateway.watching import TOPICS


class EventQuery(Query):
    """`topics` are parted by commas, of which the ids of sessions that are watched have none."""

    topics: str = Field(min_length=1, max_length=2000, examples=["overview,sessions"])


async def _events(call: Call) -> AsyncIterator[bytes]:
    return call.watching.watch(call.query.topics.split(","))


ENDPOINTS = (
    Endpoint(
        "GET",
        "/events",
        _events,
        None,
        f"Live topics, each as a frame of `topic` and `data` when it has changed: {', '.join(TOPICS)}",
        EventQuery,
    ),
)
