"""HTTP in front of a runtime: the dashboard, a JSON and event API, and the wires of the vendors."""

from llmgine.actors.gateway.app import app
from llmgine.actors.gateway.errors import Refusal
from llmgine.actors.gateway.options import GatewayOptions
from llmgine.actors.gateway.port import GatewayPort, OpensPort, TraceChoice, TurnAsk

__all__ = ["GatewayOptions", "GatewayPort", "OpensPort", "Refusal", "TraceChoice", "TurnAsk", "app"]
