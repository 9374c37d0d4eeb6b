from llmgine.actors.pools.client import PoolClient, PoolRegistry
from llmgine.actors.pools.options import PoolOptions, PoolsOptions
from llmgine.actors.pools.routing import Router

__all__ = ["PoolClient", "PoolOptions", "PoolRegistry", "PoolsOptions", "Router"]
