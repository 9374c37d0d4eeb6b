from llmgine.actors.pools.keys.options import KeysOptions
from llmgine.actors.pools.keys.ring import Blocked, KeyRing, Take

__all__ = ["Blocked", "KeyRing", "KeysOptions", "Take"]
