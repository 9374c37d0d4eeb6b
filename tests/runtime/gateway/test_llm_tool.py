"""The `llm` command-line tool, unmodified, against the gateway."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from benchmarks.contract import Peer
from benchmarks.environments import prepare, python
from tests.runtime.gateway.conftest import Stage

# Its dependencies are its own affair, so that it lives in an environment of its own.
TOOL = Peer("llm", "asks models from a shell", environment=("llm>=0.36",))
FUNCTIONS = """
def get_weather(city: str) -> str:
    "The weather in a city."
    return f"sunny in {city}"
"""
MODELS = """
- model_id: alone
  model_name: scripted/tool
  api_base: {url}/v1
  supports_tools: true
- model_id: in-session
  model_name: scripted/tool
  api_base: {url}/v1
  supports_tools: true
  headers:
    x-llmgine-session: shell
"""


@pytest.fixture(scope="session")
def llm(missing: Callable[[str], NoReturn]) -> Path:
    """The tool's program."""
    if trouble := prepare(TOOL):
        missing(f"the llm tool: {trouble}")
    return python(TOOL).parent / "llm"


async def run(program: Path, home: Path, *arguments: str) -> str:
    """What the tool prints."""
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        env={**os.environ, "LLM_USER_PATH": str(home)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, trouble = await process.communicate()
    assert process.returncode == 0, trouble.decode()
    return said.decode()


@pytest.mark.timeout(360)  # the environment is made on the first run
async def test_a_conversation_with_tools(llm: Path, stage: Stage, tmp_path: Path) -> None:
    """Streamed, with the tool's own functions; then the same within a session, which holds it."""
    (tmp_path / "extra-openai-models.yaml").write_text(MODELS.format(url=stage.url))
    asked = ("--functions", FUNCTIONS, "Weather?")
    assert "sunny in city" in await run(llm, tmp_path, "-m", "alone", *asked)
    assert "sunny in city" in await run(llm, tmp_path, "-c", *asked)
    assert "sunny in city" in await run(llm, tmp_path, "-m", "in-session", *asked)
    assert (await stage.runtime.sessions.show("shell")).messages == 4
