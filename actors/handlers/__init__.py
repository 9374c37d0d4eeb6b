"""Handlers that run as actors of their own: how a class says what it handles, and what its replicas are."""

from llmgine.actors.handlers.bus import HandlerBus
from llmgine.actors.handlers.deployment import DeployedCode, DeploymentRefused

__all__ = ["DeployedCode", "DeploymentRefused", "HandlerBus"]
