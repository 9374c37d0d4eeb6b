"""What can be refused before Ray starts: a model that nothing serves, weights or keys that are not here."""

from __future__ import annotations

import os

from llmgine.runtime.data import folder_of, read_record
from llmgine.runtime.settings import Settings

DEFAULT_MODEL = "local/smollm2"
DEFAULT_RUNTIME = "default"


def cluster_address() -> str | None:
    """The cluster that RAY_ADDRESS names; `local` asks for one of our own."""
    told = os.environ.get("RAY_ADDRESS", "").strip()
    return None if told in ("", "local") else told


def may_run_elsewhere(settings: Settings, name: str = DEFAULT_RUNTIME) -> bool:
    """Whether a runtime of that name may run already, here or in a cluster that this process is told of."""
    if cluster_address():
        return True
    record = read_record(folder_of(settings.data_dir, name))
    return record is not None and (record.detached or record.holder_lives())


def check_model(model: str, settings: Settings) -> None:
    """Returns when a runtime on this machine could serve the model; else the error that says what to do."""
    from llmgine.providers.catalogue import resolve
    from llmgine.providers.keys import find_key
    from llmgine.providers.weights import check_engine, find_weights

    name = resolve(model, settings.providers)
    endpoint = settings.providers.endpoints[name.provider]
    if endpoint.kind == "local":
        find_weights(name.model, settings.providers.local)
        check_engine()
    elif endpoint.kind != "scripted":
        find_key(name.provider, endpoint)
