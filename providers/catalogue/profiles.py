"""What models can do: rows of `profiles.json` matched on a model's name, and what settings say over them."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from llmgine.providers.catalogue.prices import context_window
from llmgine.providers.contracts.base import Contract
from llmgine.providers.contracts.request import Effort, OutputMode, Reasoning

_DOT_IN_VERSION = re.compile(r"(?<=\d)\.(?=\d)")
_REMEMBERED = 1024


class ModelProfile(Contract):
    """What one model can do. What nobody knows is taken for possible: the provider itself then refuses.

    `reasoning` says how it is told how much to think: "effort" by a level out of `efforts`, "budget" by a
    number of tokens within `budgets`; "none" cannot be told, None is unknown. `sampling` is whether it takes
    temperature, top_p and top_k, and `sampling_unthinking` whether it does once its effort is "none";
    `output` how it is best brought to structured output, and `output_with_tools` whether that goes together
    with tools; `late_system` whether a system message may come later than first; `forced_tools` whether it
    can be made to call a tool; `cache_breakpoints` whether OpenAI lets one mark what to cache of it. Sizes
    are in tokens.
    """

    tools: bool = True
    images: bool = True
    audio: bool = True
    documents: bool = True
    sampling: bool = True
    sampling_unthinking: bool = False
    reasoning: Literal["none", "effort", "budget"] | None = None
    efforts: tuple[Effort, ...] = ()
    budgets: tuple[int, int] | None = None
    output: OutputMode = "native"
    output_with_tools: bool = True
    prefill: bool = False
    late_system: bool = False
    forced_tools: bool = True
    cache_breakpoints: bool = False
    context: int | None = None
    max_output: int | None = None

    def samples(self, reasoning: Reasoning | None) -> bool:
        """Whether it takes temperature and the like, told to think as this says."""
        unthinking = reasoning is not None and reasoning.effort == "none" and "none" in self.efforts
        return self.sampling or (self.sampling_unthinking and unthinking)


class ProfileOptions(BaseModel):
    """What a model can do where the built-in table is wrong or silent; None leaves what the table says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tools: bool | None = Field(default=None, description="it takes tools")
    images: bool | None = Field(default=None, description="it takes images")
    audio: bool | None = Field(default=None, description="it takes sound")
    documents: bool | None = Field(default=None, description="it takes documents")
    sampling: bool | None = Field(default=None, description="it takes temperature, top_p and top_k")
    sampling_unthinking: bool | None = Field(
        default=None, description='it takes them once its effort is "none"'
    )
    reasoning: Literal["none", "effort", "budget"] | None = Field(
        default=None, description="how it is told how much to think; none: it cannot be told"
    )
    efforts: tuple[Effort, ...] | None = Field(default=None, description="levels of effort that it knows")
    budgets: tuple[int, int] | None = Field(
        default=None, description="fewest and most tokens that it may be given to think"
    )
    output: OutputMode | None = Field(
        default=None, description="how it is best brought to structured output: native, tool or prompt"
    )
    output_with_tools: bool | None = Field(
        default=None, description="its native structured output goes together with tools"
    )
    prefill: bool | None = Field(default=None, description="it goes on with an answer that was begun for it")
    late_system: bool | None = Field(default=None, description="it takes a system message later than first")
    forced_tools: bool | None = Field(default=None, description="it can be made to call a tool")
    cache_breakpoints: bool | None = Field(
        default=None, description="OpenAI lets one mark what to cache of its prompts"
    )
    context: int | None = Field(default=None, ge=1, description="tokens of prompt and answer together")
    max_output: int | None = Field(default=None, ge=1, description="most tokens of an answer")


UNKNOWN_MODEL = ModelProfile()


@functools.lru_cache(maxsize=_REMEMBERED)
def profile_of(kind: str, model: str) -> ModelProfile:
    """What the table knows of a model behind an endpoint of this kind or preset.

    Only the last part of a name with slashes counts, so that a model is the same one behind every
    reseller. Each row that fits says what it knows over the rows before it; a script can do anything.
    """
    if kind == "scripted":
        return UNKNOWN_MODEL
    name = _DOT_IN_VERSION.sub("-", model.rpartition("/")[2].lower().removeprefix("ft:"))
    known: dict[str, Any] = {}
    for pattern, kinds, says in _table():
        if (not kinds or kind in kinds) and pattern.match(name):
            known |= says
    return ModelProfile.model_validate(known)


def profiler(name: str, kind: str, own: Mapping[str, ProfileOptions]) -> Callable[[str], ModelProfile]:
    """What tells the profiles of the models behind endpoint `name`, by the table and what settings say.

    How much a model holds is looked up among the prices where the table is silent, so this is for
    processes that have those.
    """

    def profiled(model: str) -> ModelProfile:
        found = overridden(profile_of(kind, model), own.get(f"{name}/{model}"))
        if found.context is None and (context := context_window(kind, model)) is not None:
            found = found.model_copy(update={"context": context})
        return found

    return functools.lru_cache(maxsize=_REMEMBERED)(profiled)


def overridden(profile: ModelProfile, options: ProfileOptions | None) -> ModelProfile:
    """The profile with what the settings say laid over it."""
    says = {} if options is None else options.model_dump(exclude_none=True)
    return profile.model_copy(update=says) if says else profile


def table_of(rows: list[Mapping[str, Any]]) -> list[tuple[re.Pattern[str], frozenset[str], dict[str, Any]]]:
    """Rows as they are read, ready to be matched; a row that says something unknown is an error."""
    table = []
    for row in rows:
        says = {name: value for name, value in row.items() if name not in ("match", "kinds")}
        ModelProfile.model_validate(says)
        table.append((re.compile(row["match"]), frozenset(row.get("kinds", ())), says))
    return table


@functools.cache
def _table() -> list[tuple[re.Pattern[str], frozenset[str], dict[str, Any]]]:
    text = Path(__file__).with_name("profiles.json").read_text(encoding="utf-8")
    return table_of(json.loads(text))
