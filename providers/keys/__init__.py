"""Finding the keys of an endpoint on the node that uses them, and keeping them out of sight."""

from llmgine.providers.keys.masking import KeyMask
from llmgine.providers.keys.places import (
    Found,
    KeyPlace,
    Missing,
    find_key,
    key_places,
    look,
    missing_key,
)
from llmgine.providers.keys.source import KeySource

__all__ = [
    "Found",
    "KeyMask",
    "KeyPlace",
    "KeySource",
    "Missing",
    "find_key",
    "key_places",
    "look",
    "missing_key",
]
