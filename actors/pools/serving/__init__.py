from llmgine.actors.pools.serving.serving import Serving

__all__ = ["Serving"]
