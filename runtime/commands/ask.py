"""`llmgine ask`: one prompt, one answer."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from llmgine.runtime.commands.output import AsJson, UsageRefused, note, write
from llmgine.runtime.commands.preflight import DEFAULT_MODEL, ModelName, check_asked, check_session
from llmgine.runtime.commands.running import run

if TYPE_CHECKING:
    from llmgine.runtime import Reply, Session
    from llmgine.runtime.settings import Settings


def ask(
    prompt: Annotated[
        str | None, typer.Argument(help="What to ask; - or nothing reads standard input.")
    ] = None,
    model: ModelName = None,
    session: Annotated[
        str | None, typer.Option("-s", "--session", help="Continue this session of the running runtime.")
    ] = None,
    as_json: AsJson = False,
    no_stream: Annotated[
        bool, typer.Option("--no-stream", help="Print the answer when it is whole.")
    ] = False,
) -> None:
    """Ask a model and print its answer; joins the runtime `default`, or launches one for this answer.

    Example: `llmgine ask "Name three rivers" -m claude-sonnet-4-5 --json`
    """
    text = read_prompt(prompt)
    check_session(session)
    from llmgine.runtime.settings import load_settings

    settings = load_settings()
    check_asked(model or DEFAULT_MODEL, settings)
    run(_ask(settings, text, model, session, as_json=as_json, stream=not (as_json or no_stream)))


def read_prompt(given: str | None) -> str:
    """The prompt, from standard input where it is not an argument."""
    if given is None and sys.stdin.isatty():
        raise UsageRefused('nothing to ask; give a prompt: llmgine ask "Hello", or pipe one in')
    try:
        text = sys.stdin.read() if given in (None, "-") else str(given)
    except UnicodeDecodeError as error:
        raise UsageRefused(f"standard input is not text in {error.encoding}; pipe in text") from None
    checked_text("the prompt" if given not in (None, "-") else "standard input", text)
    if not text.strip():
        raise UsageRefused('the prompt is empty; give one: llmgine ask "Hello"')
    return text.strip("\n") if given in (None, "-") else text


def checked_text(what: str, text: str) -> None:
    """Returns when it is text; bytes that are none stand as lone surrogates in arguments and input."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageRefused(f"{what} is not text in UTF-8; convert it first, as with iconv") from None


async def _ask(
    settings: Settings, prompt: str, model: str | None, session_id: str | None, *, as_json: bool, stream: bool
) -> None:
    from llmgine.runtime.commands.joining import joined_or_launched, tell_beginning
    from llmgine.runtime.commands.turns import submitted

    async with joined_or_launched(settings, "ask") as (runtime, joined):
        if session_id is not None:
            await tell_beginning(runtime, session_id, joined=joined)
        opening = runtime.session(
            session_id, model=model or DEFAULT_MODEL, stay=joined and session_id is not None
        )
        async with opening as session:
            if stream:
                await stream_answer(session, prompt, model)
                return
            async with submitted(session, prompt, model) as turn:
                reply = await turn.result()
            write((_as_json(reply) if as_json else reply.text) + "\n")


async def stream_answer(session: Session, prompt: str, model: str | None = None) -> None:
    """Writes the answer as it comes; the error of a failed turn is raised when what came is written."""
    from llmgine.actors.sessions import TurnFailed
    from llmgine.providers import Reset, TextDelta
    from llmgine.runtime.commands.turns import submitted

    written = ""
    try:
        async with submitted(session, prompt, model) as turn:
            async for event in turn.stream():
                match event:
                    case TextDelta():
                        written += event.text
                        write(event.text)
                    case Reset() if written:
                        write("\n")
                        note("the model started again")
                        written = ""
                    case TurnFailed():
                        raise event.error
    finally:
        if written and not written.endswith("\n"):
            write("\n")


def _as_json(reply: Reply) -> str:
    return json.dumps(
        {
            "text": reply.text,
            "session": reply.session_id,
            "model": reply.model,
            "usage": reply.usage.model_dump(mode="json", exclude={"raw"}),
            "cost": None if reply.cost is None else str(reply.cost),
            "finish_reason": reply.finish_reason.value,
            "trace_id": reply.trace_id,
        },
        ensure_ascii=False,
    )
