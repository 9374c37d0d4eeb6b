"""Settings of the providers: where models are reached, with which key, and how long to wait.

Keys themselves are no settings: an endpoint says where its key is found on the node that uses it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from llmgine.providers.catalogue.limits import KeyLimits
from llmgine.providers.catalogue.presets import completed, presets
from llmgine.providers.catalogue.prices import PriceOptions
from llmgine.providers.catalogue.profiles import ProfileOptions
from llmgine.providers.catalogue.quirks import PLAIN, Quirks
from llmgine.providers.catalogue.scripts import Script
from llmgine.providers.contracts import Fallback
from llmgine.providers.key_options import ONLY, KeyOptions, checked_names, checked_variable

Api = Literal["openai-responses", "openai-chat", "anthropic-messages", "gemini"]
Kind = Literal["openai", "anthropic", "gemini", "openai-compatible", "local", "scripted"]
Transport = Literal["google-genai", "google-generativeai"]

_APIS: dict[Kind, Api] = {
    "openai": "openai-responses",
    "anthropic": "anthropic-messages",
    "gemini": "gemini",
}
_SPOKEN: dict[Kind, tuple[Api, ...]] = {
    "openai": ("openai-responses", "openai-chat"),
    "anthropic": ("anthropic-messages",),
    "gemini": ("gemini",),
}
_OF_SERVERS = ("base_url", "api", "key_env", "key_file", "headers", "replay")
_SHORT_FORM = ("key_env", "key_file")
_KEYS: dict[Kind, tuple[str, ...]] = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
}

HEADER_RULE = "a header is a name without spaces and one line of plain characters"

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_KEY_HEADER = re.compile(
    r"authorization|cookie|secret|api[-_]?key|subscription-key|(auth|access|security)-?token|^(x-)?(key|token)$",
    re.I,
)


def holds_key(header: str) -> bool:
    """Whether a header of this name is known to carry a key, which belongs in no setting and no request."""
    return _KEY_HEADER.search(header) is not None


def is_header(name: str, text: str) -> bool:
    """Whether a header keeps `HEADER_RULE`."""
    return _HEADER.fullmatch(name) is not None and text.isascii() and text.isprintable()


class _Options(BaseModel):
    # Input is hidden: what stands in a wrong place may be a key.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Timeouts(_Options):
    """How long a call may take, in seconds.

    A request's own idle timeout goes before; its deadline can only shorten `total`, because every
    call of a session carries what is left of its turn.
    """

    connect: float = Field(default=5.0, gt=0, description="until a connection stands")
    first_byte: float = Field(default=300.0, gt=0, description="from the start until the answer's first byte")
    idle: float = Field(default=120.0, gt=0, description="between two pieces of a stream")
    total: float = Field(default=900.0, gt=0, description="for the whole call")


class EndpointOptions(_Options):
    """One place that serves models."""

    kind: Kind = Field(default="openai-compatible", description="what kind of server it is")
    base_url: str | None = Field(default=None, description="its URL; None is the vendor's own")
    api: Api | None = Field(default=None, description="protocol that it speaks; None is the one of its kind")
    preset: str | None = Field(
        default=None, description="a well-known server whose URL, key variable and quirks it takes over"
    )
    quirks: Quirks = Field(
        default=PLAIN, description="in what it differs from others of its kind or from its preset"
    )
    transport: Transport | None = Field(
        default=None, description="SDK that reaches a gemini endpoint; None is google-genai"
    )
    replay: Path | None = Field(
        default=None, description="folder of recordings that answer in place of the server; needs no key"
    )
    key_env: str | None = Field(default=None, description="environment variable that holds the key")
    key_file: Path | None = Field(default=None, description="file that holds the key; looked at first")
    keys: tuple[KeyOptions, ...] = Field(
        default=(), description="several keys, in place of key_env and key_file, which say where its one is"
    )
    limits: KeyLimits = Field(
        default=KeyLimits(), description="what may be used of its one key; each of keys has its own"
    )
    models: tuple[str, ...] = Field(default=(), description="models that it serves; none listed: any")
    headers: dict[str, str] = Field(default_factory=dict, repr=False, description="sent with each request")
    traceparent: bool = Field(
        default=True,
        description="whether requests carry the W3C header that says where they stand in a trace",
    )
    timeouts: Timeouts = Field(default=Timeouts(), description="how long its calls may take")
    max_connections: int = Field(
        default=1000, ge=1, description="connections at once from one process, for each key"
    )

    @model_validator(mode="before")
    @classmethod
    def _over_its_preset(cls, value: Any) -> Any:
        return completed(value) if isinstance(value, dict) else value

    @field_validator("base_url")
    @classmethod
    def _a_plain_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or " " in value or parts.port == 0:
            raise ValueError("base_url is an http or https URL")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("base_url holds no user, password or query: put the key in key_file or key_env")
        return value

    @field_validator("key_env")
    @classmethod
    def _a_variable(cls, value: str | None) -> str | None:
        return checked_variable("key_env", value)

    @field_validator("headers")
    @classmethod
    def _no_keys(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not is_header(name, text):
                raise ValueError(f"header {name!r}: {HEADER_RULE}")
        keys = sorted(filter(holds_key, value))
        if keys:
            raise ValueError(f"header {keys[0]} holds a key: put the key in key_file or key_env")
        return value

    @model_validator(mode="after")
    def _reachable(self) -> EndpointOptions:
        if self.kind == "openai-compatible" and self.base_url is None:
            raise ValueError("an openai-compatible endpoint needs base_url")
        for name in _OF_SERVERS if self.kind in ("local", "scripted") else ():
            if getattr(self, name):
                raise ValueError(f"{name} is for servers, and a {self.kind} endpoint answers by itself")
        return self

    @model_validator(mode="after")
    def _keys_in_one_form(self) -> EndpointOptions:
        checked_names(self.keys)
        for name in _SHORT_FORM if self.keys else ():
            if getattr(self, name):
                raise ValueError(f"{name} is the place of an only key: put it into keys, as each of its own")
        if self.keys and self.limits != KeyLimits():
            raise ValueError("limits are those of an only key: put them into keys, as each of its own")
        for key in self.keys:
            if key.has_place and self.kind in ("local", "scripted"):
                raise ValueError(f"key {key.name}: a {self.kind} endpoint needs none, so it has no place")
            if not key.has_place and self.kind in _KEYS:
                raise ValueError(f"key {key.name} needs a place: env, file or function")
        return self

    @model_validator(mode="after")
    def _fitting(self) -> EndpointOptions:
        spoken = _SPOKEN.get(self.kind, ())
        if self.api is not None and spoken and self.api not in spoken:
            raise ValueError(f"an endpoint of kind {self.kind} speaks {' or '.join(spoken)}, not {self.api}")
        if self.transport is not None and self.protocol != "gemini":
            raise ValueError(f"transport is for the gemini protocol; this endpoint speaks {self.protocol}")
        if self.quirks != PLAIN and self.kind not in ("openai", "openai-compatible"):
            raise ValueError(f"quirks are for servers of Chat Completions, not of kind {self.kind}")
        return self

    @property
    def protocol(self) -> Api:
        """The protocol that its kind speaks, unless `api` says another."""
        return self.api or _APIS.get(self.kind, "openai-chat")

    @property
    def key_variables(self) -> tuple[str, ...]:
        """The environment variables that may hold its key, in the order in which they are looked at."""
        return (self.key_env,) if self.key_env else _KEYS.get(self.kind, ())

    @property
    def limits_of_keys(self) -> dict[str, KeyLimits]:
        """The limits of each key by its name. What runs in the actor itself tells of none."""
        given = {key.name: key.limits for key in self.keys} or {ONLY: self.limits}
        if self.kind not in ("local", "scripted") and self.replay is None:
            return given
        return {name: limits.model_copy(update={"learn": "off"}) for name, limits in given.items()}

    @property
    def needs_key(self) -> bool:
        """Whether it cannot be used without a key: a compatible server only where one is configured."""
        if self.replay is not None:
            return False
        if self.keys:
            return any(key.has_place for key in self.keys)
        return self.kind in _KEYS or self.key_env is not None or self.key_file is not None


class LocalOptions(_Options):
    """The models that run inside the provider's own process."""

    folder: Path | None = Field(
        default=None, description="where weights lie; None is models/ in the user's cache folder for llmgine"
    )
    threads: int = Field(default=1, ge=1, description="computing threads; more are slower on busy cores")
    context: int = Field(default=2048, ge=256, description="tokens of prompt and reply together, per slot")
    slots: int = Field(default=4, ge=1, description="calls at once")
    api: Literal["openai-chat", "anthropic-messages"] = Field(
        default="openai-chat", description="protocol over which it is reached"
    )


