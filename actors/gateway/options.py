"""What can be set about the gateway."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class GatewayOptions(BaseModel):
    """Section `gateway` of the settings; times are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(default=False, description="Whether the runtime has a gateway.")
    host: str = Field(
        default="127.0.0.1",
        description="The address that it listens on; anything but loopback takes a token.",
    )
    port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="The port; 0 for any that is free. Left out it is 8700, or any where that is taken.",
    )
    max_body: int = Field(default=8 << 20, gt=0, description="Bytes that a request's body may have.")
