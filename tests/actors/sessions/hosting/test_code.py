"""A session's code travels: installed modules by name, the user's own by value."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from llmgine.actors.code import CodeUnavailable, UnsendableCode
from llmgine.actors.sessions.hosting.code import SessionCode, fingerprint, pack, unpack
from llmgine.actors.sessions.running.engines import SinglePassEngine, Step, ToolChatEngine, TurnView
from llmgine.actors.sessions.tools.policy import ByApproval
from llmgine.actors.sessions.tools.tool import Tool, as_tools, tool
from tests.warm import Warm

pytest.importorskip("ray.cloudpickle")

Python = Callable[..., str]


def written(script: str, folder: Path) -> Path:
    file = folder / "script.py"
    file.write_text(textwrap.dedent(script))
    return file


def printed(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def fresh(script: str, cwd: Path) -> str:
    """What a script prints that finds nothing loaded, and hashes as no other does."""
    command = [sys.executable, str(written(script, cwd))]
    return printed(subprocess.run(command, check=False, cwd=cwd, capture_output=True, text=True, timeout=100))


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    """Knows what packs and unpacks."""
    with Warm(
        "llmgine.actors.sessions.hosting.code", "llmgine.actors.sessions.tools.toolset", "ray.cloudpickle"
    ) as warm:
        yield warm


@pytest.fixture
def python(warm: Warm) -> Python:
    """Runs a script in a process of its own and gives what it prints."""

    def run(script: str, *arguments: object, cwd: Path) -> str:
        return printed(warm.run(written(script, cwd), *arguments, cwd=cwd))

    return run


# Loads packed code where none of its modules can be found, and calls its first tool.
LOAD = """
    import asyncio, sys
    from pathlib import Path
    from llmgine.actors.sessions.hosting.code import unpack
    from llmgine.actors.sessions.options import SessionOptions
    from llmgine.actors.sessions.tools.toolset import Toolset
    from llmgine.providers.contracts import ToolCallPart

    async def main():
        for path, arguments in zip(sys.argv[1::2], sys.argv[2::2]):
            code = unpack(Path(path).read_bytes())
            tools = Toolset(code.tools, SessionOptions())
            call = ToolCallPart(id="c1", name=code.tools[0].name, arguments=eval(arguments))
            print((await tools.run(call)).text)

    asyncio.run(main())
"""


def test_script_and_files_beside_it_travel_by_value(python: Python, tmp_path: Path) -> None:
    """Tools of a script run where neither the script nor the files beside it are, its pydantic models too."""
    home, away = tmp_path / "home", tmp_path / "away"
    (home / "kit").mkdir(parents=True)
    away.mkdir()
    (home / "kit" / "__init__.py").write_text("")
    (home / "kit" / "words.py").write_text("def decorate(text):\n    return f'<{text}>'\n")
    (home / "helper.py").write_text("import kit.words\n\nclass Loud:\n    mark = '!'\n")
    python(
        """
        from __future__ import annotations
        import enum, sys
        from pathlib import Path
        from typing import Optional
        import pydantic
        import helper
        from llmgine.actors.sessions.hosting.code import SessionCode, pack
        from llmgine.actors.sessions.tools.tool import tool

        class Unit(enum.Enum):
            C = "c"

        class Place(pydantic.BaseModel):
            city: str
            inside: Optional[Place] = None

            @pydantic.field_validator("city")
            @classmethod
            def no_blank(cls, value: str) -> str:
                return value.strip()

        @tool
        def weather(place: Place, unit: Unit = Unit.C) -> str:
            '''The weather.'''
            kind = type(place).__name__
            return helper.kit.words.decorate(f"{kind} {place.city}{helper.Loud.mark} {unit.value}")

        Path(sys.argv[1]).write_bytes(pack(SessionCode((weather,))))
        """,
        away / "code",
        cwd=home,
    )
    arguments = {"place": {"city": " Paris ", "inside": {"city": "Rome"}}, "unit": "c"}
    assert python(LOAD, away / "code", arguments, cwd=away) == "<Place Paris! c>"


def test_two_modules_of_one_name_keep_apart(python: Python, tmp_path: Path) -> None:
    """Two sessions that bring different modules of one name each keep their own, in one process."""
    away = tmp_path / "away"
    away.mkdir()
    for name, word in (("one", "red"), ("two", "blue")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "tools.py").write_text(
            textwrap.dedent(
                f"""
                from llmgine.actors.sessions.tools.tool import tool

                COLOUR = {word!r}

                def colour() -> str:
                    return COLOUR

                @tool
                def paint(thing: str) -> str:
                    return f"{{colour()}} {{thing}}"
                """
            )
        )
        python(
            """
            import sys
            from pathlib import Path
            from llmgine.actors.sessions.hosting.code import SessionCode, pack
            from tools import paint

            Path(sys.argv[1]).write_bytes(pack(SessionCode((paint,))))
            """,
            away / name,
            cwd=folder,
        )
    arguments = {"thing": "door"}
    found = python(LOAD, away / "one", arguments, away / "two", arguments, away / "one", arguments, cwd=away)
    assert found.splitlines() == ["red door", "blue door", "red door"]


def test_modules_outside_the_folder_travel_when_they_are_reached(python: Python, tmp_path: Path) -> None:
    """A module that is found over a path of the user's own, and what it imports, travels by value."""
    library, home, away = tmp_path / "library", tmp_path / "home", tmp_path / "away"
    for folder in (library, home, away):
        folder.mkdir()
    (library / "deep.py").write_text("def deep():\n    return 'deep'\n")
    (library / "shallow.py").write_text("import deep\n\ndef dive() -> str:\n    return deep.deep()\n")
    python(
        """
        import sys
        from pathlib import Path
        sys.path.append(sys.argv[2])
        import shallow
        from llmgine.actors.sessions.hosting.code import SessionCode, pack

        Path(sys.argv[1]).write_bytes(pack(SessionCode((shallow.dive,))))
        """,
        away / "code",
        library,
        cwd=home,
    )
    assert python(LOAD, away / "code", {}, cwd=away) == "deep"


