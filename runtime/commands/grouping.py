"""Commands that have commands of their own."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup


class _Group(TyperGroup):
    """Where none of its commands is named, its first one is meant: `llmgine pools` lists pools."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = bool(args) and (not args[0].startswith("-") or args[0] in ctx.help_option_names)
        if not named and not ctx.resilient_parsing:
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)


def group(help: str) -> typer.Typer:
    """A command for commands; the first that is added is meant where none is named."""
    return typer.Typer(help=help, cls=_Group)
