"""The errors of links."""

from __future__ import annotations

import pickle

import pytest

from llmgine.actors.link import errors
from llmgine.actors.link.errors import LinkError, RequestTimeout, StreamReset


def everything() -> list[LinkError]:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LinkError)]
    return [kind("busy", "why") if kind is StreamReset else kind("why") for kind in kinds]


@pytest.mark.parametrize("error", everything(), ids=lambda error: type(error).__name__)
def test_every_error_survives_pickling(error: LinkError) -> None:
    """Class, text and attributes are the same after pickling."""
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.__dict__ == error.__dict__


def test_a_timeout_of_a_request_is_a_timeout() -> None:
    """Who catches TimeoutError catches it too."""
    assert issubclass(RequestTimeout, TimeoutError)
