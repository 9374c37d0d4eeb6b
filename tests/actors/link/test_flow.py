"""Credit."""

from __future__ import annotations

from collections import deque
from copy import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from llmgine.actors.link import MalformedFrame
from llmgine.actors.link.flow import ReceiveWindow, SendWindow


class Flow(RuleBasedStateMachine):
    """A sender and a receiver with messages and grants on their way between them."""

    @initialize(messages=st.integers(1, 20), limit=st.integers(1, 500))
    def begin(self, messages: int, limit: int) -> None:
        self.messages, self.limit = messages, limit
        self.sender = SendWindow(messages, limit)
        self.receiver = ReceiveWindow(messages, limit)
        self.on_the_way: deque[int] = deque()
        self.inbox: deque[int] = deque()
        self.grants: deque[tuple[int, int]] = deque()
        self.ungranted = [0, 0]
        self.largest = 0

    @precondition(lambda self: self.sender.is_open)
    @rule(size=st.integers(1, 1000))
    def send(self, size: int) -> None:
        self.sender.take(size)
        self.on_the_way.append(size)
        self.largest = max(self.largest, size)

    @precondition(lambda self: self.on_the_way)
    @rule()
    def arrive(self) -> None:
        size = self.on_the_way.popleft()
        self.receiver.arrived(size)
        self.inbox.append(size)

    @precondition(lambda self: self.on_the_way)
    @rule()
    def arrive_and_pass(self) -> None:
        size = self.on_the_way.popleft()
        self.book(size, self.receiver.passed(size))

    @precondition(lambda self: self.inbox)
    @rule()
    def consume(self) -> None:
        size = self.inbox.popleft()
        self.book(size, self.receiver.consumed(size))

    def book(self, size: int, grant: tuple[int, int] | None) -> None:
        self.ungranted[0] += 1
        self.ungranted[1] += size
        if grant is not None:
            assert list(grant) == self.ungranted
            self.ungranted = [0, 0]
            self.grants.append(grant)

    @precondition(lambda self: self.grants)
    @rule()
    def credit(self) -> None:
        self.sender.grant(*self.grants.popleft())

    @rule(messages=st.integers(-1, 25), size=st.integers(-1, 2000))
    def grant_what_was_not_used(self, messages: int, size: int) -> None:
        """Only what the sender has used may come back, whoever claims otherwise."""
        used = (self.messages - self.sender.messages, self.limit - self.sender.bytes)
        sender = copy(self.sender)
        if 0 <= messages <= used[0] and 0 <= size <= used[1]:
            sender.grant(messages, size)
            assert used == (messages + self.messages - sender.messages, size + self.limit - sender.bytes)
        else:
            with pytest.raises(MalformedFrame):
                sender.grant(messages, size)

    @rule(size=st.integers(0, 1000), passed=st.booleans())
    def send_what_was_not_lent(self, size: int, passed: bool) -> None:
        """The receiver takes exactly as much as it has lent: the window less what it has not given back."""
        receiver = copy(self.receiver)
        arrive = receiver.passed if passed else receiver.arrived
        kept = [len(self.inbox) + self.ungranted[0], sum(self.inbox) + self.ungranted[1]]
        if kept[0] < self.messages and kept[1] < self.limit:
            arrive(size)
        else:
            with pytest.raises(MalformedFrame):
                arrive(size)

    @invariant()
    def nothing_leaks(self) -> None:
        out = [*self.on_the_way, *self.inbox]
        messages = self.sender.messages + len(out) + self.ungranted[0] + sum(m for m, _ in self.grants)
        bytes_ = self.sender.bytes + sum(out) + self.ungranted[1] + sum(b for _, b in self.grants)
        assert (messages, bytes_) == (self.messages, self.limit)

    @invariant()
    def the_window_is_never_exceeded(self) -> None:
        under_way = [*self.on_the_way, *self.inbox]
        assert len(under_way) <= self.messages
        assert sum(under_way) < self.limit + self.largest or not under_way

    @invariant()
    def nobody_waits_for_ever(self) -> None:
        if not (self.on_the_way or self.inbox or self.grants):
            assert self.sender.is_open

    def teardown(self) -> None:
        if hasattr(self, "sender"):
            self.nothing_leaks()


TestFlow = Flow.TestCase


def test_a_message_without_credit_is_the_peers_mistake() -> None:
    """More messages than lent, or a message after the byte credit is used up, is MalformedFrame."""
    window = ReceiveWindow(1, 100)
    window.arrived(1)
    with pytest.raises(MalformedFrame):
        window.arrived(1)
    window = ReceiveWindow(10, 100)
    window.arrived(1000)
    with pytest.raises(MalformedFrame):
        window.arrived(1)


@given(st.integers(-5, 5), st.integers(-5, 5))
def test_a_grant_never_exceeds_what_was_used(messages: int, size: int) -> None:
    """Credit that was never lent, or negative credit, is MalformedFrame."""
    window = SendWindow(3, 3)
    window.take(2)
    if 0 <= messages <= 1 and 0 <= size <= 2:
        window.grant(messages, size)
        assert (window.messages, window.bytes) == (2 + messages, 1 + size)
    else:
        with pytest.raises(MalformedFrame):
            window.grant(messages, size)


def test_credit_comes_back_in_halves_of_the_window() -> None:
    """Grants are coalesced until half of the window, in messages or bytes, is consumed."""
    window = ReceiveWindow(8, 1000)
    assert [window.consumed(1) for _ in range(4)] == [None, None, None, (4, 4)]
    assert window.consumed(500) == (1, 500)
