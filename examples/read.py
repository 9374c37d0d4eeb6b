"""Reads the answer of a turn that another driver submitted: python examples/read.py TURN_ID."""

import asyncio
import sys

from llmgine.runtime import Runtime


async def main(turn_id: str) -> None:
    async with Runtime.connect() as runtime:
        reply = await runtime.turn(turn_id).result()
        print(reply.text)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
