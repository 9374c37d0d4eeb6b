"""Which provider serves a model, told from its name alone.

`provider/model` names both. A bare name is looked for among the aliases, then among the models
that endpoints list, then among the well-known families. Nothing else is guessed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import NamedTuple

from llmgine.providers.catalogue.scripts import BUILT_IN, INLINE
from llmgine.providers.contracts import Fallback, ModelChain
from llmgine.providers.contracts.request import split_chain
from llmgine.providers.errors import InvalidRequest, UnknownModel
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


class Link(NamedTuple):
    """One model of a chain, and the failures of the one before it after which it takes over."""

    name: ModelName
    on: tuple[str, ...] | None = None


def resolve(model: str, options: ProvidersOptions) -> ModelName:
    """The provider and model that `model` names, the first where it stands for several; `UnknownModel`,
    which lists what is known.
    """
    return _named(model, _followed(Fallback(model=_checked_text(model)), options, ())[0].model, options)


def resolve_chain(
    model: str, options: ProvidersOptions, fallbacks: Iterable[Fallback] = ()
) -> tuple[Link, ...]:
    """The models that a call of `model` with these fallbacks may take in turn, each once; `UnknownModel`."""
    links: dict[ModelName, Link] = {}
    for asked in (Fallback(model=_checked_text(model)), *fallbacks):
        for one in _followed(asked, options, ()):
            name = _named(asked.model, one.model, options)
            links.setdefault(name, Link(name, one.on))
    return tuple(links.values())


def full_chain(chain: ModelChain, options: ProvidersOptions) -> tuple[str, tuple[Fallback, ...]]:
    """The models of a chain by their full names, the first apart; `UnknownModel`, or `InvalidRequest` for
    what is no chain."""
    try:
        model, fallbacks = split_chain(chain)
    except (ValueError, TypeError) as error:
        raise InvalidRequest(f"model={chain!r} is no list of models: {error}") from None
    first, *others = resolve_chain(model, options, fallbacks)
    return str(first.name), tuple(
        Fallback.model_validate({"model": str(one.name), "on": one.on}) for one in others
    )


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


def _checked_text(model: str) -> str:
    if not isinstance(model, str):
        raise UnknownModel(f"a model is named by a text, provider/model, not {model!r}")
    return model


def _followed(one: Fallback, options: ProvidersOptions, path: tuple[str, ...]) -> list[Fallback]:
    """What stands behind the name; the first of several keeps the name's own condition."""
    if one.model not in options.aliases:
        return [one]
    if one.model in path:
        raise UnknownModel(f"the aliases {' → '.join([*path, one.model])} lead in a circle")
    following = options.aliases[one.model]
    chain = (Fallback(model=following),) if isinstance(following, str) else following
    first, *others = chain
    links = (first.model_copy(update={"on": one.on}), *others)
    return [found for link in links for found in _followed(link, options, (*path, one.model))]


def _named(asked: str, name: str, options: ProvidersOptions) -> ModelName:
    provider, slash, rest = name.partition("/")
    if slash and provider in options.endpoints and rest:
        return _checked(ModelName(provider, rest), options)
    for known, endpoint in options.endpoints.items():
        if name in endpoint.models:
            return ModelName(known, name)
    for family in WELL_KNOWN:
        if family.pattern.fullmatch(name):
            return _checked(ModelName(family.provider, name), options)
    raise _unknown(name, options, "" if name == asked else f", for which {asked!r} stands")


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
