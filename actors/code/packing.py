"""Objects as bytes with the code that they need: what is installed by name, the user's own by value.

What is installed is pickled by name, because it is there on the other side too. What is not (the
script, the files beside it, the working directory) goes along, so two senders may bring two modules
of the same name and each keeps its own.
"""

from __future__ import annotations

import dataclasses
import importlib
import io
import sys
import threading
from collections import ChainMap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar

import msgpack

from llmgine.actors.code.errors import CodeUnavailable, UnsendableCode
from llmgine.actors.code.modules import own_modules

FORMAT = 1

T = TypeVar("T")

# One registry of modules per process, so one packing at a time.
_packing = threading.Lock()


def pack(value: Any, *, parts: Sequence[Any], roots: Sequence[Any]) -> bytes:
    """The value as bytes for `unpack` in another process; UnsendableCode names what cannot go along.

    `parts` are what the value is made of, to find the culprit among; from the functions and classes in
    `roots` the user's own modules are reached.
    """
    cloudpickle = importlib.import_module("ray.cloudpickle")
    with _packing, _by_value(cloudpickle, own_modules(roots)):
        body = _dumped(cloudpickle, value, parts)
    python = [sys.version_info.major, sys.version_info.minor]
    packed: bytes = msgpack.packb({"format": FORMAT, "python": python, "code": body})
    return packed


def unpack(data: bytes, kind: type[T]) -> T:
    """The value that `pack` wrote; CodeUnavailable says what is missing here."""
    try:
        wire = msgpack.unpackb(data)
        version, python, body = wire["format"], wire["python"], wire["code"]
    except (ValueError, KeyError, TypeError) as error:
        raise CodeUnavailable(f"this is no packed code: {error}") from None
    if version != FORMAT:
        raise CodeUnavailable(f"the code has format {version}; this version of llmgine reads {FORMAT}")
    here = [sys.version_info.major, sys.version_info.minor]
    if python != here:
        theirs, ours = (".".join(map(str, numbers)) for numbers in (python, here))
        raise CodeUnavailable(
            f"the code was packed by Python {theirs} and this process runs {ours}; use one on all nodes"
        )
    value = _loaded(body)
    if not isinstance(value, kind):
        raise CodeUnavailable(f"the packed object is a {type(value).__name__}, not a {kind.__name__}")
    return value


def _loaded(body: bytes) -> Any:
    cloudpickle = importlib.import_module("ray.cloudpickle")
    try:
        return cloudpickle.loads(body)
    except ModuleNotFoundError as error:
        raise CodeUnavailable(
            f"the code needs the module {error.name!r}, which is not installed here; "
            "install it on every node, or name it in the runtime_env"
        ) from error
    except Exception as error:
        raise CodeUnavailable(f"the code cannot be loaded: {type(error).__name__}: {error}") from error


def _dumped(cloudpickle: Any, value: Any, parts: Sequence[Any]) -> bytes:
    try:
        return _dumps(cloudpickle, value)
    except Exception as error:
        culprit = next((part for part in parts if not _travels(cloudpickle, part)), value)
        raise UnsendableCode(
            f"{culprit!r} cannot travel to another process: {type(error).__name__}: {error}; "
            "open connections, locks and files inside the function instead of at module level"
        ) from error


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