def test_an_engine_of_the_users_own_travels(python: Python, tmp_path: Path) -> None:
    """An engine that is defined in a script decides in a process that has no such script."""
    home, away = tmp_path / "home", tmp_path / "away"
    home.mkdir()
    away.mkdir()
    python(
        """
        import sys
        from pathlib import Path
        from llmgine.actors.sessions.hosting.code import SessionCode, pack
        from llmgine.actors.sessions.running.engines import Finish

        class Lazy:
            def next(self, view):
                return Finish()

        Path(sys.argv[1]).write_bytes(pack(SessionCode((), Lazy())))
        """,
        away / "code",
        cwd=home,
    )
    found = python(
        """
        import sys
        from pathlib import Path
        from llmgine.actors.sessions.hosting.code import unpack

        print(unpack(Path(sys.argv[1]).read_bytes()).engine.next(None))
        """,
        away / "code",
        cwd=away,
    )
    assert found == "Finish(error=None)"


@tool(timeout=5, idempotent=True)
def count(text: str) -> int:
    """Count the characters."""
    return len(text)


def test_there_and_back() -> None:
    """What is packed is unpacked equal: tools with their options, and the engine."""
    code = unpack(pack(SessionCode((count,), SinglePassEngine())))
    (made,) = code.tools
    assert (made.spec, made.timeout, made.idempotent) == (count.spec, 5, True)
    assert made("abc") == 3
    assert made.validate({"text": "a"}) == {"text": "a"}
    assert code.engine == SinglePassEngine()
    assert unpack(pack(SessionCode())) == SessionCode((), ToolChatEngine())


def test_fingerprints_are_equal_in_every_process(tmp_path: Path) -> None:
    """The same script has the same fingerprint in each of its processes; another body has another one."""
    script = """
        import enum
        from llmgine.actors.sessions.hosting.code import SessionCode, fingerprint
        from llmgine.actors.sessions.tools.tool import as_tools

        class Unit(enum.Enum):
            C = "c"

        def weather(unit: Unit) -> str:
            return "ok" if unit.value in {"a", "b", "c", "d"} else max(["no"], key=lambda text: len(text))

        print(fingerprint(SessionCode(as_tools([weather]))))
    """
    first, second = fresh(script, tmp_path), fresh(script, tmp_path)
    changed = fresh(script.replace('["no"]', '["nay"]'), tmp_path)
    assert first == second != changed
    assert fingerprint(SessionCode((), SinglePassEngine())) != fingerprint(SessionCode())


