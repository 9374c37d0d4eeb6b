"""What all calls of one client share, whichever router they go to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import ValidationError

from llmgine.actors.bus import wire
from llmgine.actors.bus.client.observers import Observers
from llmgine.actors.bus.client.outbox import RunHead
from llmgine.actors.bus.client.room import Room
from llmgine.actors.bus.errors import BusClosed
from llmgine.actors.bus.messages import Command, CommandError, CommandResult, Message, result_type
from llmgine.actors.bus.options import BusOptions
from llmgine.actors.bus.payload import Encoder, ResultCodec
from llmgine.actors.bus.tracing import Tracing
from llmgine.telemetry import Counter

R = TypeVar("R")

_DURABLE = wire.COMMAND | wire.DURABLE


class MessageEncoder(Encoder):
    """With what its messages have in common outside of handlers, by flags."""

    __slots__ = ("heads", "told")

    def __init__(self, message_class: type[Message], options: BusOptions, told: Counter | None) -> None:
        super().__init__(message_class, options.max_payload_bytes)
        # Counts what the runtime itself tells.
        self.told = told
        deadline = {"deadline": options.command_deadline}
        self.heads = {
            **{flags: RunHead(self.lineage, flags=flags) for flags in (0, wire.WAIT)},
            **{flags: RunHead(self.lineage, 0, flags, deadline) for flags in (wire.COMMAND, _DURABLE)},
        }


class Producer:
    """Who this client is to the routers, how its messages are written, and who watches them."""

    def __init__(
        self,
        identity: str,
        epoch: int,
        options: BusOptions,
        observers: Observers,
        wall_clock: Callable[[], int],
        tracing: Tracing | None,
    ) -> None:
        self.identity = identity
        self.epoch = epoch
        self.options = options
        self.observers = observers
        self.wall_clock = wall_clock
        self.tracing = tracing
        self.room = Room(options.outbox_bytes)
        self.encoders: dict[type[Message], MessageEncoder] = {}
        self._results: dict[type[Message], ResultCodec] = {}
        self.closed = False

    def encoder(self, message_class: type[Message]) -> MessageEncoder:
        told = None if self.tracing is None else self.tracing.told(message_class)
        encoder = self.encoders[message_class] = MessageEncoder(message_class, self.options, told)
        return encoder

    def result(self, command: Command[R], answer: Any) -> CommandResult[R]:
        """What an answer in wire form says."""
        success, packed, kind, text, retryable, attempts, duration = answer
        if not success:
            return CommandResult(False, None, CommandError(kind, text, retryable), attempts, duration)
        try:
            value = self._codec(type(command)).load(packed)
        except (ValidationError, ValueError) as error:
            text = f"the result of {type(command).__qualname__} does not validate here: {error}"
            return CommandResult(False, None, CommandError("invalid_result", text), attempts, duration)
        return CommandResult(True, value, None, attempts, duration)

    def _codec(self, command_class: type[Command[Any]]) -> ResultCodec:
        codec = self._results.get(command_class)
        if codec is None:
            name = command_class.__qualname__
            codec = ResultCodec(name, result_type(command_class), self.options.max_payload_bytes)
            self._results[command_class] = codec
        return codec

    def closed_error(self) -> BusClosed:
        return BusClosed(
            f"the bus client of {self.identity!r} was closed; use the bus before its runtime is left"
        )
