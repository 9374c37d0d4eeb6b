"""Which provider serves a model, told from its name alone.

`provider/model` names both. A bare name is looked for among the aliases, then among the models
that endpoints list, then among the well-known families. Nothing else is guessed.
"""

from __future__ import annotations

import difflib
import re
from typing import NamedTuple

from llmgine.providers.catalogue.scripts import BUILT_IN, INLINE
from llmgine.providers.errors import UnknownModel
from llmgine.providers.options import ProvidersOptions

_LONGEST_NAME = 200


class ModelName(NamedTuple):
    """A model by its endpoint's name and its own."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


class Family(NamedTuple):
    """Bare names that belong to one provider, and some of them to suggest."""

    pattern: re.Pattern[str]
    provider: str
    examples: tuple[str, ...]


WELL_KNOWN: tuple[Family, ...] = (
    # Open weights are served by many, so their bare names belong to nobody.
    Family(
        re.compile(r"(chat)?gpt-(?!oss).+|ft:gpt-.+|text-embedding-.+"),
        "openai",
        ("gpt-5.5", "gpt-5", "gpt-4o", "gpt-4o-mini"),
    ),
    Family(re.compile(r"o[1-9](-.+)?"), "openai", ("o3", "o4-mini")),
    Family(
        re.compile(r"claude-.+"), "anthropic", ("claude-sonnet-4-5", "claude-opus-4-6", "claude-haiku-4-5")
    ),
    Family(
        re.compile(r"(models/)?(gemini-.+|gemma-\d+-.+)"), "gemini", ("gemini-2.5-flash", "gemini-2.5-pro")
    ),
    Family(re.compile(r"grok-.+"), "xai", ("grok-4",)),
    Family(re.compile(r"deepseek-(chat|reasoner|v\d.*)"), "deepseek", ("deepseek-chat",)),
    Family(
        re.compile(r"((open-)?mi[sx]tral|ministral|codestral|magistral|devstral|pixtral|voxtral)-.+"),
        "mistral",
        ("mistral-large-latest",),
    ),
    Family(re.compile(r"smollm2"), "local", ("smollm2",)),
)


def resolve(model: str, options: ProvidersOptions) -> ModelName:
    """The provider and model that `model` names; `UnknownModel`, which lists what is known."""
    if not isinstance(model, str):
        raise UnknownModel(f"a model is named by a text, provider/model, not {model!r}")
    name = _follow(model, options)
    provider, slash, rest = name.partition("/")
    if slash and provider in options.endpoints and rest:
        return _checked(ModelName(provider, rest), options)
    for known, endpoint in options.endpoints.items():
        if name in endpoint.models:
            return ModelName(known, name)
    for family in WELL_KNOWN:
        if family.pattern.fullmatch(name):
            return _checked(ModelName(family.provider, name), options)
    raise _unknown(name, options, "" if name == model else f", for which {model!r} stands")


def known_names(options: ProvidersOptions) -> list[str]:
    """Every name that can be told in advance: aliases, listed models, scripts and well-known ones."""
    listed = [f"{name}/{model}" for name, endpoint in options.endpoints.items() for model in endpoint.models]
    scripts = [
        f"{name}/{script}"
        for name, endpoint in options.endpoints.items()
        if endpoint.kind == "scripted"
        for script in (*BUILT_IN, INLINE, *options.scripts)
    ]
    families = [example for family in WELL_KNOWN for example in family.examples]
    return sorted({*options.aliases, *listed, *scripts, *families})


def _follow(model: str, options: ProvidersOptions) -> str:
    seen = [model]
    while seen[-1] in options.aliases:
        following = options.aliases[seen[-1]]
        if following in seen:
            raise UnknownModel(f"the aliases {' → '.join([*seen, following])} lead in a circle")
        seen.append(following)
    return seen[-1]


def _checked(name: ModelName, options: ProvidersOptions) -> ModelName:
    endpoint = options.endpoints[name.provider]
    scripts = {*BUILT_IN, INLINE, *options.scripts}
    known = scripts if endpoint.kind == "scripted" else set(endpoint.models)
    if known and name.model not in known:
        raise UnknownModel(
            f"{name.provider} serves no model {name.model!r}{_nearest(name.model, sorted(known))}; "
            f"it serves: {', '.join(sorted(known))}"
        )
    return name


def _unknown(model: str, options: ProvidersOptions, alias: str) -> UnknownModel:
    names = known_names(options)
    provider, slash, rest = model.partition("/")
    closest = difflib.get_close_matches(provider.lower(), options.endpoints, n=1, cutoff=0.75)
    if not rest and provider in options.endpoints:
        near = "; that is a provider, which wants a model behind it."
    elif slash and rest and closest:
        near = f"; did you mean {f'{closest[0]}/{rest}'!r}?"
    else:
        near = _nearest(model, names) or "."
    return UnknownModel(
        f"no provider is known for model {model[:_LONGEST_NAME]!r}{alias}{near} Name it provider/model, with "
        f"one of the providers {', '.join(sorted(options.endpoints))}; or use a known name: "
        f"{', '.join(names)}. "
        "More providers are added under providers.endpoints"
    )


def _nearest(name: str, known: list[str]) -> str:
    name = name[:_LONGEST_NAME].lower()
    found = difflib.get_close_matches(name, known, n=1) or difflib.get_close_matches(
        name.rpartition("/")[2], known, n=1
    )
    return f"; did you mean {found[0]!r}?" if found else ""
