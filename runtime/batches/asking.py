"""What is asked of a model in a batch, and what its answer is to the caller of the map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmgine.actors.sessions import Reply
from llmgine.actors.sessions.turns.turn import served_by
from llmgine.providers import InvalidRequest, LLMRequest, LLMResponse, Message
from llmgine.providers.contracts import ModelChain
from llmgine.providers.layers.output_type import OutputType
from llmgine.providers.names import full_chain
from llmgine.providers.options import ProvidersOptions
from llmgine.runtime.models import made

# What a request of its own has that a batch can hold.
_TAKEN = frozenset(
    {
        "cache",
        "frequency_penalty",
        "max_output_tokens",
        "on_unsupported",
        "presence_penalty",
        "provider_options",
        "reasoning",
        "seed",
        "stop",
        "system",
        "temperature",
        "top_k",
        "top_p",
    }
)
_FORM = Message.user("")


class Asking:
    """Requests for prompts, and replies, of one model; `InvalidRequest` for what a batch cannot have.

    A reply's turn_id is the name of the map and the prompt's place in it: a batch has no sessions and turns.
    """

    def __init__(
        self, model: ModelChain, providers: ProvidersOptions, output: Any, options: Mapping[str, Any]
    ) -> None:
        given = sorted(name for name in options.keys() - _TAKEN if options[name])
        if given:
            raise InvalidRequest(
                f"batch=True asks the model itself, without a session: it takes no {', '.join(given)}, but "
                f"{', '.join(sorted(_TAKEN))}"
            )
        self.model, others = full_chain(model, providers)
        if others:
            names = ", ".join((self.model, *(other.model for other in others)))
            raise InvalidRequest(
                f"a batch has one model, and {model!r} stands for several: name one of {names}"
            )
        self._kind = None if output is None else OutputType(output)
        schema = None if self._kind is None else self._kind.schema
        fields = {name: value for name, value in options.items() if name in _TAKEN}
        self._form = made(LLMRequest, {"model": self.model, "messages": (_FORM,), "output": schema, **fields})

    def request(self, prompt: str | Message) -> LLMRequest:
        message = Message.user(prompt) if isinstance(prompt, str) else prompt
        return self._form.model_copy(update={"messages": (message,)})

    def reply(self, response: LLMResponse, id: str) -> Reply:
        """`OutputInvalid` for an answer that the type refuses."""
        value = response.output
        if self._kind is not None and value is not None:
            value = self._kind.value(value)
        return Reply(
            text=response.text,
            parts=response.message.parts,
            output=value,
            usage=response.usage,
            cost=response.cost,
            model=served_by(response),
            finish_reason=response.finish_reason,
            adjustments=response.adjustments,
            turn_id=id,
            trace_id="",
            session_id="",
        )
