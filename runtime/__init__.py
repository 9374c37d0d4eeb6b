"""The face. Its names are those of `llmgine.runtime.face`, which is loaded when the first is asked for:
the command line answers what it can without it.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if __name__ != "llmgine.runtime":
    raise ImportError(f"import llmgine.runtime, not {__name__}")

if TYPE_CHECKING:
    from llmgine.runtime.face import *  # noqa: F403 - as its __all__ says
    from llmgine.runtime.face import __all__ as __all__


def __getattr__(name: str) -> Any:
    # Whoever wants a module of this room shall get that and no more.
    if name == "__all__" or not (name.startswith("__") or find_spec(f"{__name__}.{name}")):
        face = import_module("llmgine.runtime.face")
        if hasattr(face, name):
            return globals().setdefault(name, getattr(face, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *import_module("llmgine.runtime.face").__all__})
