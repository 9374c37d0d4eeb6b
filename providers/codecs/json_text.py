"""JSON texts as servers and models write them."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from jiter import from_json


def read_json(data: bytes, *, allow_inf_nan: bool = True) -> Any:
    """The value of a JSON text; `ValueError` where it is none.

    Half of a surrogate pair, which some servers send where a token ends within a character, is read as the
    replacement character: it is no reason to lose a good answer.
    """
    try:
        return from_json(data, allow_inf_nan=allow_inf_nan)
    except ValueError:
        if b"\\ud" not in data and b"\\uD" not in data:
            raise
    try:
        value = json.loads(data, parse_constant=None if allow_inf_nan else _refused)
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def string(value: Any) -> str:
    """The value, which is a string; `TypeError` where it is none."""
    if type(value) is not str:
        raise TypeError(f"a string was expected, not {type(value).__name__}")
    return value


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")
