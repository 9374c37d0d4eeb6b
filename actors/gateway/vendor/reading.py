"""A vendor's request, read field by field: what is not understood is refused by its name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from llmgine.providers.contracts import LLMRequest, Origin
from llmgine.providers.errors import InvalidRequest

UNSUPPORTED: Final = "x-llmgine-on-unsupported"

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


class RequestRefused(InvalidRequest):
    """The request is not one that can be answered; `field` is where, `code` the vendor's word for why."""

    def __init__(self, message: str, *, field: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.code = code


@dataclass(frozen=True, slots=True)
class Asked:
    """What a vendor's request asks for, in our words.

    `echo` are the fields that the answer repeats. `conversation` is the session that the request itself
    names, `previous` the answer that it goes on from.
    """

    request: LLMRequest
    stream: bool = False
    echo: Mapping[str, Any] = field(default_factory=dict)
    include_usage: bool = False
    conversation: str | None = None
    previous: str | None = None


class Fields:
    """One object of a request. Null counts as left out, as it does with the vendors."""

    def __init__(self, value: Any, place: str = "") -> None:
        if type(value) is not dict:
            raise RequestRefused(f"{place or 'the body'}: an object was expected", field=place or None)
        self.place = place
        self._left: dict[str, Any] = {name: each for name, each in value.items() if each is not None}

    def at(self, name: str) -> str:
        """Where a field stands in the request."""
        return f"{self.place}.{name}" if self.place else name

    def refuse(self, name: str, reason: str, code: str | None = None) -> NoReturn:
        place = self.at(name) if name else self.place
        raise RequestRefused(f"{place}: {reason}", field=place, code=code)

    def has(self, name: str) -> bool:
        """Whether the field is there and has not been read."""
        return name in self._left

    def raw(self, name: str) -> Any:
        """The field as it is; None where it is left out."""
        return self._left.pop(name, None)

    def text(self, name: str) -> str | None:
        return self._of(name, str, "a string was expected")

    def needed(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            self.refuse(name, "it is missing", "missing_required_parameter")
        return value

    def number(self, name: str) -> float | None:
        return self._of(name, float, "a number was expected", int)

    def whole(self, name: str) -> int | None:
        return self._of(name, int, "an integer was expected")

    def flag(self, name: str) -> bool | None:
        return self._of(name, bool, "true or false was expected")

    def one_of(self, name: str, *words: str) -> str | None:
        """One of these words; None where it is left out."""
        value = self.text(name)
        if value is not None and value not in words:
            self.refuse(name, f"it is one of {', '.join(words)}, not {value[:50]!r}")
        return value

    def table(self, name: str) -> dict[str, Any] | None:
        """An object that is taken as it is."""
        return self._of(name, dict, "an object was expected")

    def within(self, name: str) -> Fields | None:
        """An object to read on in."""
        value = self.raw(name)
        return None if value is None else Fields(value, self.at(name))

    def each(self, name: str) -> list[Fields]:
        """The objects of a list; none where it is left out."""
        return [Fields(one, f"{self.at(name)}[{at}]") for at, one in enumerate(self.items(name))]

    def items(self, name: str) -> list[Any]:
        return self._of(name, list, "a list was expected") or []

    def texts(self, name: str) -> tuple[str, ...]:
        """A string, or a list of them."""
        value = self.raw(name)
        several = [] if value is None else [value] if type(value) is str else value
        if type(several) is not list or any(type(one) is not str for one in several):
            self.refuse(name, "a string or a list of strings was expected")
        return tuple(several)

    def _of(self, name: str, kind: type[T], reason: str, *others: type) -> T | None:
        """The field, of exactly one of these types; None where it is left out."""
        value: T | None = self.raw(name)
        if value is not None and type(value) not in (kind, *others):
            self.refuse(name, reason)
        return value

    def rest(self) -> dict[str, Any]:
        """Everything that has not been read."""
        left, self._left = self._left, {}
        return left

    def leave(self, *names: str) -> None:
        """Passes over fields that change nothing of the answer."""
        for name in names:
            self._left.pop(name, None)

    def done(self) -> None:
        """Refuses what has not been read."""
        for name in self._left:
            self.refuse(name, "it is not known here", "unknown_parameter")


def on_unsupported(headers: Mapping[str, str]) -> Literal["error", "adjust"]:
    """What becomes of that which a model does not take: it is refused, or left out."""
    match headers.get(UNSUPPORTED, "error"):
        case "error" | "adjust" as wanted:
            return wanted
        case other:
            reason = f"{UNSUPPORTED} is error or adjust, not {other[:50]!r}"
            raise RequestRefused(reason, field=UNSUPPORTED)


def vendor_options(
    fields: Fields,
    api: str,
    target: Origin | None,
    headers: Mapping[str, str],
    *,
    labels: Collection[str],
    harmless: Mapping[str, Any],
) -> dict[str, dict[str, Any]]:
    """What is left of a request, as options of the vendor's own protocol.

    For a model behind another protocol it is refused, but for `labels`, which say nothing of the answer, and
    fields whose value is the `harmless` one, which asks for nothing. All of it is left out where the headers
    ask for that.
    """
    left, unsupported = fields.rest(), on_unsupported(headers)
    if target is not None and target.api == api:
        return {api: left} if left else {}
    if unsupported == "adjust":
        return {}
    for name, value in left.items():
        if name not in labels and not (name in harmless and harmless[name] == value):
            reason = f"only models behind {api} take it, and this one is not behind it; leave it out"
            fields.refuse(name, reason, "unsupported_parameter")
    return {}


def made(kind: type[M], fields: Mapping[str, Any], names: Mapping[str, str] | None = None) -> M:
    """A contract of these fields, None as left out; `RequestRefused` where one has no fitting value.

    `names` are the vendor's words for our fields.
    """
    try:
        return kind(**{name: value for name, value in fields.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        ours = str(first["loc"][0]) if first["loc"] else ""
        place = ".".join([(names or {}).get(ours, ours), *map(str, first["loc"][1:])])
        reason = first["msg"].removeprefix("Value error, ")
        raise RequestRefused(f"{place}: {reason}" if place else reason, field=place or None) from None
