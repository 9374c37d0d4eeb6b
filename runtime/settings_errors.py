"""Says what is wrong with a setting: its full path, where it stood, and what would be right."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from llmgine.providers.errors import LlmgineError

Origin = Literal["keyword", "variable", "file"]
_SECRET = ("key", "secret", "token", "header", "password")


class SettingsError(LlmgineError):
    """A setting is unknown, of the wrong type, or its file cannot be read."""


@dataclass(frozen=True, slots=True)
class Given:
    """One source of settings and what it holds; `place` is the file's path."""

    origin: Origin
    place: str
    values: Mapping[str, Any]

    def holds(self, path: Sequence[str]) -> bool:
        at: Any = self.values
        for name in path:
            if not isinstance(at, Mapping) or name not in at:
                return False
            at = at[name]
        return True

    def write(self, path: Sequence[str]) -> str:
        """The path as a user of this source writes it."""
        if self.origin == "variable":
            return "LLMGINE_" + "__".join(path).upper()
        return ".".join(path) if self.origin == "keyword" else "metadata.llmgine." + ".".join(path)

    def locate(self, path: Sequence[str]) -> str:
        if self.origin == "variable":
            return f"variable {self.write(path)}"
        return "keyword argument" if self.origin == "keyword" else f"{self.place}, {self.write(path)}"


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both trees as one; where both have a value, that of `over` holds."""
    merged = dict(under)
    for name, value in over.items():
        below = merged.get(name)
        merged[name] = (
            merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
        )
    return merged


def describe(error: ValidationError, tree: type[BaseModel], given: Sequence[Given]) -> str:
    """One line for each thing that is wrong."""
    lines = [
        _describe_one([str(step) for step in problem["loc"]], problem, tree, given)
        for problem in error.errors(include_url=False)
    ]
    return "\n".join(dict.fromkeys(lines))


def unknown_variable(name: str, tree: type[BaseModel]) -> str:
    path = name.upper().removeprefix("LLMGINE_").lower().split("__")
    known = Given("variable", "", {})
    return f"unknown variable {name}" + _suggestion(path, tree, known, extra=("LLMGINE_CONFIG",))


def _describe_one(path: list[str], problem: Any, tree: type[BaseModel], given: Sequence[Given]) -> str:
    source = _source(path, given)
    dotted = ".".join(path)
    if problem["type"] == "extra_forbidden":
        what = {
            "keyword": f"unknown setting {dotted} among the keyword arguments",
            "variable": f"unknown variable {source.write(path)}",
            "file": f"unknown setting {source.write(path)} in {source.place}",
        }[source.origin]
        return what + _suggestion(path, tree, source)
    message = str(problem["msg"])
    expected = message.removeprefix("Input should be ").removeprefix("Value error, ")
    if problem["type"] == "missing":
        return f"{dotted} is missing ({source.locate(path)})"
    if problem["type"] == "value_error":
        return f"{dotted} is refused ({source.locate(path)}): {expected}"
    return f"{dotted} is {_shown(path, problem['input'])} ({source.locate(path)}); expected {expected}"


def _source(path: list[str], given: Sequence[Given]) -> Given:
    """The source whose value reached the check: the first that has the path, or most of it."""
    for length in range(len(path), 0, -1):
        for source in given:
            if source.holds(path[:length]):
                return source
    return given[0]


def _shown(path: list[str], value: Any) -> str:
    if isinstance(value, (bool, int, float)) or value is None:
        return repr(value)
    secret = any(word in step.lower() for step in path for word in _SECRET)
    if path[0] == "providers" and isinstance(value, str) and len(value) > 20:
        secret = True  # a text of that length in a wrong place may be a key
    if isinstance(value, str) and not secret:
        return repr(value if len(value) <= 60 else value[:60] + "…")
    return f"of type {type(value).__name__}"


def _suggestion(path: list[str], tree: type[BaseModel], source: Given, *, extra: Sequence[str] = ()) -> str:
    parent, wrong = path[:-1], path[-1]
    siblings = sorted(_names(tree, parent))
    everywhere = {".".join(known): known for known in _paths(tree)}
    near = difflib.get_close_matches(wrong, siblings, n=1)
    if near:
        return f"; did you mean {source.write([*parent, near[0]])}?"
    written = source.write(path)
    candidates = {source.write(known): None for known in everywhere.values()} | dict.fromkeys(extra)
    ending = [known for known in everywhere.values() if known[-1] == wrong]
    if ending:
        return f"; did you mean {source.write(ending[0])}?"
    nearest = difflib.get_close_matches(written, candidates, n=1, cutoff=0.0)
    return f"; the nearest is {nearest[0]}" if nearest else ""


def _names(tree: type[BaseModel], path: Sequence[str]) -> list[str]:
    """The settings directly below a path; none where the path leads nowhere or to free names."""
    at: type[BaseModel] | None = tree
    steps = list(path)
    while steps and at is not None:
        field = at.model_fields.get(steps.pop(0))
        annotation = field.annotation if field else None
        if get_origin(annotation) is dict and steps:
            annotation = get_args(annotation)[1]
            steps.pop(0)
        at = _model(annotation)
    return list(at.model_fields) if at is not None else []


def _paths(tree: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in tree.model_fields.items():
        below = _model(field.annotation)
        yield (*above, name)
        if below is not None and len(above) < 4:
            yield from _paths(below, (*above, name))


def _model(annotation: Any) -> type[BaseModel] | None:
    """The option class that an annotation stands for, through Optional and Annotated."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) is Annotated:
        return _model(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return next((found for found in map(_model, get_args(annotation)) if found), None)
    return None
