"""Where the command `llmgine` starts: with nothing loaded yet that takes time, so that Ctrl-C is quiet."""

import sys


def main() -> None:
    """What the command `llmgine` runs."""
    try:
        from llmgine.runtime.commands.entry import execute
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(execute(sys.argv[1:]))
