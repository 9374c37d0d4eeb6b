import asyncio

from llmgine.runtime import Runtime, tool


@tool
def get_weather(city: str) -> str:
    """Today's weather in a city."""
    return f"{city}: sunny, 21 degrees"


async def main() -> None:
    async with Runtime.launch() as runtime:
        async with runtime.session(model="local/smollm2", tools=[get_weather]) as session:
            reply = await session.ask("What is the weather in Paris?")
            print(reply.text, reply.tool_calls, reply.usage, sep="\n")


asyncio.run(main())
