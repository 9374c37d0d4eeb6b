"""Tools at work: what they are told and tell, what may go wrong in them, and who may stop them."""

import asyncio
import os
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, Field

from llmgine.runtime import (
    Allow,
    Deny,
    Result,
    Runtime,
    Tool,
    ToolContext,
    ToolError,
    ToolProgress,
    ToolReturned,
    tool,
)


@tool
def count(shelves: int, context: ToolContext) -> Iterator[Any]:
    """Count what is on the shelves.

    Args:
        shelves: How many there are.
    """
    for shelf in range(shelves):
        yield f"shelf {shelf + 1} of {shelves}"
    yield Result({"items": 12 * shelves, "order": context.idempotency_key.rpartition(":")[2]})


@tool(retries=3)
async def price(item: Literal["tea", "coffee"], context: ToolContext) -> float:
    """What an item costs."""
    if context.attempt == 1:
        raise ConnectionError("the till does not answer")
    return 2.5 if item == "tea" else 3.0


@tool(process=True, timeout=10, memory=500_000_000)
def measure(depth: int) -> int:
    """Look deep into the crate."""
    os.abort()


class Refund(BaseModel):
    """Give money back."""

    amount: float = Field(gt=0, description="In euro.")

    def run(self, context: ToolContext) -> str:
        if self.amount > 50:
            raise ToolError("The drawer holds 50 euro.")
        return f"{self.amount:.2f} euro given back, signed {context.secret('seal')}"


class Careful:
    """Lets nobody look into crates deeper than three."""

    def decide(self, call: Any, tool: Tool[..., Any], view: Any) -> Allow | Deny:
        deep = tool.name == "measure" and call.arguments["depth"] > 3
        return Deny("three is the deepest") if deep else Allow()


CALLS = [
    ("count", {"shelves": 2}),
    ("price", {"item": "tea"}),
    ("price", {"item": "milk"}),
    ("measure", {"depth": 2}),
    ("measure", {"depth": 9}),
    ("Refund", {"amount": 20}),
    ("Refund", {"amount": 80}),
]


async def main() -> None:
    os.environ["LLMGINE_SECRET_SEAL"] = "a-seal-that-nobody-sees"
    replies = [{"tool_calls": [{"name": name, "arguments": given}]} for name, given in CALLS]
    scripts = {"clerk": {"replies": [*replies, {"text": "That was all."}]}}
    async with Runtime.in_process({"providers": {"scripts": scripts}}) as runtime:
        tools = [count, price, measure, Refund]
        async with runtime.session(model="scripted/clerk", tools=tools, policy=Careful()) as session:
            async for event in session.stream("Look after the shop."):
                if isinstance(event, ToolProgress):
                    print(f"  {event.data}")
                elif isinstance(event, ToolReturned):
                    print("-" if event.result.is_error else "+", event.result.text)


if __name__ == "__main__":
    asyncio.run(main())
