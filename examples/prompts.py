"""Prompts whose variables are declared: a wrong one is an error before any model is asked."""

import asyncio
from typing import Literal

from llmgine.runtime import Prompt, PromptVariables, Runtime

ROLE = Prompt("You answer {{ customer }} in a {{ tone }} tone.", customer=str, tone=Literal["kind", "curt"])
QUESTION = Prompt(
    "{% for item in items %}\n- {{ item }}\n{% endfor %}\nWhich of these is {{ colour }}?",
    items=list[str],
    colour=str,
)


async def main() -> None:
    async with Runtime.in_process() as runtime:
        system = ROLE.render(customer="Anna", tone="kind")
        async with runtime.session(model="scripted/echo", system=system) as session:
            reply = await session.ask(QUESTION.render(items=["grass", "snow"], colour="white"))
            print(reply.text)
            try:
                await session.ask(QUESTION.render(items="grass", color="white"))
            except PromptVariables as error:
                print(error)


asyncio.run(main())
