"""Mutual proof that both ends know the runtime's secret. Pure: bodies in, bodies out.

    dialler  → hello      [version, nonce, identity, limits]
    acceptor → challenge  [nonce, identity, limits, proof]
    dialler  → proof      [proof]
    acceptor → welcome    [version]

A proof is HMAC-SHA256 under the secret over the role and the exact bytes of hello and challenge, so that
identities and limits are bound into it, and a proof of one role or connection is worth nothing in another.
The secret itself is never sent.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgpack

from llmgine.actors.link.address import Identity
from llmgine.actors.link.errors import AuthenticationFailed, MalformedFrame
from llmgine.actors.link.frames import decode
from llmgine.actors.link.options import LinkOptions

VERSION: Final = 1
NONCE_BYTES: Final = 32
SHORTEST_SECRET: Final = 16
MAX_BODY_BYTES: Final = 4096


class Limits(NamedTuple):
    """What a side accepts on each stream and in each frame; the other side sends by it."""

    window_messages: int
    window_bytes: int
    max_frame_bytes: int

    @classmethod
    def of(cls, options: LinkOptions) -> Limits:
        return cls(options.window_messages, options.window_bytes, options.max_frame_bytes)

    @classmethod
    def from_wire(cls, wire: Any) -> Limits:
        match wire:
            case [int(messages), int(bytes_), int(frame)] if min(messages, bytes_, frame) > 0:
                return cls(messages, bytes_, frame)
        raise MalformedFrame("limits are three positive numbers")


@dataclass(frozen=True, slots=True)
class Party:
    """One end as it presents itself."""

    identity: Identity
    limits: Limits


class Dialling:
    """The side that dialled. `peer` is set once the other side has proved itself and welcomed us."""

    def __init__(self, secret: bytes, us: Party, nonce: bytes, expected: str) -> None:
        self._secret = _checked(secret)
        self._expected = expected
        self._hello = _pack([VERSION, nonce, us.identity.to_wire(), list(us.limits)])
        self._proven: Party | None = None
        self.peer: Party | None = None

    def start(self) -> bytes | None:
        return self._hello

    def receive(self, body: bytes) -> bytes | None:
        """What to answer to this body."""
        if self._proven is None:
            return self._on_challenge(decode(body))
        match decode(body):
            case [int(version)] if version == VERSION:
                self.peer = self._proven
                return None
        raise MalformedFrame("a welcome was expected")

    def _on_challenge(self, frame: list[Any]) -> bytes:
        match frame:
            case [bytes(nonce), identity, limits, bytes(proof)] if len(nonce) == NONCE_BYTES:
                them = Party(Identity.from_wire(identity), Limits.from_wire(limits))
            case _:
                raise MalformedFrame("a challenge was expected")
        challenge = _pack(frame[:3])
        expected = _proof(self._secret, b"acceptor", self._hello, challenge)
        if not hmac.compare_digest(proof, expected):
            raise AuthenticationFailed(f"{self._expected!r} does not know this runtime's secret")
        if them.identity.name != self._expected:
            raise AuthenticationFailed(
                f"{self._expected!r} was dialled, {them.identity.name!r} answered; resolve the address again"
            )
        self._proven = them
        return _pack([_proof(self._secret, b"dialler", self._hello, challenge)])


class Accepting:
    """The side that listens. `peer` is set once the dialler has proved itself."""

    def __init__(self, secret: bytes, us: Party, nonce: bytes) -> None:
        self._secret = _checked(secret)
        self._challenge = _pack([nonce, us.identity.to_wire(), list(us.limits)])
        self._hello: bytes | None = None
        self._claimed: Party | None = None
        self.peer: Party | None = None

    def start(self) -> bytes | None:
        return None

    def receive(self, body: bytes) -> bytes | None:
        """What to answer to this body."""
        if self._hello is None:
            return self._on_hello(body)
        match decode(body):
            case [bytes(proof)]:
                expected = _proof(self._secret, b"dialler", self._hello, self._challenge)
                if not hmac.compare_digest(proof, expected):
                    raise AuthenticationFailed("the dialler does not know this runtime's secret")
                self.peer = self._claimed
                return _pack([VERSION])
        raise MalformedFrame("a proof was expected")

    def _on_hello(self, body: bytes) -> bytes:
        match decode(body):
            case [int(version), bytes(nonce), identity, limits] if len(nonce) == NONCE_BYTES:
                if version != VERSION:
                    raise MalformedFrame(f"the dialler speaks version {version} and this side {VERSION}")
                self._claimed = Party(Identity.from_wire(identity), Limits.from_wire(limits))
            case _:
                raise MalformedFrame("a hello was expected")
        self._hello = body
        proof = _proof(self._secret, b"acceptor", body, self._challenge)
        return _pack([*decode(self._challenge), proof])


Handshake = Dialling | Accepting


def _pack(value: Any) -> bytes:
    body: bytes = msgpack.packb(value)
    return body


def _checked(secret: bytes) -> bytes:
    if len(secret) < SHORTEST_SECRET:
        raise AuthenticationFailed(
            f"a link secret has at least {SHORTEST_SECRET} bytes; make one with os.urandom(32)"
        )
    return secret


def _proof(secret: bytes, role: bytes, hello: bytes, challenge: bytes) -> bytes:
    digest = hmac.new(secret, b"llmgine link\0" + role + b"\0", hashlib.sha256)
    digest.update(len(hello).to_bytes(4, "big"))
    digest.update(hello)
    digest.update(challenge)
    return digest.digest()
