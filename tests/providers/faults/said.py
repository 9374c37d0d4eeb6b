"""What a model server heard and what it says, apart from the protocol in which it does so."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

TEXT = ("Hello", " big ", "world")
UNICODE = ("Grüße, ", "世界", " 🌍!")
THOUGHT = "Let me see."
SIGNATURE = "c2lnbmVkIGJ5IHRoZSBtb2RlbA=="


@dataclass(frozen=True)
class Text:
    chunks: tuple[str, ...]


@dataclass(frozen=True)
class Thought:
    text: str
    signature: str


@dataclass(frozen=True)
class ToolUse:
    """A call; an `id` of None is one that the server leaves out."""

    name: str
    arguments: dict[str, Any]
    id: str | None


@dataclass(frozen=True)
class Novelty:
    """A block of a kind that nobody has heard of."""

    name: str = "hologram"


Piece = Text | Thought | ToolUse | Novelty


@dataclass(frozen=True)
class Said:
    """An answer. `odd_usage` tells the figures in another place than the protocol's usual one."""

    pieces: tuple[Piece, ...]
    finish: str = "stop"
    odd_usage: bool = False
    input_tokens: int = 5
    output_tokens: int = 3

    @property
    def calls(self) -> list[ToolUse]:
        return [piece for piece in self.pieces if isinstance(piece, ToolUse)]


@dataclass
class Heard:
    """A request in plain words: `turns` are role, kind and content, `output` the schema of the answer."""

    system: str = ""
    turns: list[tuple[str, str, str]] = field(default_factory=list)
    tools: dict[str, dict[str, Any]] = field(default_factory=dict)
    choice: str = "auto"
    output: dict[str, Any] | None = None

    def told(self) -> str:
        """All of it as JSON, for a model that repeats what it was sent."""
        return json.dumps(
            {
                "system": self.system,
                "turns": [list(turn) for turn in self.turns],
                "tools": list(self.tools),
                "choice": self.choice,
                "output": self.output is not None,
            },
            ensure_ascii=False,
        )


def answer(model: str, heard: Heard) -> Said:
    """What the model of this name says; names of faults say the plain text."""
    match model.partition(".")[0]:
        case "tools" | "parallel" | "missing-ids" | "repeated-ids" as kind:
            return _with_tools(kind, heard)
        case "think":
            return Said((Thought(THOUGHT, SIGNATURE), Text(TEXT)))
        case "structured":
            return _structured(heard)
        case "echo":
            return Said((Text((heard.told(),)),))
        case "unknown-block":
            return Said((Text(TEXT), Novelty()))
        case "bytewise":
            return Said((Text(UNICODE),))
        case "odd-usage":
            return Said((Text(TEXT),), odd_usage=True)
        case "length":
            return Said((Text(TEXT),), finish="length")
        case _:
            return Said((Text(TEXT),))


def _with_tools(kind: str, heard: Heard) -> Said:
    results = [content for _, what, content in heard.turns if what == "result"]
    if results:
        return Said((Text((f"It is {', '.join(results)}.",)),))
    if heard.choice == "none" or not heard.tools:
        return Said((Text(("No tool.",)),))
    names = [heard.choice] if heard.choice in heard.tools else list(heard.tools)
    if kind == "tools":
        names = names[:1]
    ids: list[str | None] = [f"call_{number}" for number in range(1, len(names) + 1)]
    if kind in ("missing-ids", "repeated-ids"):
        ids = [None if kind == "missing-ids" else "call_same"] * len(names)
    uses = [ToolUse(name, sample(heard.tools[name]), id_) for name, id_ in zip(names, ids, strict=True)]
    return Said(tuple(uses), finish="tools")


def _structured(heard: Heard) -> Said:
    if heard.output is not None:
        text = json.dumps(sample(heard.output))
        return Said((Text((text[:5], text[5:])),))
    if heard.choice not in ("auto", "none") and heard.tools:
        name = heard.choice if heard.choice in heard.tools else next(iter(heard.tools))
        return Said((ToolUse(name, sample(heard.tools[name]), "call_1"),), finish="tools")
    told = _schema_in(heard.system)
    return Said((Text((json.dumps(sample(told)) if told else "no schema was asked for",)),))


def _schema_in(words: str) -> dict[str, Any] | None:
    """The schema that stands somewhere in a prompt."""
    for begin in (number for number, sign in enumerate(words) if sign == "{"):
        try:
            found, _ = json.JSONDecoder().raw_decode(words[begin:])
        except ValueError:
            continue
        if "properties" in found:
            return dict(found)
    return None


def sample(schema: dict[str, Any]) -> dict[str, Any]:
    """The smallest object with every property of a flat schema."""
    values = {"integer": 2, "number": 2, "string": "Paris", "boolean": True}
    properties: dict[str, Any] = schema.get("properties", {})
    return {name: values.get(str(one.get("type", "")).lower()) for name, one in properties.items()}
