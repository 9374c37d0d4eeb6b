"""A conversation without a model, a key or Ray: replies, tool calls and faults as data."""

import asyncio

from llmgine.runtime import ProviderError, Runtime, tool

SCRIPTS = {
    "clerk": {
        "replies": [
            {"tool_calls": [{"name": "stock", "arguments": {"item": "tea"}}]},
            {"text": "There are four left."},
            {"text": "Let me", "fault": {"kind": "overloaded", "status": 529, "after_chunks": 1}},
        ]
    }
}


@tool
def stock(item: str) -> int:
    """How many of an item are left."""
    return len(item) + 1


async def main() -> None:
    async with Runtime.in_process({"providers": {"scripts": SCRIPTS}}) as runtime:
        async with runtime.session(model="scripted/clerk", tools=[stock]) as session:
            reply = await session.ask("Is there any tea?")
            call = reply.tool_calls[0]
            print(call.name, call.arguments, call.result.text if call.result else None)
            print(reply.text)
            try:
                await session.ask("And coffee?")
            except ProviderError as error:
                print(f"{error.kind}, retryable: {error.retryable}")


if __name__ == "__main__":
    asyncio.run(main())
