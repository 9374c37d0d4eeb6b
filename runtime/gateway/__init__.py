"""The runtime as its gateway sees it: the port's implementation over the face, and the handle of drivers."""

from llmgine.runtime.gateway.handle import Gateway

__all__ = ["Gateway"]
