"""How long batches are waited for."""

from __future__ import annotations

from llmgine.actors.pools.batches import Patience, next_pause


def test_pauses_grow_with_the_wait() -> None:
    """A day is asked about some hundred times, and no end is noticed late by more than its share."""
    waited, asked = 0.0, 0
    while waited < 86_400:
        pause = next_pause(waited, 5.0, 300.0)
        assert pause <= max(5.0, waited / 8)
        waited, asked = waited + pause, asked + 1
    assert asked < 350
    assert next_pause(0.0, 5.0, 300.0) == 5.0
    assert next_pause(1e6, 5.0, 300.0) == 300.0


def test_the_providers_own_word_is_kept() -> None:
    """It is never asked earlier than it said."""
    assert next_pause(0.0, 5.0, 300.0, 600.0) == 600.0
    assert next_pause(1e6, 5.0, 300.0, 1.0) == 300.0


def test_patience_doubles_and_ends() -> None:
    """Until it has worked again."""
    patience = Patience(1.0, 4.0, 10.0)
    assert [patience.pause() for _ in range(6)] == [1.0, 2.0, 4.0, 4.0, None, None]
    patience.recovered()
    assert patience.pause(7.0) == 7.0
    assert Patience(1.0, 4.0, 0.0).pause() is None
