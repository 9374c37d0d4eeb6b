"""The settings of links."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

MIB = 1024 * 1024


class LinkOptions(BaseModel):
    """How large, how many and how long; the defaults fit a runtime of thousands of sessions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_frame_bytes: int = Field(
        default=16 * MIB, ge=4096, le=1024 * MIB, description="Largest frame that this side accepts."
    )
    window_messages: PositiveInt = Field(
        default=1024, description="Messages that a peer may send on one stream before they are consumed."
    )
    window_bytes: PositiveInt = Field(
        default=4 * MIB,
        description="Bytes that a peer may send on one stream before they are consumed; the message that "
        "crosses the limit is still allowed.",
    )
    max_streams: PositiveInt = Field(
        default=65_536,
        description="Streams that the peer may have open on one connection, and as many for us.",
    )
    authentication_timeout: PositiveFloat = Field(
        default=5.0, description="Seconds in which a new connection must have proved that it belongs here."
    )
    max_unauthenticated: PositiveInt = Field(
        default=1024, description="New connections that may be waiting for their proof at one time."
    )
    ping_idle: PositiveFloat = Field(
        default=5.0, description="Seconds without a byte from the peer after which it is asked for one."
    )
    silence_limit: PositiveFloat = Field(
        default=15.0, description="Seconds without a byte from the peer after which the connection is closed."
    )
    linger: PositiveFloat = Field(
        default=1.0, description="Seconds that a closing connection may take to send what is written."
    )
