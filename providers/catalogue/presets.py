"""Well-known Chat Completions servers: where they are, which variable holds the key, and their quirks.

They are endpoints under their own names without any setting, and what an endpoint of another name starts
from by its `preset`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmgine.providers.catalogue.quirks import OPENAI, Quirks

_FILE = Path(__file__).with_name("presets.json")


@functools.cache
def presets() -> Mapping[str, Mapping[str, Any]]:
    """The settings of each known server by its name, as an endpoint takes them."""
    listed: dict[str, dict[str, Any]] = json.loads(_FILE.read_text(encoding="utf-8"))
    return {name: {"kind": "openai-compatible", **fields} for name, fields in listed.items()}


def preset_quirks(name: str) -> Quirks:
    """The quirks of a known server."""
    return Quirks.model_validate(presets()[name]["quirks"])


def completed(said: Mapping[str, Any]) -> dict[str, Any]:
    """What is said about an endpoint, laid over its preset and its kind's quirks, which merge field by field.

    `ValueError` names the known presets.
    """
    base: Mapping[str, Any] = {}
    if isinstance(name := said.get("preset"), str):
        if name not in presets():
            raise ValueError(f"no preset is called {name!r}; known are: {', '.join(sorted(presets()))}")
        base = presets()[name]
        if said.get("keys"):
            base = {field: value for field, value in base.items() if field != "key_env"}
    elif said.get("kind") == "openai":
        base = {"quirks": OPENAI.model_dump(exclude_unset=True)}
    quirks = said.get("quirks", {})
    if isinstance(quirks, Quirks):
        quirks = quirks.model_dump(exclude_unset=True)
    if "quirks" in base and isinstance(quirks, Mapping):
        quirks = {**base["quirks"], **quirks}
    return {**base, **said, "quirks": quirks}
