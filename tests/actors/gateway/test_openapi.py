"""The description of the interface, and whether the interface keeps to it whatever it is sent."""

from __future__ import annotations

from typing import Any

import httpx2
import hypothesis
import schemathesis
from starlette.applications import Starlette
from starlette.routing import Mount

from llmgine.actors.gateway import GatewayOptions
from llmgine.actors.gateway.app import app
from llmgine.actors.gateway.routes.all import ENDPOINTS
from llmgine.actors.gateway.routes.table import PREFIX
from tests.actors.gateway.fakes import FakePort

_gateway = Starlette(routes=[Mount("/", app(FakePort(), GatewayOptions()))])
whole = schemathesis.openapi.from_asgi("/openapi.json", _gateway, headers={"host": "127.0.0.1"})
# A stream of what changes has no end.
schema = whole.exclude(path=f"{PREFIX}/events")


@schema.parametrize()
@hypothesis.settings(max_examples=6, derandomize=True)
def test_the_interface_keeps_to_its_description(case: schemathesis.Case[Any]) -> None:
    """What fits is taken, what does not is refused, and every answer is one of those that are described."""
    case.call_and_validate(headers={"host": "127.0.0.1"})


async def test_every_endpoint_is_described(client: httpx2.AsyncClient) -> None:
    """The description has each method of each path, and names an answer for it."""
    told = (await client.get("/openapi.json")).json()
    described = {
        (method.upper(), path) for path, operations in told["paths"].items() for method in operations
    }
    assert {(one.method, f"{PREFIX}{one.path}") for one in ENDPOINTS} <= described
    names = [one["operationId"] for operations in told["paths"].values() for one in operations.values()]
    assert len(names) == len(set(names))
