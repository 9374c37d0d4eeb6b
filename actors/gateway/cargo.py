"""What the gateway's actor is born with."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmgine.actors.gateway.port import OpensPort


@dataclass(frozen=True, slots=True)
class GatewayCargo:
    """`opens` is the import path of an `OpensPort`, as `module:function`: no actor knows a driver."""

    opens: str

    def load(self) -> OpensPort:
        """The function itself; importing it may take a while."""
        module, _, name = self.opens.partition(":")
        found: OpensPort = getattr(importlib.import_module(module), name)
        return found
