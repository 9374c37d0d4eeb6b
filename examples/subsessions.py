"""A tool that is another session: it has a model, tools and a prompt of its own; its reply is the result."""

import asyncio

from llmgine.runtime import Runtime, session_tool, tool


@tool
def shelf(item: str) -> str:
    """Where an item stands."""
    return f"{item}: shelf {len(item)}"


CLERK = session_tool(
    "clerk",
    "Knows the stock; ask it in whole sentences.",
    model="scripted/clerk",
    system="You answer in one short sentence.",
    tools=[shelf],
)

SCRIPTS = {
    "clerk": {
        "replies": [
            {"tool_calls": [{"name": "shelf", "arguments": {"item": "tea"}}]},
            {"text": "On shelf 3."},
        ]
    },
    "host": {
        "replies": [
            {"tool_calls": [{"name": "clerk", "arguments": {"prompt": "Where is the tea?"}}]},
            {"text": "You find the tea on shelf 3."},
        ]
    },
}


async def main() -> None:
    async with Runtime.in_process({"providers": {"scripts": SCRIPTS}}) as runtime:
        async with runtime.session("shop", model="scripted/host", tools=[CLERK]) as session:
            reply = await session.ask("I would like some tea.")
            print(*(f"{call.name}: {call.result.text}" for call in reply.tool_calls))
            print(reply.text)
        async for one in runtime.sessions.list(parent="shop"):
            print(f"asked by {one.parent}: {one.messages} messages, {one.state}")


asyncio.run(main())
