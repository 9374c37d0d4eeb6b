"""What goes wrong on a link.

LinkError                 everything that a link raises
├── LinkBroken            the connection is gone: the peer ended, went silent, or one side closed
├── PeerGone              the actor is no more and will not come back under its name
├── StreamReset           one side gave this stream up; says code and reason
├── EndOfStream           the peer finished: nothing more will arrive
├── StreamEmpty           nothing has arrived yet (only from `receive_nowait`)
├── NotSendable           the message cannot be encoded, or is larger than the peer takes
├── RequestTimeout        no answer came in time; also a `TimeoutError`
├── AuthenticationFailed  the other side does not know the runtime's secret, or is not who was dialled
└── MalformedFrame        what arrived is not this protocol
    └── FrameTooLarge     a frame is announced as larger than is allowed
"""

from __future__ import annotations

from llmgine.providers.errors import LlmgineError


class LinkError(LlmgineError):
    """The one class to catch around links."""


class LinkBroken(LinkError):
    """The connection is gone; what was not confirmed may or may not have arrived."""


class PeerGone(LinkError):
    """The actor is no more; raised by whoever resolves its address, and ends a peer's attempts at once."""


class StreamReset(LinkError):
    """One side gave the stream up. A handler may raise it to answer with a code of its own."""

    def __init__(self, code: str, reason: str = "") -> None:
        super().__init__(f"{code}: {reason}" if reason else code)
        self.code = code
        self.reason = reason


class EndOfStream(LinkError):
    """The peer finished its side; nothing more will arrive on this stream."""


class StreamEmpty(LinkError):
    """Nothing is buffered now; more may arrive."""


class NotSendable(LinkError):
    """The message cannot travel; the connection and the stream are unharmed."""


class RequestTimeout(LinkError, TimeoutError):
    """No answer came in time; whether the request took effect is unknown."""


class AuthenticationFailed(LinkError):
    """The two sides could not prove to each other that they belong to one runtime."""


class MalformedFrame(LinkError):
    """What arrived is not this protocol; the connection that carried it is dropped."""


class FrameTooLarge(MalformedFrame):
    """A frame is announced as larger than is allowed; the connection that carried it is dropped."""
