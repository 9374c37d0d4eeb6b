"""Which provider actor takes a call. Pure: what a caller learns and the time in, an actor out."""

from llmgine.actors.pools.routing.router import Router, Visit

__all__ = ["Router", "Visit"]
