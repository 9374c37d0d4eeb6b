"""HTTP in front of a runtime: the dashboard, a JSON and event API, and the wires of the vendors."""

from llmgine.actors.gateway.cargo import GatewayCargo
from llmgine.actors.gateway.errors import GatewayError, PortTaken, Refusal, SecretMissing
from llmgine.actors.gateway.options import GatewayOptions

__all__ = ["GatewayCargo", "GatewayError", "GatewayOptions", "PortTaken", "Refusal", "SecretMissing"]
