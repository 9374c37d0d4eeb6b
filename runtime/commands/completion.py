"""`llmgine completion`: what lets a shell complete our commands."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import Annotated

import typer

from llmgine.runtime.commands.completing import one_of
from llmgine.runtime.commands.output import UsageRefused, write

# How each shell takes its script.
_INSTALL = {
    "bash": 'add to ~/.bashrc:  eval "$(llmgine completion bash)"',
    "zsh": 'add to ~/.zshrc, below compinit:  eval "$(llmgine completion zsh)"',
    "fish": "llmgine completion fish > ~/.config/fish/completions/llmgine.fish",
}


def completion(
    shell: Annotated[
        str | None,
        typer.Argument(
            help="bash, zsh or fish; by default the one of $SHELL.", autocompletion=one_of(*_INSTALL)
        ),
    ] = None,
) -> None:
    """Print a script that lets the shell complete commands, options, names of runtimes, pools and models.

    Its first line says how to install it. Example: `llmgine completion zsh`
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    named = shell or PurePath(os.environ.get("SHELL", "")).name
    if named not in _INSTALL:
        raise UsageRefused(f"no completion for the shell {named!r}; name one of {', '.join(_INSTALL)}")
    script = get_completion_script(prog_name="llmgine", complete_var="_LLMGINE_COMPLETE", shell=named)
    # zsh looks for its directive in the first line of a file that it finds by itself; ours is evaluated.
    write(f"# To install: {_INSTALL[named]}\n{script.strip()}\n")
