from llmgine.actors.pools.keys.options import KeyBreakerPolicy, KeysOptions
from llmgine.actors.pools.keys.ring import Blocked, KeyRing, Take

__all__ = ["Blocked", "KeyBreakerPolicy", "KeyRing", "KeysOptions", "Take"]
