"""How many actors a pool should have. Pure: figures and the time in, a size out."""

from llmgine.actors.pools.scaling.autoscale import Autoscaler, Load
from llmgine.actors.pools.scaling.options import ScalingOptions

__all__ = ["Autoscaler", "Load", "ScalingOptions"]
