"""An MCP server for tests: as a program, and for who serves it otherwise."""

from __future__ import annotations

import asyncio
import base64
import os
from typing import Any

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def toolbox() -> Any:
    """A server with a tool for each kind of result."""
    server = MCPServer("toolbox", log_level="ERROR")

    @server.tool()
    def add(a: int, b: int) -> int:
        """Adds two numbers."""
        return a + b

    @server.tool()
    def draw() -> Image:
        """A picture of one pixel."""
        return Image(data=PIXEL, format="png")

    @server.tool()
    def fail() -> str:
        """Fails."""
        raise ToolError("the shelf is empty")

    @server.tool()
    def variable(name: str) -> str:
        """What the server sees of its environment."""
        return os.environ.get(name, "(not set)")

    @server.tool(name="pid")
    def process() -> int:
        """The server's process."""
        return os.getpid()

    @server.tool()
    def die() -> str:
        """Ends the server's process in the middle of the call."""
        os._exit(7)

    @server.tool()
    async def wait(seconds: float) -> str:
        """Takes its time."""
        await asyncio.sleep(seconds)
        return "done"

    @server.tool()
    async def learn(name: str, context: Context) -> str:
        """Adds a tool of that name."""
        server.add_tool(lambda: name, name=name, description="Learnt.")
        await context.notify_tools_changed()
        return "learnt"

    return server


if __name__ == "__main__":
    toolbox().run("stdio")
