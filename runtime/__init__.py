"""The face. Its names are those of `llmgine.runtime.face`, which is loaded when the first is asked for:
the command line answers what it can without it, and hears Ctrl-C before anything is loaded.
"""

if __name__ != "llmgine.runtime":
    raise ImportError(f"import llmgine.runtime, not {__name__}")

TYPE_CHECKING = False  # as type checkers know it; `typing` itself takes longer to load than all that is here
if TYPE_CHECKING:
    from llmgine.runtime.face import *  # noqa: F403 - as its __all__ says
    from llmgine.runtime.face import __all__ as __all__
else:

    def __getattr__(name):
        from importlib import import_module
        from importlib.util import find_spec

        # Whoever wants a module of this room shall get that and no more.
        if name == "__all__" or not (name.startswith("__") or find_spec(f"{__name__}.{name}")):
            face = import_module("llmgine.runtime.face")
            if hasattr(face, name):
                return globals().setdefault(name, getattr(face, name))
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        from importlib import import_module

        return sorted({*globals(), *import_module("llmgine.runtime.face").__all__})
