"""Where an actor listens, and who speaks; both have a wire form of plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmgine.actors.link.errors import MalformedFrame


@dataclass(frozen=True, slots=True)
class Address:
    """Where the actor `name` can be dialled: by socket file on its own node, by host and port from others."""

    name: str
    node: str
    unix: str | None = None
    host: str | None = None
    port: int | None = None

    def to_wire(self) -> list[Any]:
        return [self.name, self.node, self.unix, self.host, self.port]

    @classmethod
    def from_wire(cls, wire: Any) -> Address:
        match wire:
            case [str(name), str(node), str() | None as unix, str() | None as host, int() | None as port]:
                return cls(name, node, unix, host, port)
        raise MalformedFrame("an address is [name, node, unix, host, port]")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who speaks; `epoch` grows with each restart, so that an older copy is told from a newer one."""

    name: str
    kind: str
    epoch: int = 0

    def to_wire(self) -> list[Any]:
        return [self.name, self.kind, self.epoch]

    @classmethod
    def from_wire(cls, wire: Any) -> Identity:
        match wire:
            case [str(name), str(kind), int(epoch)]:
                return cls(name, kind, epoch)
        raise MalformedFrame("an identity is [name, kind, epoch]")
