"""One conversation with several models: each turn goes to another one, which reads what was said before.

Without arguments scripted models answer; name others to ask them, such as openai/gpt-5
anthropic/claude-sonnet-4-5 gemini/gemini-2.5-flash.
"""

import asyncio
import sys

from llmgine.runtime import DocumentPart, Message, Runtime, tool

LIST = DocumentPart(data=b"Monday: tea, milk", media_type="text/plain", name="list.txt")


@tool
def stock(item: str) -> int:
    """How many of an item are left."""
    return len(item) + 1


async def main(models: list[str]) -> None:
    async with Runtime.in_process() as runtime:
        async with runtime.session(model=models[0], tools=[stock]) as session:
            for model in models:
                reply = await session.ask(Message.user("What of my list is left?", LIST), model=model)
                print(f"{model}: {reply.text}; tools: {[call.name for call in reply.tool_calls]}")
                for told in reply.adjustments:
                    print(f"  {told.field} {told.action}: {told.reason}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or ["scripted/tool", "scripted/echo"]))
