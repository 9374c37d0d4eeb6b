from llmgine.actors.pools.client.client import PoolClient
from llmgine.actors.pools.client.places import PoolRegistry

__all__ = ["PoolClient", "PoolRegistry"]
