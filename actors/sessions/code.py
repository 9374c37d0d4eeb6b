"""How a session's tools and engine travel to its process: pickled, with the user's own modules by value.

What is installed is pickled by name, because it is there on the other side too. What is not (the
script, the files beside it, the working directory) goes along, so two sessions may bring two modules
of the same name and each keeps its own.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import io
import os
import site
import sys
import sysconfig
import threading
from collections import ChainMap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import msgpack

from llmgine.actors.sessions.engines import Engine, ToolChatEngine
from llmgine.actors.sessions.errors import CodeUnavailable, UnsendableCode
from llmgine.actors.sessions.tools import Tool, as_tools

FORMAT = 1

# One registry of modules per process, so one packing at a time.
_packing = threading.Lock()


@dataclass(frozen=True, slots=True)
class SessionCode:
    """What a session runs that is not llmgine's; plain functions become tools."""

    tools: tuple[Tool[..., Any], ...] = ()
    engine: Engine = field(default_factory=ToolChatEngine)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tools", as_tools(self.tools))


def pack(tools: Iterable[Any] = (), engine: Engine | None = None) -> bytes:
    """The code as bytes for `unpack` in another process; UnsendableCode names what cannot go along."""
    code = SessionCode(tuple(tools), ToolChatEngine() if engine is None else engine)
    cloudpickle = importlib.import_module("ray.cloudpickle")
    with _packing, _by_value(cloudpickle, own_modules(code)):
        body = _dumped(cloudpickle, code)
    python = [sys.version_info.major, sys.version_info.minor]
    packed: bytes = msgpack.packb({"format": FORMAT, "python": python, "code": body})
    return packed


