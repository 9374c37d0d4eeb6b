"""Whether an answer is the JSON that was asked for."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from jiter import from_json

from llmgine.providers.codecs.assembly import compact
from llmgine.providers.codecs.schema import restore
from llmgine.providers.contracts import Message, TextPart
from llmgine.providers.errors import InvalidRequest

_FENCE = re.compile(r"```[a-zA-Z0-9]*[ \t]*\n(.*?)\n?[ \t]*```", re.S)
_MOST_PROBLEMS = 5
_LONGEST_PROBLEM = 300


@dataclass(frozen=True, slots=True)
class Checked:
    """The value, or what is wrong with the answer in words for the model."""

    value: Any = None
    problem: str | None = None


class Checker:
    """Checks answers against one JSON schema (2020-12). Its references lie within it: nothing is fetched."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        self._validator = _validator(compact(schema))

    def check(self, message: Message) -> Checked:
        """The answer's value: all of its text, or the JSON within it where the model put words around."""
        problem = "it is empty"
        for text in _candidates(message):
            try:
                value = from_json(text.encode("utf-8", "replace"), allow_inf_nan=False)
                json.dumps(value, allow_nan=False)  # a number such as 1e999 is none that can be passed on
            except ValueError as error:
                problem = f"it is not JSON: {error}"
                continue
            return self._fitting(value)
        return Checked(problem=problem)

    def _fitting(self, value: Any) -> Checked:
        problem = self._problem(value)
        if problem is None:
            return Checked(value)
        restored = restore(value, self._schema)
        if restored != value and self._problem(restored) is None:
            return Checked(restored)
        return Checked(problem=problem)

    def _problem(self, value: Any) -> str | None:
        try:
            some = list(islice(self._validator.iter_errors(value), _MOST_PROBLEMS))
        except RecursionError:
            return "it is nested too deeply"
        found = sorted(some, key=lambda error: str(error.json_path))
        return "; ".join(f"{error.json_path}: {error.message[:_LONGEST_PROBLEM]}" for error in found) or None


def load() -> None:
    """Import what checks: it takes a fifth of a second, and only calls with a schema need it."""
    import jsonschema  # noqa: F401


def is_loaded() -> bool:
    return "jsonschema" in sys.modules


@functools.lru_cache(maxsize=128)
def _validator(schema: str) -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    value: Any = from_json(schema.encode())
    registry: Any = Registry()
    validator = Draft202012Validator(value, registry=registry)
    try:
        Draft202012Validator.check_schema(value)
        root = registry.resolver_with_root(DRAFT202012.create_resource(value))
        _follow(value, root, DRAFT202012, set())
        next(validator.iter_errors(None), None)
    except SchemaError as error:
        raise InvalidRequest(f"output.json_schema is no JSON schema: {error.message}") from None
    except RecursionError:
        raise InvalidRequest("output.json_schema refers to itself without end") from None
    return validator


def _follow(schema: Any, resolver: Any, dialect: Any, seen: set[int]) -> None:
    """Looks up each reference of a schema and of all that it refers to."""
    from referencing.exceptions import Unresolvable

    if not isinstance(schema, dict) or id(schema) in seen:
        return
    seen.add(id(schema))
    for word in ("$ref", "$dynamicRef"):
        if isinstance(reference := schema.get(word), str):
            try:
                found = resolver.lookup(reference)
            except Unresolvable:
                raise InvalidRequest(
                    f"output.json_schema refers to {reference!r}, which is not within it: put it under $defs"
                ) from None
            _follow(found.contents, found.resolver, dialect, seen)
    for part in dialect.subresources_of(schema):
        within = resolver.in_subresource(dialect.create_resource(part))
        _follow(part, within, dialect, seen)


def _candidates(message: Message) -> Iterator[str]:
    """The answer's text, then what may be the JSON in it: each text, a fenced block, from brace to brace."""
    texts = [part.text for part in message.parts if isinstance(part, TextPart) and part.text.strip()]
    if not texts:
        return
    whole = "".join(texts)
    yield whole
    if len(texts) > 1:
        yield from reversed(texts)
    yield from reversed(_FENCE.findall(whole))
    begin, end = whole.find("{"), whole.rfind("}")
    if 0 <= begin < end and (begin, end) != (0, len(whole) - 1):
        yield whole[begin : end + 1]