class RecordOptions(_Options):
    """Which model calls are kept as recordings, whole: prompts and answers stand in them, keys do not."""

    folder: Path | None = Field(
        default=None,
        description="where recordings are written, on each provider's node; None records nothing",
    )
    providers: tuple[str, ...] = Field(
        default=(), description="endpoints that are recorded; none listed: all"
    )
    sessions: tuple[str, ...] = Field(default=(), description="sessions that are recorded; none listed: all")
    max_queued_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1,
        description="what may wait in memory; a call beyond it is not recorded",
    )
    max_written_bytes: int = Field(
        default=1024 * 1024 * 1024, ge=1, description="what one provider actor writes at most"
    )
    close_timeout: float = Field(default=5.0, gt=0, description="how long a stop waits for what is unwritten")


_BUILT_IN: dict[str, dict[str, Any]] = {
    "openai": {"kind": "openai"},
    "anthropic": {"kind": "anthropic"},
    "gemini": {"kind": "gemini"},
    "local": {"kind": "local"},
    "scripted": {"kind": "scripted"},
    **{name: {"preset": name} for name in presets()},
}


class ProvidersOptions(_Options):
    """All endpoints by name. Those of the vendors, `local`, `scripted` and the presets are always there.

    What is said about one of those changes it and leaves the rest of it as it is.
    """

    endpoints: dict[str, EndpointOptions] = Field(
        default_factory=dict,
        validate_default=True,
        description="by the name that stands before the slash",
    )
    local: LocalOptions = Field(default=LocalOptions(), description="models inside the process")
    record: RecordOptions = Field(default=RecordOptions(), description="model calls that are kept")
    aliases: dict[str, str | tuple[Fallback, ...]] = Field(
        default_factory=dict,
        description="own names for models, or for lists of them, each of which takes over from the one "
        "before it: a name, or a table of `model` and `on`, the failures after which it does",
    )
    scripts: dict[str, Script] = Field(default_factory=dict, description="scripts played as scripted/<name>")
    profiles: dict[str, ProfileOptions] = Field(
        default_factory=dict, description="what single models can do, by provider/model, over what is known"
    )
    prices: dict[str, PriceOptions] = Field(
        default_factory=dict, description="what single models cost, by provider/model, over what is known"
    )

    @field_validator("endpoints", mode="before")
    @classmethod
    def _over_the_built_in(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        given = {
            name: one.model_dump(exclude_unset=True) if isinstance(one, EndpointOptions) else one
            for name, one in value.items()
        }
        merged = {name: {**base, **_mapping(given.get(name))} for name, base in _BUILT_IN.items()}
        return {**given, **merged}

    @field_validator("aliases")
    @classmethod
    def _some_model(
        cls, value: dict[str, str | tuple[Fallback, ...]]
    ) -> dict[str, str | tuple[Fallback, ...]]:
        for name, chain in value.items():
            if isinstance(chain, tuple) and (not chain or not chain[0].model or chain[0].on is not None):
                raise ValueError(
                    f"alias {name!r}: a list of models begins with the name of one, which has no condition"
                )
        return value

    @field_validator("endpoints")
    @classmethod
    def _plain_names(cls, value: dict[str, EndpointOptions]) -> dict[str, EndpointOptions]:
        for name in value:
            if not _NAME.fullmatch(name):
                raise ValueError(f"endpoint name {name!r}: lower-case letters, digits, '.', '_' and '-' only")
        return value

    @model_validator(mode="after")
    def _of_known_endpoints(self) -> ProvidersOptions:
        for field in ("profiles", "prices"):
            for name in getattr(self, field):
                endpoint, _, model = name.partition("/")
                if endpoint not in self.endpoints or not model:
                    raise ValueError(
                        f"{field} are kept by provider/model, and {name!r} begins with none of the endpoints "
                        f"{', '.join(sorted(self.endpoints))}"
                    )
        return self


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
