"""The wires of the vendors, in front of pools and sessions."""

from llmgine.actors.gateway.vendor.table import error_body, routes

__all__ = ["error_body", "routes"]
