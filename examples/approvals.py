"""Tool calls that need somebody's leave: one is approved, one denied, one answered too late."""

import asyncio

from llmgine.runtime import AlreadyAnswered, Runtime, tool

SCRIPTS = {
    "clerk": {
        "replies": [
            {"tool_calls": [{"name": "refund", "arguments": {"euros": 5}}]},
            {"text": "It is on its way."},
            {"tool_calls": [{"name": "refund", "arguments": {"euros": 5000}}]},
            {"text": "I may not do that."},
        ]
    }
}


@tool(approval=True)
def refund(euros: int) -> str:
    """Pays money back to the customer."""
    return f"{euros} euros refunded"


async def main() -> None:
    async with Runtime.in_process({"providers": {"scripts": SCRIPTS}}) as runtime:
        async with runtime.session(model="scripted/clerk", tools=[refund]) as session:
            for prompt in ("Five euros, please.", "Five thousand euros, please."):
                turn = await session.submit(prompt)
                async for approval in runtime.approvals.watch():
                    print(approval.tool, approval.arguments)
                    break
                if approval.arguments["euros"] < 100:
                    await runtime.approvals.approve(approval.id, by="ann")
                else:
                    await runtime.approvals.deny(approval.id, by="ann", note="That is too much.")
                reply = await turn.result()
                result = reply.tool_calls[0].result
                print(result and result.text)
                print(reply.text)
            try:
                await runtime.approvals.approve(approval.id, by="ben")
            except AlreadyAnswered as error:
                print(str(error).partition(" was ")[2].partition(" at ")[0])


if __name__ == "__main__":
    asyncio.run(main())
