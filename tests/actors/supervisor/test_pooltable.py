"""Which provider actors there should be."""

from __future__ import annotations

import pytest

from llmgine.actors.supervisor.pooltable import PoolTable, Scale


def test_growing_names_new_actors_once_each() -> None:
    """Every actor that is started has a name that no earlier one of its pool had."""
    table = PoolTable()
    assert table.resize("openai", 2) == Scale(("provider-openai-0", "provider-openai-1"), ())
    for name in ("provider-openai-0", "provider-openai-1"):
        assert table.joined(name)
    table.resize("openai", 1)
    assert table.resize("openai", 2).start == ("provider-openai-2",)


def test_shrinking_takes_surplus_actors_out_of_the_table_at_once() -> None:
    """Callers choose no actor that is being drained."""
    table = PoolTable()
    for name in table.resize("a-b", 3).start:
        table.joined(name)
    change = table.resize("a-b", 1)
    assert change.drain == ("provider-a-b-1", "provider-a-b-2")
    assert table.members("a-b") == ["provider-a-b-0"]
    assert table.snapshot() == {"a-b": [["provider-a-b-0", ""]]}


def test_actors_that_report_themselves_are_known_again() -> None:
    """A restarted supervisor learns its pools from their members and reuses no number."""
    table = PoolTable()
    assert table.joined("provider-local-4")
    assert not table.joined("provider-local-4")
    assert table.resize("local", 2).start == ("provider-local-5",)
    assert table.gone("provider-local-4")
    assert not table.gone("provider-local-4")


def test_a_size_below_zero_is_refused() -> None:
    """A pool has 0 or more actors."""
    with pytest.raises(ValueError, match="0 or more"):
        PoolTable().resize("x", -1)
