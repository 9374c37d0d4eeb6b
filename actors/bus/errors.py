"""What goes wrong on the bus, as one picklable tree.

LlmgineError
└── BusError                     everything that the bus raises
    ├── RegistrationRefused      a handler was not registered; nothing has changed
    │   ├── HandlerExists        the scope has a handler for this command under another name
    │   ├── SchemaConflict       two classes share a wire name and differ in their fields
    │   ├── StaleRegistration    an older life of the same client came too late
    │   ├── InvalidHandler       the function cannot be called with an event or a command
    │   └── InvalidOption        an option that cannot be, or not beside another one
    ├── ScopeRefused             the bus scope cannot be taken down
    ├── UnsendableMessage        a field cannot cross to another process, or the message is too large
    ├── UndecodableMessage       what arrived does not validate as the registered class
    ├── InvalidMessage           a validation refused the message before its handler
    ├── InvalidFilter            a filter that nothing could pass, or that cannot be evaluated
    ├── NotPublished             an identity was asked of a message that has none yet
    ├── Overloaded               no room, and waiting for it could deadlock
    ├── BusClosed                the client was closed
    ├── InvalidSchedule          a time, interval or expression at which nothing can be due
    ├── ScheduleRefused          an event was not scheduled or cancelled, for the store did not take it
    ├── UnknownLetter            there is no dead letter of that id
    ├── AskRefused               the router was asked for something, and refused
    ├── CommandFailed            `CommandResult.unwrap()` of a failure
    └── ProtocolViolation        a peer sent what the bus does not speak
"""

from __future__ import annotations

from llmgine.providers.errors import LlmgineError


class BusError(LlmgineError):
    """Everything that the bus raises."""


class RegistrationRefused(BusError):
    """A handler was not registered; nothing has changed."""


class HandlerExists(RegistrationRefused):
    """The scope has a handler for this command class under another name; exactly one may be there."""


class SchemaConflict(RegistrationRefused):
    """Two classes share a wire name and differ in their fields; set `__wire_name__` on one of them."""


class StaleRegistration(RegistrationRefused):
    """An older life of the same client tried to register after a newer one had."""


class InvalidHandler(RegistrationRefused):
    """The function takes neither `(message)` nor `(message, delivery)`, or the class is no message."""


class InvalidOption(RegistrationRefused):
    """An option of a handler that cannot be, or not beside another one; the message names both."""


class ScopeRefused(BusError):
    """The bus scope was to be removed; only sessions end."""


class UnsendableMessage(BusError):
    """A field cannot cross to another process, or the message is too large; names class and field."""


class UndecodableMessage(BusError):
    """What arrived does not validate as the class that its handler was registered with."""


class InvalidMessage(BusError):
    """A validation refused the message before its handler; trying again would not help."""


class InvalidFilter(BusError):
    """A filter that nothing could pass, or that cannot be evaluated; names the part that is wrong."""


class NotPublished(BusError):
    """`id`, `timestamp` and `envelope` exist once the message was published or executed."""


class Overloaded(BusError):
    """There is no room for the message, and waiting for it inside a handler could deadlock."""


class BusClosed(BusError):
    """The client was closed; nothing can be sent through it any more."""


class CommandFailed(BusError):
    """A command's failure with its kind and text; only `CommandResult.unwrap()` raises it."""

    def __init__(self, kind: str, text: str, retryable: bool = False) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text
        self.retryable = retryable


class InvalidSchedule(BusError):
    """A time, interval or cron expression at which nothing can be due; says what it is to look like."""


class ScheduleRefused(BusError):
    """An event was not scheduled, or not cancelled; the message names what is in the way."""


class UnknownLetter(BusError):
    """There is no dead letter of that id, or none any more."""


class AskRefused(BusError):
    """The router was asked for something, and refused; `kind` says why in one word, the text in full."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text


class ProtocolViolation(BusError):
    """A peer sent what the bus does not speak; its stream is reset and nothing else notices."""
