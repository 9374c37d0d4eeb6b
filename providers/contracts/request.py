"""What is asked of a model, in the same words for every provider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, GetCoreSchemaHandler, field_validator, model_validator
from pydantic_core import CoreSchema, core_schema

from llmgine.providers.contracts.base import Contract
from llmgine.providers.contracts.parts import Message


class ToolSpec(Contract):
    """A tool as the model sees it: `parameters` is a JSON schema of type object.

    With `strict` the arguments are forced to fit it where the provider can force them.
    """

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str = ""
    parameters: dict[str, Any]
    strict: bool = False

    @field_validator("parameters")
    @classmethod
    def _an_object(cls, value: dict[str, Any]) -> dict[str, Any]:
        if value.get("type", "object") != "object":
            raise ValueError("a tool's parameters are a JSON schema of type object")
        return value


class NamedTool(Contract):
    """The model must call exactly this tool."""

    name: str


OutputMode = Literal["native", "tool", "prompt"]

# Whose calls wait where there is no room for all: those that somebody waits for go before work in bulk.
Priority = Literal["interactive", "batch"]


class OutputSchema(Contract):
    """The answer must be JSON that fits this schema of type object.

    `mode` is how the model is brought to it: "native" by the provider's own means, "tool" by a call that
    it is made to make, "prompt" by words; "auto" is what the model's profile says. An answer that does not
    fit is shown to the model with what is wrong, up to `repairs` times.
    """

    name: str = Field(default="output", pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str = ""
    json_schema: dict[str, Any]
    mode: Literal["auto"] | OutputMode = "auto"
    repairs: int = Field(default=2, ge=0, le=8)


Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class Reasoning(Contract):
    """How much the model thinks before it answers; what is None is the provider's own choice.

    `effort` is a level and `budget` a number of tokens: a model that takes only the other one gets the
    nearest, which the response's `adjustments` tell. `show` asks for the reasoning, or a summary of it,
    as thinking parts; where there is none to see, the adjustments tell that.
    """

    effort: Effort | None = None
    budget: int | None = Field(default=None, ge=0)
    show: bool | None = None


class CacheHints(Contract):
    """Which beginnings of the prompt the provider may keep, to read them cheaper next time.

    Each of `breakpoints` ends a beginning worth keeping: after the tools, after the system prompt, or after
    a message by its number, negative ones from the end. `ttl` is how long to keep it in seconds; `key`
    tells requests of one kind, `content` names what was cached beforehand. These are hints: what a
    provider has no place for is left out and listed in the response's `adjustments`.
    """

    breakpoints: tuple[Literal["tools", "system"] | int, ...] = ("system", -1)
    ttl: float | None = Field(default=None, gt=0)
    key: str | None = None
    content: str | None = None


FailureKind = Literal[
    "rate_limit",
    "overloaded",
    "server",
    "timeout",
    "connection",
    "truncated",
    "malformed",
    "bad_output",
    "authentication",
    "permission",
    "not_found",
    "unsupported",
    "context_length",
    "content_filter",
    "internal",
]
"""The kinds of a `ProviderError` after which another model may do better."""


class Fallback(Contract):
    """A model that takes over where the one before it failed with a kind of `on`.

    None stands for all kinds that do not lie in the request: all but "unsupported", "context_length",
    "content_filter" and "internal".
    """

    model: str
    on: tuple[FailureKind, ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _a_name(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value


ModelChain = str | Sequence[str | Fallback]
"""A model by its name or its alias, or several: each takes over from the one before it."""


def split_chain(chain: ModelChain) -> tuple[str, tuple[Fallback, ...]]:
    """The model that is asked first, and its fallbacks; ValueError for a list that is no chain."""
    if isinstance(chain, str):
        return chain, ()
    if not isinstance(chain, list | tuple):
        raise ValueError(f"a model is named by a text, or by a list of them, not {chain!r}")
    first, *others = map(Fallback.model_validate, chain or [""])
    if not first.model or first.on is not None:
        raise ValueError("a list of models begins with the name of one, which has no condition")
    return first.model, tuple(others)


class LLMRequest(Contract):
    """One call of one model. `model` is `provider/model`; times are seconds.

    A list of models may be given as `model`: the call is made with the first, and those behind it are its
    `fallbacks`, each of which takes over where the one before it failed: `model=["openai/gpt-5",
    Fallback(model="anthropic/claude-sonnet-4-5", on=("rate_limit", "overloaded"))]`. JSON has
    the two fields instead.

    What the provider cannot do is an error, or with `on_unsupported="adjust"` left out and listed
    in the response's `adjustments`; it is never dropped in silence.

    `mid_stream` says what becomes of a call that breaks after its first token, for a reason that may
    pass: "fail" ends it, "restart" begins anew after a `Reset`, "continue" has the model go on after
    what had arrived where it can, else restarts.

    `priority` says who goes first where calls wait for a provider actor; no provider is told of it.

    `idempotency_key` tells a provider that knows such keys whether a call was made before; further tries
    that are made here get keys of their own, derived from it.

    `response_cache` says whether the kept answer to an equal request will do, and this one's answer is kept;
    None is what the pool's settings say.

    `provider_options` go into the request's body as they are; they are keyed by the endpoint's name or by
    its protocol, so that a request may carry some for several: `{"anthropic": {"service_tier": "auto"}}`.
    """

    model: str
    fallbacks: tuple[Fallback, ...] = ()
    messages: tuple[Message, ...] = Field(min_length=1)
    system: str | None = None
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: Literal["auto", "required", "none"] | NamedTool = "auto"
    parallel_tool_calls: bool | None = None
    output: OutputSchema | None = None
    max_output_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=1)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    stop: tuple[str, ...] = ()
    seed: int | None = None
    reasoning: Reasoning | None = None
    cache: CacheHints | None = None
    deadline: float | None = Field(default=None, gt=0, description="seconds for the whole call")
    idle_timeout: float | None = Field(default=None, gt=0, description="seconds between two chunks")
    priority: Priority = "interactive"
    mid_stream: Literal["fail", "restart", "continue"] = "fail"
    on_unsupported: Literal["error", "adjust"] = "error"
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=200)
    response_cache: bool | None = None
    provider_options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    extra_headers: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A list of models is for Python: to look for one in JSON takes longer than to read it."""
        schema = handler(source)
        chained = core_schema.no_info_before_validator_function(cls._a_chain, schema)
        return core_schema.json_or_python_schema(schema, chained)

    @classmethod
    def _a_chain(cls, value: Any) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("model"), list | tuple):
            return value
        if value.get("fallbacks"):
            raise ValueError("give a list of models, or a model and fallbacks, not both")
        first, others = split_chain(value["model"])
        return {**value, "model": first, "fallbacks": others}
