from llmgine.providers.recovery.layer import Recovery
from llmgine.providers.recovery.policy import is_sealed

__all__ = ["Recovery", "is_sealed"]
