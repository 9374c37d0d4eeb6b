"""The settings of a request as the fields of Gemini's generationConfig, and its tools."""

from __future__ import annotations

import re
from typing import Any

from llmgine.providers.codecs.encoding import Encoding
from llmgine.providers.codecs.gemini.limits import LACKS, lacking
from llmgine.providers.codecs.reasoning import budget_for, effort_for, nearest_effort
from llmgine.providers.codecs.schema import gemini_json, gemini_legacy
from llmgine.providers.contracts import Effort, NamedTool, Reasoning, ToolSpec

_LEVELS: tuple[Effort, ...] = ("minimal", "low", "medium", "high")
_HOTTEST = 2
_MOST_STOPS = 5
_FIRST_OF_NAME = re.compile(r"[a-zA-Z_]")


class Settings:
    """What one request asks for beside its messages; with `legacy` as the old package can say it."""

    def __init__(self, encoding: Encoding, *, legacy: bool) -> None:
        self._encoding = encoding
        self._request = encoding.request
        self._profile = encoding.target.profile
        self._legacy = legacy
        self._strict = False  # a tool's arguments are to be forced to fit

    def generation(self) -> dict[str, Any]:
        """The generationConfig."""
        request = self._request
        config = self._sampling()
        if request.max_output_tokens is not None:
            config["maxOutputTokens"] = request.max_output_tokens
        if request.stop:
            config["stopSequences"] = list(request.stop[:_MOST_STOPS])
            if len(request.stop) > _MOST_STOPS:
                reason = f"Gemini takes {_MOST_STOPS} texts to stop at; the first ones are sent"
                self._encoding.unsupported(f"stop[{_MOST_STOPS}:]", reason)
        if request.seed is not None and not self._lacks("seed"):
            config["seed"] = request.seed
        if request.presence_penalty is not None:
            config["presencePenalty"] = request.presence_penalty
        if request.frequency_penalty is not None:
            config["frequencyPenalty"] = request.frequency_penalty
        if thinking := self._thinking():
            config["thinkingConfig"] = thinking
        return config | self._output()

    def tools(self) -> dict[str, Any]:
        """The tools and whether they must be used, those that the options bring included."""
        request = self._request
        declared = self._declared()
        if not declared and not self._encoding.options.get("tools"):
            return {}
        if request.parallel_tool_calls is False:
            reason = "Gemini cannot be held to one call at a time"
            self._encoding.unsupported("parallel_tool_calls", reason)
        fields: dict[str, Any] = {"tools": [{"functionDeclarations": declared}]} if declared else {}
        if config := self._tool_choice({one["name"] for one in declared}):
            fields["toolConfig"] = {"functionCallingConfig": config}
        return fields

    def _declared(self) -> list[dict[str, Any]]:
        tools = self._request.tools
        if tools and not self._profile.tools:
            self._encoding.unsupported("tools", "this model calls no tools")
            return []
        return [one for number, tool in enumerate(tools) if (one := self._tool(tool, number))]

    def cached(self) -> dict[str, Any]:
        """The name of what was cached beforehand; it brings its own system prompt and tools."""
        cache = self._request.cache
        if cache is None:
            return {}
        if cache.content is None:
            self._encoding.dropped("cache", "Gemini keeps beginnings by itself, and what `content` names")
            return {}
        for name in ("ttl", "key"):
            if getattr(cache, name) is not None:
                self._encoding.dropped(f"cache.{name}", "it was said when the content was cached")
        return {"cachedContent": cache.content}

    def _lacks(self, name: str) -> bool:
        return self._legacy and name in LACKS

    def _sampling(self) -> dict[str, Any]:
        config: dict[str, Any] = {}
        for name, sent in (("temperature", "temperature"), ("top_p", "topP"), ("top_k", "topK")):
            value = getattr(self._request, name)
            if value is None:
                continue
            if not self._profile.sampling:
                self._encoding.unsupported(name, "this model takes none")
            elif name == "temperature" and value > _HOTTEST:
                self._encoding.unsupported(name, f"Gemini takes 0 to {_HOTTEST}")
            else:
                config[sent] = value
        return config

    def _thinking(self) -> dict[str, Any]:
        asked = self._request.reasoning
        if asked is None or asked == Reasoning() or self._lacks("reasoning"):
            return {}
        config: dict[str, Any] = {}
        off = asked.effort == "none" or (asked.effort is None and asked.budget == 0)
        if self._profile.reasoning == "none":
            self._encoding.cannot_think("this model cannot be told how much to think")
            return {}
        if asked.show is not None:
            config["includeThoughts"] = asked.show
        by_budget = off or (asked.effort is None and asked.budget is not None)
        if self._profile.reasoning == "budget" or (self._profile.reasoning is None and by_budget):
            config |= self._budget(asked.effort, asked.budget)
        else:
            config |= self._level(asked.effort, asked.budget)
        return config

    def _budget(self, effort: Effort | None, budget: int | None) -> dict[str, Any]:
        if budget is None and effort is None:
            return {}
        wanted = budget_for(effort or "none") if budget is None else budget
        least, most = self._profile.budgets or (0, wanted)
        sent = max(min(wanted, most), least)
        if sent != budget and (sent or effort != "none"):
            self._encoding.changed("reasoning", f"this model is told how much to think by tokens: {sent}")
        return {"thinkingBudget": sent}

    def _level(self, effort: Effort | None, budget: int | None) -> dict[str, Any]:
        if budget is not None and effort is not None:
            self._encoding.dropped("reasoning.budget", "this model is told how much to think by effort alone")
        wanted = effort_for(budget) if effort is None and budget is not None else effort
        if wanted is None:
            return {}
        known = [one for one in self._profile.efforts if one != "none"] or _LEVELS
        sent = nearest_effort(wanted, known)
        if sent != effort:
            self._encoding.changed("reasoning", f"this model is told how much to think by effort: {sent}")
        return {"thinkingLevel": sent.upper()}

    def _output(self) -> dict[str, Any]:
        output = self._request.output
        if output is None:
            return {}
        if self._request.tools and not self._profile.output_with_tools:
            self._encoding.unsupported("output", "this model takes a schema only without tools")
            return {}
        field = "output.json_schema"
        if self._legacy:
            dialect = gemini_legacy(output.json_schema)
            if dialect is None:
                self._encoding.unsupported(field, lacking("it has no words for this schema"))
                return {"responseMimeType": "application/json"}
            schema = {"responseSchema": dialect.schema}
        else:
            dialect = gemini_json(output.json_schema)
            schema = {"responseJsonSchema": dialect.schema}
        for difference in dialect.differences:
            self._encoding.changed(field, difference)
        return {"responseMimeType": "application/json"} | schema

    def _tool(self, tool: ToolSpec, number: int) -> dict[str, Any]:
        field = f"tools[{number}]"
        if not _FIRST_OF_NAME.match(tool.name):
            reason = f"a tool's name begins with a letter or _ here, not as {tool.name!r}"
            self._encoding.unsupported(f"{field}.name", reason)
            return {}
        sent: dict[str, Any] = {"name": tool.name, "description": tool.description}
        parameters = tool.parameters
        if self._legacy:
            return self._legacy_tool(tool, sent, field)
        if tool.strict:
            dialect = gemini_json(tool.parameters)
            parameters = dialect.schema
            self._strict = self._strict or dialect.strict
            changed = f"{field}.parameters" if dialect.strict else f"{field}.strict"
            for difference in dialect.differences:
                self._encoding.changed(changed, difference)
        return sent | {"parametersJsonSchema": parameters}

    def _legacy_tool(self, tool: ToolSpec, sent: dict[str, Any], field: str) -> dict[str, Any]:
        if tool.strict:
            self._encoding.changed(f"{field}.strict", lacking("it cannot force arguments to fit"))
        if not tool.parameters.get("properties"):
            return sent  # an object without properties is refused
        dialect = gemini_legacy(tool.parameters)
        if dialect is None:
            reason = lacking("it has no words for these parameters")
            self._encoding.unsupported(f"{field}.parameters", reason)
            return {}
        for difference in dialect.differences:
            self._encoding.changed(f"{field}.parameters", difference)
        return sent | {"parameters": dialect.schema}

    def _tool_choice(self, declared: set[str]) -> dict[str, Any]:
        match self._request.tool_choice:
            case NamedTool(name=name) if name in declared:
                return {"mode": "ANY", "allowedFunctionNames": [name]}
            case NamedTool():
                self._encoding.dropped("tool_choice", "the tool that it names is left out")
            case "required":
                return {"mode": "ANY"}
            case "none":
                return {"mode": "NONE"}
        if self._strict:
            return {"mode": "VALIDATED"}  # calls that fit, and none unless the model wants one
        return {}
