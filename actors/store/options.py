"""What can be set about the store, each with its default and its meaning."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

MEMORY = "memory://"
_SQLITE = "sqlite:///"
_POSTGRES = "postgresql://"


class StoreOptions(BaseModel):
    """Where the store is, how much it commits at once, and what it keeps in order; times are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str | None = Field(
        default=None,
        repr=False,
        description="`sqlite:///` and the path of a file, `postgresql://USER@HOST/DATABASE`, or `memory://`, "
        "which outlives nothing; by default a file in the runtime's data folder, and memory for a runtime "
        "inside one process. A password in it is shown nowhere; `~/.pgpass` of the store's machine is read.",
    )
    group_operations: int = Field(
        default=2_000, ge=1, description="Operations that are committed together, at most."
    )
    group_bytes: int = Field(
        default=8 << 20, ge=1, description="Bytes that are committed together, at most, but for one batch."
    )
    busy_timeout: float = Field(
        default=2.0, gt=0, description="How long a commit waits for what another process has locked."
    )
    connect_timeout: float = Field(
        default=5.0, ge=1, description="How long a connection to a PostgreSQL server may take."
    )
    tidy_interval: float = Field(
        default=60.0, gt=0, description="How often what has grown too old is removed and space given back."
    )

    kept_turns: int = Field(
        default=1_000, ge=1, description="Finished turns that are kept of a session, and answered approvals."
    )
    turn_age: float | None = Field(
        default=None, gt=0, description="How long finished turns and answered approvals are kept at most."
    )
    session_age: float | None = Field(
        default=None,
        gt=0,
        description="How long a closed session is kept; for ever if unset.",
    )

    kept_responses: int = Field(
        default=10_000, ge=0, description="Models' answers that are kept for equal requests, of all pools."
    )
    kept_response_bytes: int = Field(
        default=256 << 20, ge=0, description="Bytes of such answers that are kept."
    )

    @field_validator("url")
    @classmethod
    def _known(cls, url: str | None) -> str | None:
        if url is None or url == MEMORY or (url.startswith(_SQLITE) and len(url) > len(_SQLITE)):
            return url
        if is_postgres(url):
            return url
        raise ValueError(f"the store is at {_SQLITE}PATH, {_POSTGRES}USER@HOST/DATABASE or {MEMORY}")


def sqlite_path(url: str) -> str:
    """The file that a `sqlite:///` URL names."""
    return url.removeprefix(_SQLITE)


def is_postgres(url: str) -> bool:
    """Whether the URL names a database of a PostgreSQL server."""
    return url.startswith(_POSTGRES) and len(url) > len(_POSTGRES)
