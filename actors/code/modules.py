"""Which loaded modules are the user's own, so that they must travel by value."""

from __future__ import annotations

import functools
import os
import site
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any


def own_modules(roots: Iterable[Any]) -> list[ModuleType]:
    """The loaded modules that are the user's own: beside the script, or reached from these objects."""
    folders, installed = _own_folders(), _installed_folders()
    found = {
        name: module
        for name, module in list(sys.modules.items())
        if _is_own(module, installed) and _is_below(str(module.__file__), folders)
    }
    queue = list(roots)
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
        elif isinstance(value, type | FunctionType) or isinstance(
            getattr(value, "function", None), FunctionType
        ):
            # The last is a decorated function, such as a tool.
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
