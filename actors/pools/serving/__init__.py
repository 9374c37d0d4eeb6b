from llmgine.actors.pools.serving.lag import LoopLag
from llmgine.actors.pools.serving.serving import Serving

__all__ = ["LoopLag", "Serving"]
