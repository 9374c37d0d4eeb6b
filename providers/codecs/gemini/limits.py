"""What the end-of-life google-generativeai package cannot say, where the protocol can.

It carries requests and answers as protocol buffers of its last release: a field that these do not have
cannot be sent, and is thrown away where a server sends it. What is lost of an answer without a trace:

- that a part is thinking, so none is ever asked for; how many tokens it took is read from the total;
- signatures, with which models from the third generation on want their calls back, the response's id, and
  which documents support what;
- a finish reason that is newer, so that such an answer counts as truncated.

Whole numbers within arguments travel as floats, and are taken for whole numbers again.
"""

from __future__ import annotations

from typing import Any

from llmgine.providers.codecs.encoding import Encoding

# Settings of a request, and why they cannot be sent.
LACKS = {
    "seed": "it has no seed",
    "reasoning": "it has no thinking config, and tells thinking from the answer in no way",
}
# Blocks of tools on the server's side that it has, with their fields.
_BLOCKS = {
    "executableCode": frozenset({"language", "code"}),
    "codeExecutionResult": frozenset({"outcome", "output"}),
}
_WHOSE = "the google-generativeai package is past its end: {}; use the transport google-genai"


def lacking(reason: str) -> str:
    """The reason in a sentence that says whose fault it is and what mends it."""
    return _WHOSE.format(reason)


def refuse(encoding: Encoding) -> None:
    """Refuses, or leaves out where the caller allows it, each setting that the package cannot send."""
    for name, reason in LACKS.items():
        if getattr(encoding.request, name) is not None:
            encoding.unsupported(name, lacking(reason))


def has_block(kind: str, data: Any) -> bool:
    """Whether a block of this kind can be sent with all that is in it."""
    inner = data.get(kind) if isinstance(data, dict) and set(data) == {kind} else None
    return isinstance(inner, dict) and inner.keys() <= _BLOCKS.get(kind, frozenset())


def whole_numbers(value: Any) -> Any:
    """Arguments with the whole numbers in them that came as floats."""
    if isinstance(value, dict):
        return {name: whole_numbers(each) for name, each in value.items()}
    if isinstance(value, list):
        return [whole_numbers(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
