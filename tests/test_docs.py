"""What the documents show is what runs."""

from __future__ import annotations

import itertools
import re
import runpy
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmgine.actors.bus.letters import REASONS
from llmgine.runtime import CommandError
from tests.warm import Warm

OutputOf = Callable[[str], list[str]]

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def test_the_driver_script_is_an_example_file() -> None:
    """README's driver script is examples/weather.py to the letter, and has under 20 lines."""
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert (ROOT / "examples" / "weather.py").read_text(encoding="utf-8") in blocks
    assert all(len(block.splitlines()) < 20 for block in blocks)


def test_first_screen() -> None:
    """README's first screen says what this is and shows both commands and the driver script."""
    screen = "\n".join(README.splitlines()[:40])
    for shown in ("LLM applications", "make demo", "make test", "Runtime.launch"):
        assert shown in screen


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_python_in_documents_is_in_a_file(document: Path) -> None:
    """Every Python block of a document is one of the examples, so that tests run it."""
    examples = [example.read_text(encoding="utf-8") for example in EXAMPLES]
    for block in re.findall(r"```python\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL):
        assert any(block in example for example in examples), block


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """A link to a file of the repository names one that is there."""
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


def test_every_failure_is_explained() -> None:
    """The guide's table has each reason of a dead letter once, and each kind that the bus gives."""
    page = (ROOT / "docs" / "bus.md").read_text(encoding="utf-8")
    table = page[page.index("| `reason` of the letter") :].partition("\n\n")[0].splitlines()[2:]
    cells = [row.split("|") for row in table]
    reasons, kinds = ([name for row in cells for name in re.findall(r"`(\w+)`", row[n])] for n in (1, 2))
    assert sorted(reasons) == sorted(REASONS)
    assert set(kinds) == set(re.findall(r'"(\w+)"', CommandError.__doc__ or ""))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_compile(example: Path) -> None:
    """Every example is valid Python that imports the public face only."""
    source = example.read_text(encoding="utf-8")
    compile(source, str(example), "exec")
    for module in re.findall(r"^(?:from|import) (llmgine[\w.]*)", source, re.MULTILINE):
        assert module == "llmgine.runtime"


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    """Knows the face, and where the examples' sessions live."""
    with Warm("llmgine.runtime.face", "llmgine.actors.supervisor.actor", "ray.cloudpickle") as warm:
        yield warm


@pytest.fixture
def output_of(warm: Warm, clean_environ: Path) -> OutputOf:
    """The lines that an example prints."""

    def lines(example: str) -> list[str]:
        done = warm.run(ROOT / "examples" / example, cwd=clean_environ)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return lines


def test_scripted_example_runs(output_of: OutputOf) -> None:
    """The scripted example shows a tool call, an answer and a fault, each as its script says."""
    lines = output_of("scripted.py")
    assert lines == ["stock {'item': 'tea'} 4", "There are four left.", "overloaded, retryable: True"]


def test_bus_example_runs(output_of: OutputOf) -> None:
    """The bus example shows an event handled, a command answered and a failed command told."""
    lines = output_of("bus.py")
    assert lines[:3] == ["noted: tea", "handlers that have run: 1", "tea: 2.5"]
    assert lines[3].startswith("cake: ")
    assert "KeyError" in lines[3]


def test_traces_example_runs(output_of: OutputOf) -> None:
    """The example of traces draws its turn below the driver's own span, and the handler below its event."""
    assert output_of("traces.py")[1:] == [
        "nightly report",
        "  ask turn",
        "    invoke_agent",
        "      chat tool",
        "        pool call",
        "      execute_tool look",
        "        look closer",
        "        send Looked",
        "          route Looked",
        "          process Looked",
        "            write it down",
        "      chat tool",
        "        pool call",
    ]


def test_gateway_example_runs(output_of: OutputOf) -> None:
    """The example of the gateway has OpenAI's client answered by a model and by a session."""
    assert output_of("gateway.py") == ["Hello", "['one', 'one', 'two', 'two']"]


def test_telemetry_example_runs(output_of: OutputOf) -> None:
    """The example of telemetry finds the turn's trace, draws it, and tells what the session came to."""
    lines = output_of("telemetry.py")
    assert lines[0] == "ask turn anna 0"
    assert [line.strip() for line in lines[1:4]] == ["session anna", "ask turn", "invoke_agent"]
    assert lines[-1].startswith("anna 1 ")


def test_observer_example_runs(output_of: OutputOf) -> None:
    """The observer of the example is told of each span that failed, the turn's and the call's."""
    lines = output_of("observer.py")
    assert "failed: invoke_agent invalid_request" in lines
    assert "failed: chat clerk invalid_request" in lines


def test_priorities_example_runs(output_of: OutputOf) -> None:
    """The example of priorities has its question answered before the work in bulk is done."""
    assert output_of("priorities.py") == [
        "answered; the map is done: False",
        "replies of the map: 3",
    ]


def test_keys_example_runs(output_of: OutputOf) -> None:
    """The example of keys has a refused one replaced by another, whose new text it finds."""
    assert output_of("keys.py")[2:] == [
        "[('team-b', 'authentication'), ('team-a', 'done')]",
        "[('team-a', 'done')]",
    ]


def test_bus_handlers_example_runs(output_of: OutputOf) -> None:
    """The example of handlers shows each session's order, a filter, a priority, and that no call is lost."""
    lines = output_of("bus_handlers.py")
    assert lines[0] == "ben: hello"
    assert lines[1:4] == ["anna: one moment", "anna: here it is", "anna: goodbye"]
    assert lines.index("reserved: coffee") < lines.index("declared to customs: coffee")
    assert "declared to customs: tea" not in lines
    assert lines[-1] == "{'/tea': 100}"


def test_bus_mailboxes_example_runs(output_of: OutputOf) -> None:
    """The example of mailboxes keeps what each policy says, and tells of what it does not keep."""
    lines = output_of("bus_mailboxes.py")
    assert lines[3:5] == [f"published {value}, refused: (('first', 'overflow'),)" for value in (4, 5)]
    kept = {name: [line for line in lines if line.startswith(name)] for name in ("newest", "latest", "first")}
    assert kept["newest"][1:] == ["newest: A 4, missed 2", "newest: A 5, missed 0"]
    assert kept["latest"][1:] == ["latest: A 5, missed 3"]
    assert kept["first"][1:] == ["first: A 2, missed 2", "first: A 3, missed 0"]


def test_bus_failures_example_runs(output_of: OutputOf) -> None:
    """The example of failures goes all the way from three attempts to a replay, and opens a breaker."""
    lines = output_of("bus_failures.py")
    story = ["attempt failed", "retry", "attempt failed", "retry", "attempt failed", "dead letter"]
    assert lines == [
        "ship: ConnectionError after 3 attempts",
        *(f"ship: {what}" for what in story),
        "dead letter: handler, {'item': 'tea'}",
        "shipped: tea",
        "replayed: True; left: 0",
        *(f"price: {kind}" for kind in ("ConnectionError", "ConnectionError", "breaker_open")),
    ]


def test_bus_durable_example_runs(output_of: OutputOf) -> None:
    """The example of durable handlers handles in its last runtime what was published in the one before."""
    assert output_of("bus_durable.py") == [
        "booked: 1",
        "published: 2",
        "booked: 2",
        "refunded: 1",
    ]


def test_bus_deploy_example_runs(output_of: OutputOf) -> None:
    """The example of a deployment answers from its replicas and adds one."""
    replicas = [f"handler-Translator-{number}" for number in range(3)]
    assert output_of("bus_deploy.py") == [
        str(tuple(replicas[:2])),
        "thé",
        "heard: hello",
        "['Translator.listen']",
        str(tuple(replicas)),
    ]


def test_bus_schedule_example_runs(output_of: OutputOf) -> None:
    """The example of scheduled events hears each in time, cancels one, and lists what is left."""
    assert output_of("bus_schedule.py") == [
        "take it out",
        "stir stir",
        "cancelled: True, and again: False",
        "shopping: 30 7 * * MON-FRI (Europe/Berlin), fired 0 times",
    ]


def test_switching_example_runs(output_of: OutputOf) -> None:
    """The example of several models prints the same value from each, however it came about."""
    assert output_of("switch_provider.py") == [
        "scripted/tidy: Paris, 2100000; calls: 1, $0",
        "scripted/chatty: Paris, 2100000; calls: 2, $0",
    ]


def test_conversation_example_runs(output_of: OutputOf) -> None:
    """The example of one conversation goes on with another model, which needs no tool of the first."""
    assert output_of("one_conversation.py") == [
        "scripted/tool: 5; tools: ['stock']",
        "scripted/echo: What of my list is left?; tools: []",
    ]


def test_prompts_example_runs(output_of: OutputOf) -> None:
    """The example of prompts renders one, and names each variable that is wrong in the other."""
    lines = output_of("prompts.py")
    assert lines[:3] == ["- grass", "- snow", "Which of these is white?"]
    for wrong in ("color is unknown", "colour is missing", "items: "):
        assert wrong in lines[3]


def test_own_engine_example_runs(output_of: OutputOf) -> None:
    """The example of an engine plans, acts and answers, and ends at its limit with an error that says so."""
    lines = output_of("own_engine.py")
    assert lines[0] == "There are four left. (3 model calls)"
    assert [line.split()[0] for line in lines[1:-1]] == [
        "user",
        "assistant",
        "assistant",
        "tool",
        "assistant",
    ]
    assert "limits=Limits(steps=" in lines[-1]


def test_long_conversation_example_runs(output_of: OutputOf) -> None:
    """The example shows summaries now and then, notes, a search, a refused turn and a steered one."""
    lines = output_of("long_conversation.py")
    read = [int(line.split()[3]) for line in lines if line.startswith("turn ")]
    assert 1 <= sum(later < before for before, later in itertools.pairwise(read)) <= 3
    assert lines[len(read) :] == [
        "the conversation has 16 messages",
        "{0: {'pinned': True}, 1: {'rating': 5}}",
        "message 3 by the assistant: Our train has come to stop 2 of its long way",
        "SessionBusy",
        "said: True",
        *("step_started", "steered", "step_started"),
        "five",
    ]


def test_mcp_example_runs(output_of: OutputOf) -> None:
    """The example of an MCP server has its tool called and answers with what came of it."""
    lines = output_of("mcp_tools.py")
    assert lines == ["clock_convert_time succeeded", "Noon in Paris is evening in Tokyo."]


def test_tools_example_runs(output_of: OutputOf) -> None:
    """The example of tools shows progress, a retry, a crash, a secret's mask and what its policy denies."""
    lines = output_of("tools.py")
    assert lines[:2] == ["  shelf 1 of 2", "  shelf 2 of 2"]
    assert lines[2].startswith('+ {"items":24,')
    assert lines[3] == "+ 2.5"
    assert lines[4].startswith("- The arguments of price are wrong: item: ")
    assert lines[5] == "- measure failed: its process was ended by SIGABRT."
    assert lines[6].endswith("three is the deepest")
    assert lines[7:] == ["+ 20.00 euro given back, signed [secret seal]", "- The drawer holds 50 euro."]


def test_batch_example_runs(output_of: OutputOf) -> None:
    """The example of many prompts asks each one once, although the map runs twice."""
    assert output_of("batch.py") == [
        "7 Describe house number 1.",
        "8 Describe the hill.",
        "[1, 1, 1, 1, 1, 1, 1, 1]",
    ]


def test_failover_example_runs(output_of: OutputOf) -> None:
    """The example of failover is served by the models that take over."""
    assert output_of("failover.py") == [
        "scripted/echo serves",
        "scripted/filtered content_filter",
        "scripted/echo done",
    ]


def test_provider_batch_example_runs(output_of: OutputOf) -> None:
    """The example of a batch API has the replies of both maps of one name."""
    assert output_of("provider_batch.py") == [
        "7 Describe house number 1.",
        "8 Describe the hill.",
    ]


def test_pool_answers_example_runs(output_of: OutputOf) -> None:
    """The example of kept answers makes one call for five, gives its answer again, and forgets it."""
    assert output_of("pool_answers.py") == [
        "calls made: 1",
        "cached: True cost: 0 saved: 4",
        "own answer: 4 tokens",
        "cached: False",
    ]


def test_subsessions_example_runs(output_of: OutputOf) -> None:
    """The example of sessions that ask sessions tells the reply of the one that was asked, and keeps it."""
    assert output_of("subsessions.py") == [
        "clerk: On shelf 3.",
        "You find the tea on shelf 3.",
        "asked by shop: 4 messages, closed",
    ]


def test_approvals_example_runs(output_of: OutputOf) -> None:
    """The example of approvals approves one call, denies the next, and is refused a second answer."""
    assert output_of("approvals.py") == [
        "refund {'euros': 5}",
        "5 euros refunded",
        "It is on its way.",
        "refund {'euros': 5000}",
        "refund was not run: ann denied it. They said: That is too much.",
        "I may not do that.",
        "denied by 'ann'",
    ]


def test_session_handlers_example_runs(output_of: OutputOf) -> None:
    """The example of a session's own handlers makes a turn of an event, and answers a command."""
    assert output_of("session_handlers.py") == [
        "Have you tried to turn it off and on?",
        "messages: 2",
    ]


def test_gateway_client_example_runs(output_of: OutputOf) -> None:
    """OpenAI's client streams the answer of a session, whose own tool has run there."""
    assert output_of("gateway_openai.py") == [
        "Order 7 comes on Thursday.",
        "['user', 'assistant', 'tool', 'assistant']",
    ]


def test_pools_example_runs(output_of: OutputOf) -> None:
    """The example of pools changes one under calls, refuses a size, and drains one actor."""
    lines = output_of("pools.py")
    assert lines[0] == "('provider-scripted-0', 'provider-scripted-1')"
    assert "finds its size by itself between 2 and 6" in lines[1]
    assert lines[2] == "2 of 2 actors, 8 calls at once in each"
    assert lines[3] == "['provider-scripted-3', 'provider-scripted-4']"


def test_settings_page_is_current() -> None:
    """docs/settings.md lists every setting with its default; `make docs` writes it."""
    written = runpy.run_path(str(ROOT / "docs" / "write_settings.py"))
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == written["page"](), "run `make docs`"


def test_page_of_commands_is_current() -> None:
    """docs/command.md has every command with its options and example; `make docs` writes it."""
    written = runpy.run_path(str(ROOT / "docs" / "write_commands.py"))
    assert (ROOT / "docs" / "command.md").read_text(encoding="utf-8") == written["page"](), "run `make docs`"


def test_commands_are_in_the_readme() -> None:
    """Every command of `llmgine` has its place in README."""
    from llmgine.runtime.commands.entry import app

    names = [command.callback.__name__ for command in app.registered_commands if command.callback]
    groups = [group.name or "" for group in app.registered_groups]
    for name in [*names, *groups]:
        assert re.search(rf"`llmgine {name}\b|/ `{name}`", README), name


def test_makefile_targets_have_help() -> None:
    """`make` alone lists the verbs that README and CI use."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    told = set(re.findall(r"^([a-z]+):.*  ## ", makefile, re.MULTILINE))
    assert {"demo", "test", "check", "types", "lint", "layers", "format", "bench", "docs", "clean"} <= told
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_license_is_shipped() -> None:
    """The license that pyproject.toml names is the one in LICENSE."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        assert tomllib.load(file)["project"]["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")
