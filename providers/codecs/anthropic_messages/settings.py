"""How much a model of the Messages protocol thinks, says, and chooses by chance."""

from __future__ import annotations

from typing import Any

from llmgine.providers.codecs.encoding import Encoding
from llmgine.providers.codecs.reasoning import budget_for, effort_for, nearest_effort
from llmgine.providers.contracts import Effort, NamedTool, Reasoning

_EFFORTS: tuple[Effort, ...] = ("low", "medium", "high", "xhigh", "max")
_LEAST_BUDGET = 1024
_LEAST_TOP_P = 0.95  # with thinking


class Settings:
    """The settings of one request as fields of the body. Thinking rules out some of the others.

    `elsewhere` says that the turn to go on with was begun without thinking, which the protocol does not let
    a model with a budget take up.
    """

    def __init__(self, encoding: Encoding, default_max_tokens: int, elsewhere: bool) -> None:
        self._encoding = encoding
        self._request = encoding.request
        self._profile = encoding.target.profile
        self._elsewhere = elsewhere
        self._ceiling = self._profile.max_output
        self.max_tokens = self._request.max_output_tokens or self._bounded(default_max_tokens)
        self.thinking: dict[str, Any] = {}
        self.effort: dict[str, Any] = {}
        self._default_max_tokens = default_max_tokens
        self._reason()

    @property
    def _thinks(self) -> bool:
        return self.thinking.get("thinking", {}).get("type") in ("enabled", "adaptive")

    def sampling(self) -> dict[str, Any]:
        request, fields = self._request, dict[str, Any]()
        for name in ("temperature", "top_p", "top_k"):
            value = getattr(request, name)
            if value is None:
                continue
            if reason := self._refused(name, value):
                self._encoding.unsupported(name, reason)
            else:
                fields[name] = value
        if request.stop:
            fields["stop_sequences"] = list(request.stop)
        for name in ("presence_penalty", "frequency_penalty", "seed"):
            if getattr(request, name) is not None:
                self._encoding.unsupported(name, "the Messages protocol has no such setting")
        return fields

    def tool_choice(self) -> dict[str, Any]:
        request = self._request
        if request.tool_choice == "none":
            return {"tool_choice": {"type": "none"}}
        choice: dict[str, Any] = {"type": "auto"}
        if request.tool_choice != "auto" and (reason := self._unforced()):
            self._encoding.unsupported("tool_choice", reason)
        elif isinstance(request.tool_choice, NamedTool):
            choice = {"type": "tool", "name": request.tool_choice.name}
        elif request.tool_choice == "required":
            choice = {"type": "any"}
        if request.parallel_tool_calls is False:
            choice["disable_parallel_tool_use"] = True
        return {} if choice == {"type": "auto"} else {"tool_choice": choice}

    def _unforced(self) -> str | None:
        """Why no call can be forced now; one that can be is made without thinking."""
        if not self._profile.forced_tools:
            return "this model cannot be made to call a tool"
        if self._thinks and self.thinking["thinking"]["type"] == "enabled":
            return "a model that thinks by tokens cannot be made to call a tool; leave `reasoning` out"
        if self._thinks:
            self._encoding.changed("reasoning", "a call that is forced is made without thinking")
        return None

    def _refused(self, name: str, value: float) -> str | None:
        if not self._profile.sampling:
            return "this model takes none"
        if name == "temperature" and value > 1:
            return "the Messages protocol takes 0 to 1"
        if not self._thinks:
            return None
        fits = {"temperature": value == 1, "top_p": value >= _LEAST_TOP_P, "top_k": False}
        return None if fits[name] else "it does not go together with thinking; leave `reasoning` out"

    def _reason(self) -> None:
        asked = self._request.reasoning
        if asked is None or asked == Reasoning() or self._hides_nothing(asked):
            return
        off = asked.effort == "none" or (asked.effort is None and asked.budget == 0)
        if self._profile.reasoning == "none":
            self._encoding.cannot_think("this model does not think")
        elif off and not self._always_thinks():
            self.thinking = {"thinking": {"type": "disabled"}}
        elif self._profile.reasoning == "budget":
            self._by_budget(asked.effort, asked.budget)
        elif self._profile.reasoning is None and asked.budget and asked.effort is None:
            self._by_budget(None, asked.budget)
        else:
            self._by_effort(asked.effort, asked.budget)
        if self._thinks and asked.show is not None:
            self.thinking["thinking"]["display"] = "summarized" if asked.show else "omitted"

    def _hides_nothing(self, asked: Reasoning) -> bool:
        """Whether no more is asked than not to show thinking, of a model that need not think at all."""
        return asked == Reasoning(show=False) and not self._always_thinks()

    def _always_thinks(self) -> bool:
        efforts = self._profile.efforts
        return self._profile.reasoning == "effort" and bool(efforts) and "none" not in efforts

    def _by_effort(self, effort: Effort | None, budget: int | None) -> None:
        wanted = effort
        if budget is not None and effort is None:
            wanted = effort_for(budget)
        if wanted is not None:
            known = [one for one in self._profile.efforts if one in _EFFORTS] or _EFFORTS
            sent = nearest_effort(wanted, known)
            self.effort = {"effort": sent}
            if sent != effort:
                self._encoding.changed("reasoning", f"this model is told how much to think by effort: {sent}")
        if budget is not None and effort is not None:
            self._encoding.dropped("reasoning.budget", "this model is told how much to think by effort alone")
        self.thinking = {"thinking": {"type": "adaptive"}}
        if self._request.max_output_tokens is None:
            self.max_tokens = self._bounded(2 * self._default_max_tokens)

    def _by_budget(self, effort: Effort | None, budget: int | None) -> None:
        if self._elsewhere:
            reason = "a turn that was begun without thinking can only be gone on with in this way"
            self._encoding.changed("reasoning", f"no thinking: {reason}")
            return
        wanted = budget_for(effort or "medium") if budget is None else budget
        least, most = self._profile.budgets or (_LEAST_BUDGET, wanted)
        sent = max(min(wanted, most), least, _LEAST_BUDGET)
        if self._request.max_output_tokens is None:
            self.max_tokens = self._bounded(self._default_max_tokens + sent)
        if self.max_tokens <= _LEAST_BUDGET:
            room = f"thinking takes {_LEAST_BUDGET} tokens at least, within max_output_tokens"
            self._encoding.unsupported("reasoning", room)
            return
        if sent >= self.max_tokens:  # the answer is left a quarter
            sent = max(self.max_tokens - self.max_tokens // 4, _LEAST_BUDGET)
        if sent != budget:
            self._encoding.changed("reasoning", f"this model is told how much to think by tokens: {sent}")
        self.thinking = {"thinking": {"type": "enabled", "budget_tokens": sent}}

    def _bounded(self, tokens: int) -> int:
        return tokens if self._ceiling is None else min(tokens, self._ceiling)
