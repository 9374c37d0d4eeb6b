"""Several drivers of one runtime, each a script with modules of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmgine.runtime import Runtime

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]

TALK = """
    import asyncio, sys
    from llmgine.runtime import Runtime
    from toolbox import which

    async def main():
        async with Runtime.connect(name=sys.argv[1]) as runtime:
            async with runtime.session(model="scripted/tool", tools=[which]) as session:
                print((await session.ask("which?")).text)

    asyncio.run(main())
"""

SUBMIT = """
    import asyncio, sys
    from llmgine.runtime import Runtime

    async def main():
        async with Runtime.connect(name=sys.argv[1]) as runtime:
            async with runtime.session("kept", model="scripted/slow", stay=True) as session:
                turn = await session.submit("an answer that is read by somebody else")
                print(turn.id)

    asyncio.run(main())
"""

READ = """
    import asyncio, sys
    from llmgine.runtime import Runtime

    async def main():
        async with Runtime.connect(name=sys.argv[1]) as runtime:
            print((await runtime.turn(sys.argv[2]).result()).text)

    asyncio.run(main())
"""


async def test_each_session_calls_its_own_module(
    runtime: Runtime, start_driver: Any, output_of: Callable[..., str], tmp_path: Path
) -> None:
    """Two drivers bring modules of one name with different tools; each session calls its own."""
    drivers = []
    for which in ("first", "second"):
        folder = tmp_path / which
        folder.mkdir()
        (folder / "answers.py").write_text(f"ANSWER = 'the {which} one'\n")
        (folder / "toolbox.py").write_text(
            "import answers\n\n"
            "def which() -> str:\n"
            '    """Says whose tool this is."""\n'
            "    return answers.ANSWER\n"
        )
        drivers.append(start_driver(TALK, runtime.name, folder=which))
    answers = [await asyncio.to_thread(output_of, driver) for driver in drivers]
    assert answers == ["the first one", "the second one"]


async def test_a_turn_outlives_the_driver_that_submitted_it(
    runtime: Runtime, start_driver: Any, output_of: Callable[..., str]
) -> None:
    """Submit a turn from one driver, leave, and read its result from another."""
    name = runtime.name
    turn_id = await asyncio.to_thread(output_of, start_driver(SUBMIT, name, folder="one"))
    text = await asyncio.to_thread(output_of, start_driver(READ, name, turn_id, folder="two"))
    assert text == "an answer that is read by somebody else"
    await runtime.sessions.delete("kept")
