"""Two keys of one provider: one is refused, the other takes over, and a new text is taken up."""

import asyncio
import json
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from llmgine.runtime import LLMResponse, Runtime

FILE = Path(tempfile.mkdtemp()) / "team-a"
KNOWN = {"text-of-team-b"}


async def key(name: str) -> tuple[str, float]:
    """As from a vault: the key of that name, and for how many seconds it holds."""
    return f"text-of-{name}", 3600.0


class Server(BaseHTTPRequestHandler):
    """Stands for the provider."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        known = self.headers["authorization"].removeprefix("Bearer ") in KNOWN
        message = {"role": "assistant", "content": "Hello"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        answer = {"choices": [choice]} if known else {"error": {"message": "revoked"}}
        body = json.dumps({"id": "1", "model": "m", **answer}).encode()
        self.send_response(200 if known else 401)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def tries(response: LLMResponse) -> list[tuple[str, str]]:
    return [(attempt.key, attempt.outcome) for attempt in response.attempts]


async def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    FILE.write_text("old-text")
    rack = {
        "base_url": f"http://127.0.0.1:{server.server_port}/v1",
        "keys": [{"name": "team-a", "file": str(FILE)}, {"name": "team-b", "function": "keys:key"}],
    }
    async with Runtime.in_process({"providers": {"endpoints": {"rack": rack}}}) as runtime:
        print(tries(await runtime.models.complete("rack/m", "Hi")))
        print(tries(await runtime.models.complete("rack/m", "Hi")))
        # Team-a gets a new text, and that of team-b is revoked. A file is looked at once a second.
        FILE.write_text("new-text")
        KNOWN.symmetric_difference_update({"new-text", "text-of-team-b"})
        await asyncio.sleep(1.1)
        print(tries(await runtime.models.complete("rack/m", "Hi")))
        print(tries(await runtime.models.complete("rack/m", "Hi")))
    server.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
