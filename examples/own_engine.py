"""An engine of one's own: the model first writes a plan, then carries it out with its tools."""

import asyncio
from dataclasses import dataclass

from llmgine.runtime import (
    CallModel,
    LimitReached,
    Limits,
    Message,
    Runtime,
    Step,
    ToolChatEngine,
    TurnView,
    tool,
)

SCRIPTS = {
    "clerk": {
        "replies": [
            {"text": "1. Look up the stock. 2. Answer."},
            {"tool_calls": [{"name": "stock", "arguments": {"item": "tea"}}]},
            {"text": "There are four left."},
        ]
    }
}


@tool
def stock(item: str) -> int:
    """How many of an item are left."""
    return len(item) + 1


@dataclass(frozen=True)
class PlanThenAct:
    """Asks for a plan, without tools, then leaves the rest of the turn to the built-in engine."""

    wish: str = "First write down in a few short steps how you will do this. Do not do it yet."

    def next(self, view: TurnView) -> Step:
        if view.steps == 0:
            return CallModel(view.request(tools=(), messages=(*view.messages, Message.user(self.wish))))
        if view.steps == 1:
            return CallModel(view.request(messages=(*view.messages, Message.user("Now carry it out."))))
        return ToolChatEngine().next(view)


async def main() -> None:
    async with Runtime.in_process({"providers": {"scripts": SCRIPTS}}) as runtime:
        async with runtime.session(model="scripted/clerk", tools=[stock], engine=PlanThenAct()) as session:
            reply = await session.ask("Is there any tea?")
            print(reply.text, f"({reply.steps} model calls)")
            for message in await session.history():
                print(message.role, message.text or [part.type for part in message.parts])
        async with runtime.session(model="scripted/clerk", tools=[stock], engine=PlanThenAct()) as session:
            try:
                await session.ask("Is there any tea?", limits=Limits(steps=2))
            except LimitReached as error:
                print(error)


if __name__ == "__main__":
    asyncio.run(main())
