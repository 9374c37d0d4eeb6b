from llmgine.actors.pools.serving.lag import LoopLag
from llmgine.actors.pools.serving.leasing import Leasing
from llmgine.actors.pools.serving.serving import Serving

__all__ = ["Leasing", "LoopLag", "Serving"]
