from llmgine.actors.link.address import Address, Identity
from llmgine.actors.link.bridge import BridgedTransport
from llmgine.actors.link.errors import (
    AuthenticationFailed,
    EndOfStream,
    FrameTooLarge,
    LinkBroken,
    LinkError,
    MalformedFrame,
    NotSendable,
    PeerGone,
    RequestTimeout,
    StreamEmpty,
    StreamReset,
)
from llmgine.actors.link.interfaces import Connection, Endpoint, Stream, StreamHandler, Transport
from llmgine.actors.link.memory import MemoryTransport
from llmgine.actors.link.options import LinkOptions
from llmgine.actors.link.peer import Peer
from llmgine.actors.link.requests import request
from llmgine.actors.link.socket import SocketTransport
from llmgine.actors.link.thread import LinkThread
from llmgine.actors.link.tls import Tls

__all__ = [
    "Address",
    "AuthenticationFailed",
    "BridgedTransport",
    "Connection",
    "EndOfStream",
    "Endpoint",
    "FrameTooLarge",
    "Identity",
    "LinkBroken",
    "LinkError",
    "LinkOptions",
    "LinkThread",
    "MalformedFrame",
    "MemoryTransport",
    "NotSendable",
    "Peer",
    "PeerGone",
    "RequestTimeout",
    "SocketTransport",
    "Stream",
    "StreamEmpty",
    "StreamHandler",
    "StreamReset",
    "Tls",
    "Transport",
    "request",
]
