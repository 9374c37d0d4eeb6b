"""The runtime as its gateway sees it: the port's implementation over the face, and the handle of drivers."""

from llmgine.runtime.gateway.handle import Gateway
from llmgine.runtime.gateway.port import open_port

__all__ = ["Gateway", "open_port"]
