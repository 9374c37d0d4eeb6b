"""How code travels to another process."""

from llmgine.actors.code.errors import CodeUnavailable, UnsendableCode
from llmgine.actors.code.packing import pack, unpack

__all__ = ["CodeUnavailable", "UnsendableCode", "pack", "unpack"]
