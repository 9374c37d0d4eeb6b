"""The proof that both ends belong to one runtime."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.actors.link import AuthenticationFailed, Identity, LinkError, MalformedFrame
from llmgine.actors.link.auth import Accepting, Dialling, Handshake, Limits, Party

SECRET = b"s" * 32
DIALLER = Party(Identity("driver", "driver", 2), Limits(1, 2, 3))
ACCEPTOR = Party(Identity("router-0", "router", 5), Limits(4, 5, 6))


def dialling(secret: bytes = SECRET, expected: str = "router-0", nonce: bytes = b"d" * 32) -> Dialling:
    return Dialling(secret, DIALLER, nonce, expected)


def accepting(secret: bytes = SECRET, nonce: bytes = b"a" * 32) -> Accepting:
    return Accepting(secret, ACCEPTOR, nonce)


def say(side: Handshake, body: bytes | None) -> bytes:
    answer = side.start() if body is None else side.receive(body)
    assert answer is not None
    return answer


def test_both_sides_learn_who_the_other_is() -> None:
    """After four bodies each side has the other's identity and limits."""
    dialler, acceptor = dialling(), accepting()
    proof = say(dialler, say(acceptor, say(dialler, None)))
    assert dialler.peer is None
    assert acceptor.peer is None
    welcome = say(acceptor, proof)
    assert dialler.receive(welcome) is None
    assert dialler.peer == ACCEPTOR
    assert acceptor.peer == DIALLER


def test_the_dialler_finds_out_a_wrong_secret() -> None:
    """An acceptor with another secret is refused, and gets no proof to work on."""
    dialler = dialling()
    with pytest.raises(AuthenticationFailed, match="router-0"):
        dialler.receive(say(accepting(b"t" * 32), say(dialler, None)))


def test_the_acceptor_finds_out_a_wrong_secret() -> None:
    """A dialler that cannot make the proof is refused."""
    acceptor = accepting()
    say(acceptor, say(dialling(), None))
    with pytest.raises(AuthenticationFailed):
        acceptor.receive(msgpack.packb([b"p" * 32]))


def test_an_acceptors_proof_is_no_diallers_proof() -> None:
    """Sending the acceptor's own proof back does not help."""
    acceptor = accepting()
    challenge = msgpack.unpackb(say(acceptor, say(dialling(), None)))
    with pytest.raises(AuthenticationFailed):
        acceptor.receive(msgpack.packb([challenge[3]]))


def test_a_proof_of_an_earlier_connection_is_worth_nothing() -> None:
    """A recorded proof fails against a fresh nonce."""
    dialler, first = dialling(), accepting()
    proof = say(dialler, say(first, say(dialler, None)))
    second = accepting(nonce=b"b" * 32)
    say(second, say(dialling(), None))
    with pytest.raises(AuthenticationFailed):
        second.receive(proof)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_changed_challenge_is_found_out(place: int) -> None:
    """Nonce, identity and limits are bound into the proof."""
    dialler = dialling()
    challenge = msgpack.unpackb(say(accepting(), say(dialler, None)))
    challenge[place] = [b"x" * 32, ["router-0", "router", 6], [4, 5, 7]][place]
    with pytest.raises(AuthenticationFailed):
        dialler.receive(msgpack.packb(challenge))


def test_a_changed_hello_is_found_out() -> None:
    """Who changes the dialler's identity on the way breaks the proof of the acceptor."""
    dialler, acceptor = dialling(), accepting()
    hello = msgpack.unpackb(say(dialler, None))
    hello[2] = ["supervisor", "supervisor", 9]
    with pytest.raises(AuthenticationFailed):
        dialler.receive(say(acceptor, msgpack.packb(hello)))


def test_another_actor_at_the_address_is_refused() -> None:
    """An address that now belongs to another actor of the runtime is no match."""
    dialler = dialling(expected="router-1")
    with pytest.raises(AuthenticationFailed, match=r"router-1.*router-0"):
        dialler.receive(say(accepting(), say(dialler, None)))


def test_another_version_is_named() -> None:
    """A hello of another protocol version says which versions met."""
    hello = msgpack.packb([99, b"d" * 32, DIALLER.identity.to_wire(), [1, 2, 3]])
    with pytest.raises(MalformedFrame, match="99"):
        accepting().receive(hello)


def test_a_short_secret_is_refused() -> None:
    """A secret that can be guessed is not accepted on either side."""
    with pytest.raises(AuthenticationFailed, match="urandom"):
        accepting(b"short")
    with pytest.raises(AuthenticationFailed, match="urandom"):
        dialling(b"")


@given(st.lists(st.binary(max_size=80), min_size=1, max_size=4))
def test_garbage_never_authenticates(bodies: list[bytes]) -> None:
    """Whatever is sent without the secret, the answer is a typed error and nobody is let in."""
    for side in (accepting(), dialling()):
        try:
            for body in bodies:
                side.receive(body)
        except LinkError:
            pass
        assert side.peer is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.binary(max_size=40) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=5),
        max_leaves=20,
    )
)
def test_wrong_fields_are_typed_errors(value: object) -> None:
    """Well-formed msgpack of the wrong shape is a typed error."""
    for side in (accepting(), dialling()):
        with pytest.raises(LinkError):
            side.receive(msgpack.packb([value]))
