"""The background process of `llmgine up`: launches a runtime and holds it until it is told to end.

`python -m llmgine.runtime.commands.holder NAME DESCRIPTOR` writes one line of JSON to the descriptor:
`{"ready": true, "gateway": "…"}` or `{"error": "…"}`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

from llmgine.providers.errors import LlmgineError
from llmgine.runtime import Runtime, RuntimeNotFound, RuntimeStopping
from llmgine.runtime.commands.fronting import gateway_of, with_gateway
from llmgine.runtime.data import data_folder, remove_holder, write_holder
from llmgine.runtime.settings import load_settings

# How often it is asked whether the runtime is still there, in seconds.
_LOOK = 5.0


async def hold(name: str, descriptor: int) -> int:
    """Holds the runtime until SIGTERM or SIGINT, or until somebody else has stopped it; the exit code."""
    ended = asyncio.Event()
    _heed_signals(ended)
    try:
        settings = load_settings()
        folder = data_folder(settings.data_dir, name)
        async with Runtime.launch(with_gateway(settings), name=name) as runtime:
            told = await gateway_of(runtime)
            write_holder(folder, told.get("gateway"))
            _tell(descriptor, {"ready": True, **told})
            await _until(ended, runtime)
        remove_holder(folder)
    except LlmgineError as error:
        _tell(descriptor, {"error": str(error)})
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _heed_signals(ended: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


async def _until(ended: asyncio.Event, runtime: Runtime) -> None:
    """Returns when this process is told to end, or when the runtime has gone without it."""
    while not ended.is_set():
        try:
            async with asyncio.timeout(_LOOK):
                await ended.wait()
        except TimeoutError:
            try:
                await runtime.status()
            except (RuntimeNotFound, RuntimeStopping) as error:
                print(f"the runtime was ended by somebody else: {error}", file=sys.stderr)
                return
            except LlmgineError as error:
                print(f"the runtime does not answer now: {error}", file=sys.stderr)


def _tell(descriptor: int, answer: dict[str, object]) -> None:
    """Says it once; nobody may be there to hear it any more."""
    try:
        os.write(descriptor, (json.dumps(answer) + "\n").encode())
        os.close(descriptor)
    except OSError:
        return


if __name__ == "__main__":
    sys.exit(asyncio.run(hold(sys.argv[1], int(sys.argv[2]))))
