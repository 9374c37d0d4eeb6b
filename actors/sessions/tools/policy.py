"""Whether a call of a tool may run: decided before each call, by a policy that travels with the code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from llmgine.actors.sessions.tools.failing import told
from llmgine.actors.sessions.tools.tool import Tool
from llmgine.providers.contracts import ToolCallPart

if TYPE_CHECKING:
    from llmgine.actors.sessions.running.engines import TurnView


@dataclass(frozen=True, slots=True)
class Allow:
    """The call runs."""


@dataclass(frozen=True, slots=True)
class Deny:
    """The call does not run; the model is told the reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ask:
    """The call waits until somebody approves or denies it; the reason is for them."""

    reason: str = ""


Decision = Allow | Deny | Ask


class ToolPolicy(Protocol):
    """Decides on one call by its arguments, its tool, and the turn so far; it neither waits nor acts."""

    def decide(self, call: ToolCallPart, tool: Tool[..., Any], view: TurnView) -> Decision: ...


@dataclass(frozen=True, slots=True)
class ByApproval:
    """Asks for tools that were made with `approval=True`, and allows all others."""

    def decide(self, call: ToolCallPart, tool: Tool[..., Any], view: TurnView) -> Decision:
        return Ask(f"{tool.name} is marked approval=True") if tool.approval else Allow()


def decide(policy: ToolPolicy, call: ToolCallPart, tool: Tool[..., Any], view: TurnView) -> Decision:
    """The policy's decision; one that raises, or decides something else, denies."""
    try:
        decision = policy.decide(call, tool, view)
    except Exception as error:
        return Deny(f"the policy failed: {told(error)}")
    if not isinstance(decision, Allow | Deny | Ask):
        return Deny(f"the policy returned a {type(decision).__name__} instead of Allow, Deny or Ask")
    return decision
