"""Settings of an endpoint's keys: what each is called, and where it is found on the node that uses it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from llmgine.providers.catalogue.limits import KeyLimits

ONLY = "default"
"""What the key of an endpoint is called where none has a name of its own."""

_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,31}")
_LIKE_A_KEY = re.compile(r"(sk|pk|rk|gsk|xai|key)[-_]")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def checked_variable(field: str, value: str | None) -> str | None:
    """`value` where it can be a variable's name; else a `ValueError` that does not show it."""
    if value is not None and not _VARIABLE.fullmatch(value):
        raise ValueError(f"{field} is the name of an environment variable, not the key itself")
    return value


class KeyOptions(BaseModel):
    """One of an endpoint's keys. Its name stands for it wherever it is spoken of; the key stands nowhere."""

    # Input is hidden: what stands in a wrong place may be a key.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(description="what it is called in attempts, statistics and errors")
    env: str | None = Field(default=None, description="environment variable that holds it")
    file: Path | None = Field(default=None, description="file that holds it; a new text is taken up")
    function: str | None = Field(
        default=None,
        description="function of yours that gives it inside the provider actor, as module:function; it is "
        "called with the key's name, may be async, and gives the key, or the key and for how many seconds",
    )
    limits: KeyLimits = Field(
        default=KeyLimits(), description="what may be used of it, over all actors of the runtime"
    )

    @field_validator("name")
    @classmethod
    def _a_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value) or _LIKE_A_KEY.match(value):
            raise ValueError(
                "a key's name is at most 32 lower-case letters, digits, '.', '_' and '-', not the key itself"
            )
        return value

    @field_validator("env")
    @classmethod
    def _a_variable(cls, value: str | None) -> str | None:
        return checked_variable("env", value)

    @field_validator("function")
    @classmethod
    def _an_import_path(cls, value: str | None) -> str | None:
        if value is not None and not _FUNCTION.fullmatch(value):
            raise ValueError("function is an import path as in my_package.vault:key, not the key itself")
        return value

    @model_validator(mode="after")
    def _one_place(self) -> KeyOptions:
        if sum(place is not None for place in (self.env, self.file, self.function)) > 1:
            raise ValueError(f"key {self.name} is found in one place: env, file or function")
        return self

    @property
    def has_place(self) -> bool:
        """Whether it is found anywhere; one that is not stands for calls without a key."""
        return self.env is not None or self.file is not None or self.function is not None


def checked_names(keys: Iterable[KeyOptions]) -> None:
    """Raises `ValueError` where two keys have one name."""
    seen: set[str] = set()
    for key in keys:
        if key.name in seen:
            raise ValueError(f"two keys are called {key.name}")
        seen.add(key.name)
