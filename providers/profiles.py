"""What models can do, as data."""

from __future__ import annotations

from typing import Literal

from llmgine.providers.contracts.base import Contract
from llmgine.providers.contracts.request import Effort, OutputMode


class ModelProfile(Contract):
    """What one model can do. What nobody knows is taken for possible: the provider itself then refuses.

    `reasoning` says how it is told how much to think: "effort" by a level out of `efforts`, "budget" by a
    number of tokens within `budgets`; "none" never thinks, None is unknown. `sampling` is whether it takes
    temperature, top_p and top_k; `output` how it is best brought to structured output, and
    `output_with_tools` whether that goes together with tools. Sizes are in tokens.
    """

    tools: bool = True
    images: bool = True
    audio: bool = True
    documents: bool = True
    sampling: bool = True
    reasoning: Literal["none", "effort", "budget"] | None = None
    efforts: tuple[Effort, ...] = ()
    budgets: tuple[int, int] | None = None
    output: OutputMode = "native"
    output_with_tools: bool = True
    prefill: bool = False
    context: int | None = None
    max_output: int | None = None


UNKNOWN_MODEL = ModelProfile()
