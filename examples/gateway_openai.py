"""OpenAI's own client speaks with a session through the gateway; the session's tool runs in the session."""

import asyncio

from openai import AsyncOpenAI

from llmgine.runtime import Runtime, tool

SCRIPTS = {
    "shop": {
        "replies": [
            {"tool_calls": [{"name": "find_order", "arguments": {"number": 7}}]},
            {"text": "Order 7 comes on Thursday."},
        ]
    }
}
SETTINGS = {"gateway": {"enabled": True, "port": 0}, "providers": {"scripts": SCRIPTS}}


@tool
def find_order(number: int) -> str:
    """When an order comes."""
    return f"order {number} comes on Thursday"


async def main() -> None:
    async with Runtime.in_process(SETTINGS) as runtime:
        async with runtime.session("shop-1", model="scripted/shop", tools=[find_order]) as session:
            url = await runtime.gateway.url()
            async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
                stream = await client.chat.completions.create(
                    model="session",
                    messages=[{"role": "user", "content": "Where is my order?"}],
                    stream=True,
                    extra_headers={"x-llmgine-session": session.id},
                )
                async for chunk in stream:
                    print(chunk.choices[0].delta.content or "", end="")
                print()
            print([message.role for message in await session.history()])


if __name__ == "__main__":
    asyncio.run(main())
