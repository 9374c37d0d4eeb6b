"""What MCP tools are called in a session."""

from __future__ import annotations

import re

import pytest

from llmgine.actors.sessions.tools.mcp.names import distinct, namespaced


@pytest.mark.parametrize("tool", ["get_time", "files/read", "a.b:c d", "größe", "x" * 200, ""])
def test_names_are_valid_for_every_provider(tool: str) -> None:
    """Whatever a server calls its tool, the name here begins with the server's and providers take it."""
    name = namespaced("box", tool)
    assert re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_-]{0,63}", name)
    assert name.startswith("box_")


def test_long_names_stay_apart() -> None:
    """Two long names that differ at their ends differ here."""
    assert namespaced("box", "x" * 100 + "a") != namespaced("box", "x" * 100 + "b")


def test_a_name_is_given_once() -> None:
    """A tool whose name would be another's is refused; the first one keeps it."""
    names, refused = distinct("box", ["a.b", "a/b", "own", "c"], taken={"box_own"})
    assert names == {"box_a_b": "a.b", "box_c": "c"}
    assert refused == ["a/b", "own"]
