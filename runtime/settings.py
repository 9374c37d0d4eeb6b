"""The settings tree, and the one place where the environment and the settings file are read.

Keyword arguments win over the environment (`LLMGINE_` and the path, levels joined by `__`), which wins
over the file's section `metadata.llmgine`, which wins over OpenTelemetry's variable for the content of
spans. `Settings(...)` itself reads nothing but its arguments.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableVariable

from llmgine.actors.bus.options import BusOptions
from llmgine.actors.control.options import ControlOptions
from llmgine.actors.gateway.options import GatewayOptions
from llmgine.actors.link.options import LinkOptions
from llmgine.actors.pools.options import PoolsOptions
from llmgine.actors.sessions.options import SessionOptions
from llmgine.actors.sessions.tools import secrets
from llmgine.actors.store.options import StoreOptions
from llmgine.providers.options import ProvidersOptions
from llmgine.runtime.settings_errors import Given, SettingsError, describe, merge, unknown_variable
from llmgine.runtime.settings_file import find_file, read_section
from llmgine.telemetry.options import TelemetryOptions

PREFIX = "LLMGINE_"
CONFIG_VARIABLE = "LLMGINE_CONFIG"
CAPTURE_VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_CAPTURES = ("true", "1", "span_only", "span_and_event")


class Settings(BaseSettings):
    """Everything that can be set about a runtime; each room declares its own part."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter="__", env_ignore_empty=True
    )

    bus: BusOptions = Field(default_factory=BusOptions, description="The event bus.")
    control: ControlOptions = Field(
        default_factory=ControlOptions, description="Leases, deadlines and placement of the actors."
    )
    gateway: GatewayOptions = Field(
        default_factory=GatewayOptions, description="The dashboard and HTTP in front of the runtime."
    )
    link: LinkOptions = Field(default_factory=LinkOptions, description="The connections between processes.")
    pools: PoolsOptions = Field(
        default_factory=PoolsOptions, description="How many actors serve each provider."
    )
    providers: ProvidersOptions = Field(
        default_factory=ProvidersOptions, description="Endpoints, model names and the local model."
    )
    sessions: SessionOptions = Field(
        default_factory=SessionOptions, description="Conversations and their turns."
    )
    store: StoreOptions = Field(
        default_factory=StoreOptions, description="What outlives every process, and where it is kept."
    )
    telemetry: TelemetryOptions = Field(
        default_factory=TelemetryOptions, description="Spans, counters and exporters."
    )
    data_dir: Path | None = Field(
        default=None,
        description="Each runtime keeps its files below, under its name; by default the user's data folder.",
    )

    def __init__(self, *, _given: Sequence[Given] = (), **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            given = _given or [Given("keyword", "", values)]
            raise SettingsError(describe(error, type(self), given)) from None

    @field_validator("data_dir")
    @classmethod
    def _expanded(cls, value: Path | None) -> Path | None:
        return value if value is None else value.expanduser()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    def to_wire(self) -> dict[str, Any]:
        """The whole tree as plain values, which `Settings(**wire)` and each room's options read back."""
        return self.model_dump(mode="json")


class _Environment(EnvSettingsSource):
    """The variables of one mapping instead of the process's own."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = {name.lower(): value for name, value in environ.items() if value != ""}
        super().__init__(Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return self._environ


def load_settings(
    overrides: Mapping[str, Any] | Settings | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Settings:
    """The settings that hold here and now; `SettingsError` names what is wrong and where it stood."""
    environ = os.environ if environ is None else environ
    path = find_file(environ.get(CONFIG_VARIABLE) or None, file)
    given = [
        Given("keyword", "", _plain(overrides)),
        Given("variable", "", _from_environment(environ)),
        Given("file", str(path or ""), read_section(path) if path else {}),
        Given("variable", "", _from_conventions(environ)),
    ]
    merged: dict[str, Any] = {}
    for source in reversed(given):
        merged = merge(merged, source.values)
    return Settings(_given=given, **merged)


def _plain(overrides: Mapping[str, Any] | Settings | None) -> dict[str, Any]:
    """Only what was set on purpose, so that the rest is still open to the environment and the file."""
    if overrides is None:
        return {}
    if isinstance(overrides, Settings):
        return overrides.model_dump(exclude_unset=True)
    return {
        name: value.model_dump(exclude_unset=True) if isinstance(value, BaseModel) else value
        for name, value in overrides.items()
    }


def _from_conventions(environ: Mapping[str, str]) -> dict[str, Any]:
    """What OpenTelemetry's own variables say, for settings that nobody made here."""
    captured = environ.get(CAPTURE_VARIABLE, "").strip().lower()
    return {"telemetry": {"content": True}} if captured in _CAPTURES else {}


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """The `LLMGINE_` variables as a tree; one that names no setting is refused."""
    for name in sorted(environ):
        head = name.upper().removeprefix(PREFIX).split("__")[0].lower()
        if not name.upper().startswith(PREFIX) or name.upper() == CONFIG_VARIABLE:
            continue
        if name.upper().startswith(secrets.VARIABLE):
            continue  # for tools, which ask for it by name
        if head not in Settings.model_fields:
            raise SettingsError(unknown_variable(name, Settings))
    try:
        return _Environment(environ)()
    except UnreadableVariable as error:
        head = str(error).split('"')[1] if '"' in str(error) else ""
        names = sorted(name for name in environ if name.upper().startswith(f"{PREFIX}{head}".upper()))
        raise SettingsError(
            f"variable {' or '.join(names)} is not valid JSON; lists and tables are written as JSON, "
            f"single settings as {PREFIX}{head.upper()}__NAME=value"
        ) from None
