"""The tools of an MCP server in a session: here one that tells the time, started as a program of its own.

Needs `pip install mcp-server-time`; a scripted model makes the calls, any other would do.
"""

import asyncio
import sys

from llmgine.runtime import McpServer, Runtime

CLOCK = McpServer.stdio(sys.executable, ["-m", "mcp_server_time", "--local-timezone", "UTC"], name="clock")

NOON = {"source_timezone": "Europe/Paris", "time": "12:00", "target_timezone": "Asia/Tokyo"}
SCRIPTS = {
    "traveller": {
        "replies": [
            {"tool_calls": [{"name": "clock_convert_time", "arguments": NOON}]},
            {"text": "Noon in Paris is evening in Tokyo."},
        ]
    }
}


async def main() -> None:
    async with Runtime.in_process({"providers": {"scripts": SCRIPTS}}) as runtime:
        async with runtime.session(model="scripted/traveller", tools=[CLOCK]) as session:
            reply = await session.ask("What time is it in Tokyo when it is noon in Paris?")
            for call in reply.tool_calls:
                print(call.name, "failed" if call.result.is_error else "succeeded")
            print(reply.text)


asyncio.run(main())
