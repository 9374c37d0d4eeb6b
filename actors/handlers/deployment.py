"""What a deployment is: a class that handles messages, how it is constructed, and how it travels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmgine.actors.bus import BusError, marks_of
from llmgine.actors.code import pack, unpack

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,63}")


class DeploymentRefused(BusError):
    """A deployment cannot be made as it was asked for; nothing has changed."""


@dataclass(frozen=True, slots=True)
class DeployedCode:
    """A class with marked methods, and the keyword arguments that each replica constructs it with."""

    handler_class: type[Any]
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        marks_of(self.handler_class)

    def pack(self) -> bytes:
        """As bytes for another process; `UnsendableCode` names what cannot go along."""
        # Message classes are plain globals of their module, so the class leads to them.
        roots = [self.handler_class, *(mark.message_class for mark in marks_of(self.handler_class))]
        return pack(self, parts=(self.handler_class, *self.arguments.values()), roots=roots)

    @classmethod
    def load(cls, code: DeployedCode | bytes) -> DeployedCode:
        """What `pack` wrote, or itself where it never left the process."""
        return code if isinstance(code, DeployedCode) else unpack(code, DeployedCode)


@dataclass(frozen=True, slots=True)
class Cargo:
    """What a replica is born with; Ray gives it to every later life of it, too."""

    deployment: str
    version: int
    code: DeployedCode | bytes
    num_cpus: float


def checked_name(name: str) -> str:
    """The name, or `DeploymentRefused` where it cannot be part of an actor's."""
    if not _NAME.fullmatch(name):
        raise DeploymentRefused(
            f"a deployment's name is 1 to 64 letters, digits, '_' or '.' and begins with a letter, "
            f"not {name!r}"
        )
    return name
