"""Addresses and identities."""

from __future__ import annotations

import msgpack
import pytest

from llmgine.actors.link import Address, Identity, MalformedFrame


@pytest.mark.parametrize(
    "address", [Address("a", "n", "/s"), Address("a", "n", None, "10.0.0.1", 7), Address("a", "n")]
)
def test_an_address_survives_the_wire(address: Address) -> None:
    """What to_wire gives passes msgpack and makes an equal address."""
    assert Address.from_wire(msgpack.unpackb(msgpack.packb(address.to_wire()))) == address


def test_an_identity_survives_the_wire() -> None:
    """What to_wire gives passes msgpack and makes an equal identity."""
    identity = Identity("router-0", "router", 4)
    assert Identity.from_wire(msgpack.unpackb(msgpack.packb(identity.to_wire()))) == identity


@pytest.mark.parametrize("wire", [None, [], ["a"], ["a", "n", 1, None, None], [1, "n", None, None, None]])
def test_other_shapes_are_refused(wire: object) -> None:
    """Anything else is MalformedFrame."""
    with pytest.raises(MalformedFrame):
        Address.from_wire(wire)
    with pytest.raises(MalformedFrame):
        Identity.from_wire(wire)
