from llmgine.actors.breaking.breaker import Breaker
from llmgine.actors.breaking.policy import BreakerPolicy

__all__ = ["Breaker", "BreakerPolicy"]
