"""What can be set about the gateway: where it listens, whom it lets in, and how much each may ask for."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

DEFAULT_PORT = 8700

# What is called so: who has the token, and who asks where none is needed.
OWNER, LOCAL = TAKEN = ("owner", "local")

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SHORTEST_SECRET = 16
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


def digest(secret: str) -> str:
    """What is kept of a secret: enough to know it again, and no more."""
    return "sha256:" + hashlib.sha256(secret.encode()).hexdigest()


def is_loopback(host: str) -> bool:
    """Whether an address, or a name, is this machine's own and nobody else's."""
    name = host.strip("[]").rstrip(".").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


class _Options(BaseModel):
    # Input is hidden: what stands in a wrong place may be a secret.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ClientOptions(_Options):
    """A client with a key of its own, from one of three places, and what it may ask for."""

    key: str | None = Field(
        default=None,
        repr=False,
        description="The key, or `sha256:` and its digest, which is all that is kept of it.",
    )
    key_env: str | None = Field(
        default=None, description="Environment variable that holds it, on the gateway's node."
    )
    key_file: Path | None = Field(default=None, description="File that holds it, on the gateway's node.")
    operator: bool = Field(
        default=False,
        description="Whether it may look at the runtime and change it, as the page does; others ask models "
        "and sessions alone, in the vendors' words.",
    )
    requests_per_minute: float | None = Field(
        default=None, gt=0, description="Requests that it may make a minute; a minute's worth at once."
    )
    concurrent: int | None = Field(
        default=None, gt=0, description="Requests that may be under way at a time, streams included."
    )

    sessions: str | None = Field(
        default=None,
        min_length=1,
        description="What the ids of its sessions begin with: it reaches no other. Left out, it reaches all.",
    )

    @field_validator("key")
    @classmethod
    def _digested(cls, value: str | None) -> str | None:
        return checked_secret(value)

    @model_validator(mode="after")
    def _one_place(self) -> ClientOptions:
        if sum(place is not None for place in (self.key, self.key_env, self.key_file)) != 1:
            raise ValueError("a client's key is found in one place: key, key_env or key_file")
        if self.operator and self.sessions is not None:
            raise ValueError("an operator reaches every session: leave sessions out, or operator")
        return self


class GatewayOptions(_Options):
    """Section `gateway` of the settings; times are seconds."""

    enabled: bool = Field(default=False, description="Whether the runtime has a gateway.")
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="The address that it listens on. Anything but loopback takes a token or clients.",
    )
    port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="Its port; 0 for any that is free. Left out it is 8700, or any where that is taken.",
    )
    token: str | None = Field(
        default=None,
        repr=False,
        description="Who has it may do everything: the token, or `sha256:` and its digest, which is all that "
        "is kept of it.",
    )
    token_env: str | None = Field(
        default=None, description="Environment variable that holds the token, on the gateway's node."
    )
    token_file: Path | None = Field(
        default=None, description="File that holds the token, on the gateway's node."
    )
    clients: dict[str, ClientOptions] = Field(
        default_factory=dict, description="Further clients by name, each with a key and limits of its own."
    )
    login_hours: float = Field(
        default=12.0, gt=0, description="How long a login at the page lasts, in hours."
    )
    max_body: int = Field(default=8 << 20, gt=0, description="Bytes that a request's body may have.")
    max_head: int = Field(
        default=32 << 10, ge=1024, description="Bytes that a request's line and headers may have."
    )
    head_timeout: float = Field(
        default=10.0, gt=0, description="How long a request's line and headers may take to come."
    )
    body_timeout: float = Field(default=30.0, gt=0, description="How long a request's body may take to come.")
    write_timeout: float = Field(
        default=30.0, gt=0, description="How long a client may leave what it is sent unread."
    )
    idle_timeout: float = Field(
        default=60.0, gt=0, description="How long a connection stays open between two requests."
    )
    max_connections: int = Field(default=512, gt=0, description="Connections at a time.")
    max_watchers: int = Field(
        default=64, gt=0, description="Live views of the page, or of other clients, at a time."
    )

    @field_validator("token")
    @classmethod
    def _digested(cls, value: str | None) -> str | None:
        return checked_secret(value)

    @field_validator("clients")
    @classmethod
    def _named(cls, value: dict[str, ClientOptions]) -> dict[str, ClientOptions]:
        for name in value:
            if not _NAME.fullmatch(name):
                raise ValueError("a client's name is at most 64 letters, digits, '.', '_' and '-'")
            if name in TAKEN:
                raise ValueError(f"no client may be called {name}: so is whoever has no key of their own")
        return value

    @model_validator(mode="after")
    def _guarded(self) -> GatewayOptions:
        if sum(place is not None for place in (self.token, self.token_env, self.token_file)) > 1:
            raise ValueError("the token is found in one place: token, token_env or token_file")
        if not self.is_guarded and not is_loopback(self.host):
            raise ValueError(
                f"the gateway listens on {self.host}, where others reach it, only with a token: set "
                f"gateway.token, token_env, token_file or clients, or leave gateway.host at 127.0.0.1"
            )
        return self

    @property
    def is_guarded(self) -> bool:
        """Whether a request needs a token or a key."""
        places = (self.token, self.token_env, self.token_file)
        return bool(self.clients) or any(place is not None for place in places)


def checked_secret(value: str | None) -> str | None:
    """The secret's digest; `ValueError` for one that could be guessed."""
    if value is None or _DIGEST.fullmatch(value):
        return value
    if len(value) < _SHORTEST_SECRET:
        raise ValueError(
            f"a secret has at least {_SHORTEST_SECRET} characters; `openssl rand -hex 24` makes one"
        )
    return digest(value)
