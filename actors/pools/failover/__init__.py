"""What becomes of a model call that one actor, key or model has failed; pure."""

from llmgine.actors.pools.failover.options import FailoverOptions, HedgeOptions

__all__ = ["FailoverOptions", "HedgeOptions"]
