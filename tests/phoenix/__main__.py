"""A session's trace in Arize Phoenix, a collector and page of others: `make phoenix`.

Phoenix must show the session, its turn as a tree, and its tokens, and must come to a cost of its own.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Final

from llmgine.runtime import Runtime, tool
from tests.phoenix.server import asked, installed, running

FOLDER: Final = Path("build/phoenix")
PROJECT: Final = "llmgine"
PATIENCE: Final = 120.0


# Phoenix knows the price of the model that the script bears the name of.
_REPLIES: Final = [
    {
        "tool_calls": [{"name": "clock", "arguments": {}}],
        "usage": {"input_tokens": 120, "output_tokens": 30},
    },
    {"text": "It is noon.", "usage": {"input_tokens": 160, "output_tokens": 10}},
]
_KINDS: Final = {
    "ask": "CHAIN",
    "invoke_agent": "AGENT",
    "chat": "LLM",
    "pool": "CHAIN",
    "execute_tool": "TOOL",
}
_SUMMARY: Final = """{ projects { edges { node { name recordCount traceCount
  costSummary { total { cost tokens } }
  sessions(first: 10) { edges { node { sessionId numTraces tokenUsage { total }
    costSummary { total { cost } } } } } } } } }"""


@tool
def clock() -> str:
    """Tells the time."""
    return "noon"


async def sent(url: str) -> tuple[str, Any]:
    """One session with a tool call, exported to Phoenix; its id and its reply."""
    session_id = f"visit-{time.time_ns()}"
    settings: dict[str, Any] = {
        "data_dir": FOLDER / "runtime",
        "providers": {"scripts": {"gpt-4o-mini": {"replies": _REPLIES}}},
        "telemetry": {
            "content": True,
            "otlp": {
                "endpoint": url,
                "compression": "gzip",
                "resource": {"openinference.project.name": PROJECT, "service.name": "llmgine"},
            },
        },
    }
    async with (
        Runtime.launch(settings, name="phoenix") as runtime,
        runtime.session(session_id, model="scripted/gpt-4o-mini", tools=[clock]) as session,
    ):
        return session_id, await session.ask("What time is it?")


def shown(url: str, session_id: str) -> dict[str, Any]:
    """What Phoenix has of the session, once it has all."""
    give_up = time.monotonic() + PATIENCE
    while True:
        data = asked(f"{url}/graphql", {"query": _SUMMARY})["data"]
        for project in data["projects"]["edges"]:
            for edge in project["node"]["sessions"]["edges"]:
                found: dict[str, Any] = edge["node"]
                if found["sessionId"] == session_id and found["tokenUsage"]["total"] == 320:
                    return found
        if time.monotonic() > give_up:
            raise TimeoutError(f"Phoenix shows {data}")
        time.sleep(1)


def check(url: str, session_id: str, reply: Any) -> None:
    """Raises AssertionError where Phoenix shows anything else than what happened."""
    session = shown(url, session_id)
    assert session["numTraces"] == 1, session
    assert session["costSummary"]["total"]["cost"] > 0, session
    spans = [
        span
        for span in asked(f"{url}/v1/projects/{PROJECT}/spans?limit=200")["data"]
        if span["context"]["trace_id"] == reply.trace_id
    ]
    by_id = {span["context"]["span_id"]: span for span in spans}
    for span in spans:
        print(f"  {span['span_kind']:8} {span['name']}  {span['status_code']}")
    roots = [span["name"] for span in spans if span["parent_id"] not in by_id]
    assert roots == ["ask turn"], roots
    kinds = {span["name"].split()[0]: span["span_kind"] for span in spans}
    assert kinds == _KINDS, kinds
    turn = next(span for span in spans if span["name"] == "invoke_agent")["context"]["span_id"]
    below = sorted(span["name"] for span in spans if span["parent_id"] == turn)
    assert below == ["chat gpt-4o-mini", "chat gpt-4o-mini", "execute_tool clock"], below
    print(f"session {session_id}: {session}")


def main() -> None:
    installed(FOLDER)
    with running(FOLDER) as url:
        session_id, reply = asyncio.run(sent(url))
        check(url, session_id, reply)
    print("Phoenix shows the session with its tree, its tokens and its cost")


if __name__ == "__main__":
    main()
