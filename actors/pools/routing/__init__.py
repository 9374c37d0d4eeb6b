from llmgine.actors.pools.routing.router import Router

__all__ = ["Router"]
