"""`llmgine demo`: the whole path on this machine."""

from __future__ import annotations

from llmgine.runtime.commands.preflight import DEFAULT_MODEL, check_model
from llmgine.runtime.commands.running import run


def demo() -> None:
    """Show three sessions on the local model at once, a tool call, events on the bus, and the trace of it.

    Example: `llmgine demo`
    """
    from llmgine.runtime.settings import load_settings

    settings = load_settings()
    check_model(DEFAULT_MODEL, settings)
    from llmgine.runtime.commands.demonstration import demonstrate

    run(demonstrate(settings))
