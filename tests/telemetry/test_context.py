"""Trace contexts in and out."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.telemetry import TraceContext

contexts = st.builds(TraceContext, st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255))


@given(contexts)
def test_both_forms_give_the_same_context_back(context: TraceContext) -> None:
    """A context survives its 25 bytes and its traceparent."""
    assert len(context.to_wire()) == 25
    assert TraceContext.from_wire(context.to_wire()) == context
    assert TraceContext.parse(context.traceparent) == context


def test_the_header_is_that_of_the_recommendation() -> None:
    """The W3C recommendation's own example is read and written."""
    header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    context = TraceContext.parse(header)
    assert context == TraceContext(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7, 1)
    assert context is not None
    assert context.traceparent == header
    assert context.sampled


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
    ],
)
def test_a_header_that_is_to_be_ignored_is_none(header: str | None) -> None:
    """What W3C says to ignore is ignored, without an exception."""
    assert TraceContext.parse(header) is None


def test_a_later_version_is_read_by_its_known_fields() -> None:
    """A header of a version to come is taken by its first four fields."""
    context = TraceContext.parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-new")
    assert context is not None
    assert context.span_id == 0x00F067AA0BA902B7


def test_wire_of_another_size_is_refused() -> None:
    """Bytes that are no context raise ValueError."""
    with pytest.raises(ValueError, match="25 bytes"):
        TraceContext.from_wire(b"short")


def test_ids_do_not_follow_the_seed_of_user_code() -> None:
    """`random.seed` in user code does not make ids repeat."""
    random.seed(0)
    first = TraceContext.new()
    random.seed(0)
    assert TraceContext.new().trace_id != first.trace_id


def test_a_forked_process_draws_other_ids() -> None:
    """A fork and its parent do not draw the same ids."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, TraceContext.new().to_wire())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = TraceContext.from_wire(os.read(read, 25))
    os.close(read)
    os.close(write)
    assert theirs.trace_id != TraceContext.new().trace_id
