"""The command `llmgine`. Results go to standard output, everything else to standard error."""

from llmgine.runtime.commands.start import main

__all__ = ["main"]
