"""One question to several models: only the name changes, and the answer has a type.

Without arguments it asks two scripted models; name others to ask them, such as openai/gpt-5
anthropic/claude-sonnet-4-5 gemini/gemini-2.5-flash local/smollm2.
"""

import asyncio
import sys

from pydantic import BaseModel

from llmgine.runtime import Runtime

SCRIPTS = {
    "tidy": {"replies": [{"text": '{"name": "Paris", "inhabitants": 2100000}'}]},
    "chatty": {"replies": [{"text": "Paris!"}, {"text": 'Sorry: {"name": "Paris", "inhabitants": 2100000}'}]},
}


class City(BaseModel):
    name: str
    inhabitants: int


async def main(models: list[str]) -> None:
    async with Runtime.in_process({"providers": {"scripts": SCRIPTS}}) as runtime:
        for model in models:
            answer = await runtime.models.complete(model, "Which is the largest city of France?", output=City)
            city: City = answer.output
            print(f"{model}: {city.name}, {city.inhabitants}; calls: {len(answer.attempts)}, ${answer.cost}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or ["scripted/tidy", "scripted/chatty"]))