def test_fingerprints_see_options_and_deciders() -> None:
    """Another option of a tool, or another policy, makes other code."""

    class Closed(ByApproval):
        pass

    def same(**options: Any) -> SessionCode:
        return SessionCode((Tool(count.function, **options),))

    told = {
        fingerprint(code)
        for code in (
            same(),
            *(same(**{name: True}) for name in ("idempotent", "approval", "trusted", "process", "remote")),
            same(retries=1),
            same(timeout=1.0),
            same(concurrency=1),
            same(process=True, memory=10**9),
            same(remote=True, num_cpus=2.0),
            SessionCode((count,), policy=Closed()),
        )
    }
    assert len(told) == 12
    assert fingerprint(same()) == fingerprint(SessionCode(as_tools([count.function])))


def test_the_registry_is_left_as_it_was() -> None:
    """Packing leaves no module registered that was not registered before, also when it fails."""
    from ray import cloudpickle

    before = cloudpickle.list_registry_pickle_by_value()
    pack(SessionCode((count,)))
    with pytest.raises(UnsendableCode):
        pack(SessionCode((count,), Holds()))
    assert cloudpickle.list_registry_pickle_by_value() == before


class Holds:
    """An engine that holds what no pickle takes."""

    def __init__(self) -> None:
        import threading

        self.lock = threading.Lock()

    def next(self, view: TurnView) -> Step:
        raise NotImplementedError


def test_what_cannot_travel_is_named() -> None:
    """An object that cannot be pickled is an error that names it and says what mends it."""
    with pytest.raises(UnsendableCode, match=r"Holds.*inside the function") as caught:
        pack(SessionCode((count,), Holds()))
    assert "lock" in str(caught.value)


def packed(**changes: Any) -> bytes:
    wire: bytes = msgpack.packb({**msgpack.unpackb(pack(SessionCode())), **changes})
    return wire


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no packed code"),
        (b"\x01", "no packed code"),
        (packed(format=99), "format 99"),
        (packed(python=[3, 1]), r"Python 3\.1 .* use one on all nodes"),
        (packed(code=b"nonsense"), "cannot be loaded"),
        (
            packed(code=b"cnot_a_module_here\nf\n."),
            "needs the module 'not_a_module_here', which is not installed",
        ),
        (packed(code=b"N."), "NoneType"),
    ],
)
def test_code_that_cannot_be_loaded(data: bytes, reason: str) -> None:
    """Code that cannot be loaded here is an error that says what is missing."""
    with pytest.raises(CodeUnavailable, match=reason):
        unpack(data)


def test_no_ray_is_imported_before_something_is_packed(tmp_path: Path) -> None:
    """Importing the session room loads neither Ray nor a provider's SDK."""
    found = fresh(
        """
        import sys
        import llmgine.actors.sessions
        import llmgine.actors.sessions.hosting.opening

        print([name for name in ("ray", "openai", "anthropic", "google.genai") if name in sys.modules])
        """,
        tmp_path,
    )
    assert found == "[]"


def test_dataclasses_of_a_script_travel(python: Python, tmp_path: Path) -> None:
    """Dataclasses defined in the script, defaults and factories included, are arguments elsewhere too."""
    home, away = tmp_path / "home", tmp_path / "away"
    home.mkdir()
    away.mkdir()
    python(
        """
        from __future__ import annotations
        import dataclasses, functools, sys
        from pathlib import Path
        from llmgine.actors.sessions.hosting.code import SessionCode, pack

        @dataclasses.dataclass
        class Point:
            x: int
            y: int = 2
            marks: list[str] = dataclasses.field(default_factory=list)

        class Scaled:
            def __init__(self, factor: int) -> None:
                self.factor = factor

            def size(self, point: Point, rest: list[Point] | None = None) -> str:
                return str(dataclasses.replace(point, x=point.x * self.factor)) + str(len(rest or ()))

        Path(sys.argv[1]).write_bytes(pack(SessionCode((Scaled(3).size,))))
        """,
        away / "code",
        cwd=home,
    )
    arguments = {"point": {"x": 1}, "rest": [{"x": 5, "marks": ["a"]}]}
    assert python(LOAD, away / "code", arguments, cwd=away) == "Point(x=3, y=2, marks=[])1"