def unpack(data: bytes) -> SessionCode:
    """The code that `pack` wrote; CodeUnavailable says what is missing here."""
    try:
        wire = msgpack.unpackb(data)
        version, python, body = wire["format"], wire["python"], wire["code"]
    except (ValueError, KeyError, TypeError) as error:
        raise CodeUnavailable(f"this is no packed session code: {error}") from None
    if version != FORMAT:
        raise CodeUnavailable(f"the code has format {version}; this version of llmgine reads {FORMAT}")
    here = [sys.version_info.major, sys.version_info.minor]
    if python != here:
        theirs, ours = (".".join(map(str, numbers)) for numbers in (python, here))
        raise CodeUnavailable(
            f"the code was packed by Python {theirs} and this process runs {ours}; use one on all nodes"
        )
    cloudpickle = importlib.import_module("ray.cloudpickle")
    try:
        code = cloudpickle.loads(body)
    except ModuleNotFoundError as error:
        raise CodeUnavailable(
            f"the session's code needs the module {error.name!r}, which is not installed here; "
            "install it on every node, or name it in the runtime_env"
        ) from error
    except Exception as error:
        raise CodeUnavailable(
            f"the session's code cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(code, SessionCode):
        raise CodeUnavailable(f"the packed object is a {type(code).__name__}, not a session's code")
    return code


def fingerprint(code: SessionCode) -> str:
    """Equal for equal tools and engine in every process of one Python version, which packed bytes are not.

    It sees what the model sees of each tool, its options, and the compiled body of its function.
    """
    digest = hashlib.sha256()
    for item in code.tools:
        digest.update(item.spec.model_dump_json().encode())
        digest.update(repr((item.timeout, item.concurrency, item.idempotent)).encode())
        digest.update(_body(getattr(item.function, "__code__", None)))
    engine = type(code.engine)
    shown = "" if engine.__repr__ is object.__repr__ else repr(code.engine)
    digest.update(f"{engine.__qualname__} {shown}".encode())
    digest.update(_body(getattr(engine.next, "__code__", None)))
    return digest.hexdigest()


def _body(code: Any) -> bytes:
    if not isinstance(code, CodeType):
        return repr(sorted(map(repr, code)) if isinstance(code, frozenset) else code).encode()
    return b"|".join([code.co_code, repr(code.co_names).encode(), *map(_body, code.co_consts)])


def _dumped(cloudpickle: Any, code: SessionCode) -> bytes:
    try:
        body = _dumps(cloudpickle, code)
    except Exception as error:
        parts = (*code.tools, code.engine)
        culprit = next((part for part in parts if not _travels(cloudpickle, part)), code)
        raise UnsendableCode(
            f"{culprit!r} cannot travel to the session's process: {type(error).__name__}: {error}; "
            "open connections, locks and files inside the function instead of at module level"
        ) from error
    return body


def _dumps(cloudpickle: Any, value: Any) -> bytes:
    # A dataclass by value knows an absent default by this one object, which cloudpickle would copy.
    known = {type(dataclasses.MISSING): lambda _: (getattr, (dataclasses, "MISSING"))}
    table = ChainMap(known, cloudpickle.CloudPickler.dispatch_table)
    pickler = type("Pickler", (cloudpickle.CloudPickler,), {"dispatch_table": table})
    stream = io.BytesIO()
    pickler(stream).dump(value)
    return stream.getvalue()


def _travels(cloudpickle: Any, part: Any) -> bool:
    try:
        _dumps(cloudpickle, part)
    except Exception:
        return False
    return True


@contextmanager
def _by_value(cloudpickle: Any, modules: Sequence[ModuleType]) -> Iterator[None]:
    """While it holds, these modules are pickled by value; what others registered stays registered."""
    before = cloudpickle.list_registry_pickle_by_value()
    added = [module for module in modules if module.__name__ not in before]
    try:
        for module in added:
            cloudpickle.register_pickle_by_value(module)
        yield
    finally:
        for module in added:
            cloudpickle.unregister_pickle_by_value(module)


def own_modules(code: SessionCode) -> list[ModuleType]:
    """The loaded modules that are the user's own: beside the script, or reached from tools and engine."""
    roots, installed = _own_folders(), _installed_folders()
    found = {
        name: module
        for name, module in list(sys.modules.items())
        if _is_own(module, installed) and _is_below(str(module.__file__), roots)
    }
    queue: list[Any] = [tool.function for tool in code.tools] + [type(code.engine)]
    while queue:
        module = sys.modules.get(getattr(queue.pop(), "__module__", None) or "")
        if module is not None and module.__name__ not in found and _is_own(module, installed):
            found[module.__name__] = module
            queue += _reached(module)
    return list(found.values())


def _reached(module: ModuleType) -> list[Any]:
    """What the module's globals lead to: functions, classes, and the modules that it imports."""
    reached: list[Any] = []
    for value in list(vars(module).values()):
        if isinstance(value, ModuleType):
            reached.append(_Named(value.__name__))
        elif isinstance(value, type | FunctionType | Tool):
            reached.append(value)
    return reached


class _Named:
    """Stands for a module where something with a `__module__` is looked at."""

    def __init__(self, module: str) -> None:
        self.__module__ = module


def _is_own(module: Any, installed: Iterable[Path]) -> bool:
    """Neither installed nor ours nor built in; `__main__` travels by value in any case."""
    name = getattr(module, "__name__", "")
    file = getattr(module, "__file__", None)
    if not isinstance(module, ModuleType) or not isinstance(file, str) or not file.endswith(".py"):
        return False
    if name in ("__main__", "__mp_main__") or name.partition(".")[0] in ("llmgine", "ray"):
        return False
    if sys.modules.get(name) is not module:
        return False
    return not _is_below(file, installed)


def _installed_folders() -> list[Path]:
    paths = sysconfig.get_paths()
    folders = [paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders += [*site.getsitepackages(), site.getusersitepackages()]
    return [Path(folder).resolve() for folder in folders]


def _own_folders() -> list[Path]:
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    folders = [Path.cwd(), Path(sys.path[0] or ".")]
    if isinstance(main, str):
        folders.append(Path(main).parent)
    return [folder.resolve() for folder in folders]


def _is_below(file: str, folders: Iterable[Path]) -> bool:
    folder = _resolved(os.path.dirname(file))
    return any(folder.is_relative_to(other) for other in folders)


@functools.cache
def _resolved(folder: str) -> Path:
    return Path(folder).resolve()
