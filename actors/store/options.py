"""What can be set about the store, each with its default and its meaning."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

MEMORY = "memory://"
_SQLITE = "sqlite:///"


class StoreOptions(BaseModel):
    """Where the store is, how much it commits at once, and what it keeps in order; times are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str | None = Field(
        default=None,
        description="`sqlite:///` and the path of a file, or `memory://`, which outlives nothing; by default "
        "a file in the runtime's data folder, and memory for a runtime inside one process.",
    )
    group_operations: int = Field(
        default=2_000, ge=1, description="Operations that are committed together, at most."
    )
    group_bytes: int = Field(
        default=8 << 20, ge=1, description="Bytes that are committed together, at most, but for one batch."
    )
    busy_timeout: float = Field(
        default=2.0, gt=0, description="How long a commit waits where another process has locked the file."
    )
    tidy_interval: float = Field(
        default=60.0, gt=0, description="How often what has grown too old is removed and space given back."
    )

    @field_validator("url")
    @classmethod
    def _known(cls, url: str | None) -> str | None:
        if url is None or url == MEMORY or (url.startswith(_SQLITE) and len(url) > len(_SQLITE)):
            return url
        raise ValueError(f"the store is at {_SQLITE}PATH or {MEMORY}, not at {url!r}")


def sqlite_path(url: str) -> str:
    """The file that a `sqlite:///` URL names."""
    return url.removeprefix(_SQLITE)
