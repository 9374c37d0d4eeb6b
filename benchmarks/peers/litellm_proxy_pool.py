"""LiteLLM's proxy in a process beside the one that wants the answers, which asks it with the SDK."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

from benchmarks.contract import Measure
from benchmarks.peers.between import measured
from benchmarks.requests import MODEL, PROMPT, bare
from benchmarks.streams import load

_PATIENCE: Final = 120.0


@asynccontextmanager
async def stage(case: str) -> AsyncIterator[Measure]:
    import openai

    async with load() as server, bare(server.url) as sdk, _proxy(server.url) as (url, key):
        http = openai.DefaultAsyncHttpxClient(trust_env=False)
        async with openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0, http_client=http) as proxied:
            messages: list[Any] = [{"role": "user", "content": PROMPT}]

            async def ask() -> str | None:
                answer = await proxied.chat.completions.create(model="bench", messages=messages)
                return answer.choices[0].message.content

            await _ready(proxied)
            yield measured(ask, sdk, server)


@asynccontextmanager
async def _proxy(server: str) -> AsyncIterator[tuple[str, str]]:
    """Its URL and key; it is not asked yet whether it is up."""
    parameters = {"model": f"openai/{MODEL}", "api_base": server, "api_key": "none"}
    settings = {
        "model_list": [{"model_name": "bench", "litellm_params": parameters}],
        "litellm_settings": {"num_retries": 0, "telemetry": False},
    }
    with NamedTemporaryFile("w", suffix=".yaml", delete=False) as file:
        json.dump(settings, file)  # YAML holds all of JSON
    port, key = _free_port(), f"sk-{secrets.token_hex(24)}"
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).parent / "litellm",
        *("--config", file.name, "--host", "127.0.0.1", "--port", str(port)),
        stdin=asyncio.subprocess.DEVNULL,
        env={**os.environ, "LITELLM_MASTER_KEY": key, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )
    try:
        yield f"http://127.0.0.1:{port}", key
    finally:
        process.terminate()
        await process.wait()


async def _ready(client: Any) -> None:
    import openai

    async with asyncio.timeout(_PATIENCE):
        while True:
            try:
                await client.models.list()
                return
            except openai.APIConnectionError:
                await asyncio.sleep(0.5)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
