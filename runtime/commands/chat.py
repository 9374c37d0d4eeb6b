"""`llmgine chat`: a conversation, one line a turn."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import typer

from llmgine.providers.errors import LlmgineError
from llmgine.runtime.commands.ask import checked_text, stream_answer
from llmgine.runtime.commands.output import err, fail, note
from llmgine.runtime.commands.preflight import DEFAULT_MODEL, ModelName, check_asked, check_session
from llmgine.runtime.commands.running import ended_alone, run

if TYPE_CHECKING:
    from llmgine.runtime.settings import Settings


def chat(
    model: ModelName = None,
    session: Annotated[
        str | None, typer.Option("-s", "--session", help="Continue this session of the running runtime.")
    ] = None,
    system: Annotated[str | None, typer.Option("--system", help="System prompt of a new session.")] = None,
) -> None:
    """Talk to a model line by line; Ctrl-C ends an answer, Ctrl-D the chat.

    Example: `llmgine chat -s support-7`
    """
    check_session(session)
    checked_text("--system", system or "")
    from llmgine.runtime.settings import load_settings

    settings = load_settings()
    check_asked(model or DEFAULT_MODEL, settings)
    run(_chat(settings, model, session, system))


async def _chat(settings: Settings, model: str | None, session_id: str | None, system: str | None) -> None:
    from llmgine.runtime.commands.joining import joined_or_launched, tell_beginning

    typed = sys.stdin.isatty()
    async with joined_or_launched(settings, "chat") as (runtime, joined):
        stay = joined and session_id is not None
        if session_id is not None:
            await tell_beginning(runtime, session_id, joined=joined)
        opening = runtime.session(session_id, model=model or DEFAULT_MODEL, system=system, stay=stay)
        async with opening as session:
            if typed:
                note(
                    f"{model or DEFAULT_MODEL}, session {session.id}; Ctrl-C ends an answer, Ctrl-D the chat"
                )
            failed = False
            async for line in _lines():
                try:
                    answering = stream_answer(session, line, model)
                    if not typed:
                        await answering
                    elif await ended_alone(answering):
                        note("the answer is cancelled; Ctrl-C again ends the chat")
                except LlmgineError as error:
                    fail(str(error))
                    failed = True
            if failed and not typed:
                raise typer.Exit(1)


async def _lines() -> AsyncIterator[str]:
    """The lines of standard input that say something, with a sign where a person types.

    A thread reads the descriptor itself: a reader that holds Python's buffered input would stop the
    interpreter from ending while it waits.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes] = asyncio.Queue()

    def read() -> None:
        while chunk := os.read(sys.stdin.fileno(), 65536):
            loop.call_soon_threadsafe(queue.put_nowait, chunk)
        loop.call_soon_threadsafe(queue.put_nowait, b"")

    threading.Thread(target=read, name="standard input", daemon=True).start()
    rest = b""
    while True:
        if sys.stdin.isatty():
            err.print("> ", end="", style="bold")
        while b"\n" not in rest:
            chunk = await queue.get()
            if not chunk:
                if rest.strip():
                    yield rest.decode(errors="replace")
                return
            rest += chunk
        line, _, rest = rest.partition(b"\n")
        if line.strip():
            yield line.decode(errors="replace")
