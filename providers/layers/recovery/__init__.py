from llmgine.providers.layers.recovery.layer import Recovery
from llmgine.providers.layers.recovery.policy import is_sealed

__all__ = ["Recovery", "is_sealed"]
