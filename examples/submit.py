"""Submits a turn to a runtime that `llmgine up` started, and leaves; read.py fetches the answer."""

import asyncio
import sys

from llmgine.runtime import Runtime


async def main(prompt: str, model: str = "local/smollm2") -> None:
    async with Runtime.connect() as runtime, runtime.session("report", model=model, stay=True) as session:
        turn = await session.submit(prompt)
        print(turn.id)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
