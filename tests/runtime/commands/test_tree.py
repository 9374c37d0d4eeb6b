"""What holds of every command, whoever adds one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer

from llmgine.runtime.commands.entry import app, execute

# They speak with a person, or pass on what is another's; there is nothing to print as JSON.
WITHOUT_JSON = {"chat", "completion", "demo", "run"}


def walked(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Each command that does something, by its words."""
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(path), command
        return
    for name, one in below.items():
        yield from walked(one, (*path, name))


COMMANDS = dict(walked(typer.main.get_command(app)))


@pytest.mark.parametrize("path", COMMANDS)
def test_help_has_an_example(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The help of a command says what it does, each of its options, and shows one call of it."""
    command = COMMANDS[path]
    promise, _, rest = command.help.partition("\n")
    assert promise.endswith("."), promise
    assert f"Example: `llmgine {path}" in rest
    assert all(getattr(one, "help", None) for one in command.params)
    assert execute([*path.split(), "--help"]) == 0
    page, err = capsys.readouterr()
    assert f"llmgine {path}" in page
    assert "Example" in page
    assert err == ""


@pytest.mark.parametrize("path", COMMANDS)
def test_results_come_as_json(path: str) -> None:
    """Every command takes --json, but those that have no results of their own."""
    options = {option for one in COMMANDS[path].params for option in getattr(one, "opts", ())}
    assert ("--json" in options) is (path not in WITHOUT_JSON)


@pytest.mark.parametrize("path", COMMANDS)
def test_the_example_is_a_call(path: str) -> None:
    """Every option of the example is one of the command's own."""
    example = COMMANDS[path].help.partition("Example: `")[2].partition("`")[0]
    params = COMMANDS[path].params
    taken = {option for one in params for option in (*one.opts, *one.secondary_opts)}
    used = {word for word in example.split() if word.startswith("-") and word != "-"}
    assert used <= taken


def test_groups_list_where_no_command_is_named() -> None:
    """The first command of each group shows what there is, so that the group alone does."""
    root: Any = typer.main.get_command(app)
    groups = [one for one in root.commands.values() if hasattr(one, "commands")]
    assert {next(iter(group.commands)) for group in groups} == {"ls", "show"}
