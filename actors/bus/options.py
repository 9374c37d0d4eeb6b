"""What can be set on the bus, with the defaults that were decided for it."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmgine.actors.bus.policies import BreakerPolicy, RetryPolicy


class BusOptions(BaseModel):
    """Settings of the bus, for the router and for every client; all times are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shards: int = Field(
        1, ge=1, description="Router actors that share the sessions; fixed for the life of a runtime."
    )
    mailbox_capacity: int = Field(
        10_000, ge=1, description="Deliveries that wait for one subscription, at most."
    )
    high_mark: float = Field(0.8, gt=0, le=1, description="Share of the capacity at which pressure turns on.")
    low_mark: float = Field(0.5, ge=0, lt=1, description="Share of the capacity at which pressure turns off.")
    mailbox_bytes: int = Field(256 << 20, ge=1, description="Bytes that wait for one subscription, at most.")
    reserve: float = Field(
        0.25,
        ge=0,
        lt=1,
        description="Share of a blocking mailbox that is kept for what handlers themselves publish.",
    )
    adaptive_delay: float = Field(
        1.0, gt=0, description="How long an adaptive mailbox holds back a publish when it is nearly full."
    )
    block_timeout: float = Field(
        5.0, gt=0, description="How long a publish waits for room in a full mailbox."
    )
    handler_deadline: float = Field(30.0, gt=0, description="How long one attempt of a handler may take.")
    handler_concurrency: int = Field(16, ge=1, description="Attempts that one handler runs at a time.")
    prefetch: int = Field(1_024, ge=1, description="Deliveries on their way to one subscription, at most.")
    max_depth: int = Field(64, ge=1, description="How many publishes may have caused one another.")
    max_payload_bytes: int = Field(8 << 20, ge=1, description="The largest message, packed.")
    max_unadmitted: int = Field(
        1_024, ge=1, description="Messages of one producer and session on their way in."
    )
    max_unsettled: int = Field(
        16_384,
        ge=1,
        description="Span of messages of one producer and session whose handlers are not all done.",
    )
    outbox_bytes: int = Field(
        64 << 20, ge=1, description="Bytes that one client keeps until handlers are done."
    )
    dedup_lines: int = Field(
        16_384,
        ge=2,
        description="Producers and sessions that one handler remembers for duplicate suppression.",
    )
    kept_result_bytes: int = Field(
        64 << 20, ge=0, description="Finished results that one client keeps, packed."
    )
    client_lease: float = Field(
        60.0, gt=0, description="How long the router waits for a client that went away."
    )
    command_deadline: float = Field(
        300.0,
        gt=0,
        description="How long a command may wait and run in all, where `execute` names no deadline.",
    )
    answer_grace: float = Field(
        1.0, gt=0, description="How long a late command waits for the router to say why."
    )
    connect_timeout: float = Field(10.0, gt=0, description="How long a registration waits for the router.")
    drain_timeout: float = Field(10.0, ge=0, description="How long closing a client waits for its outbox.")
    history: int = Field(
        256, ge=0, description="Failures that a router keeps for its report, the latest ones."
    )
    story: int = Field(
        64, ge=0, description="Remarkable events that a router remembers of each handler and each session."
    )
    stories: int = Field(
        10_000, ge=0, description="Handlers and sessions of which a router remembers anything at all."
    )
    retry: RetryPolicy = Field(
        default_factory=RetryPolicy, description="Retries of handlers that name none of their own."
    )
    breaker: BreakerPolicy = Field(
        default_factory=BreakerPolicy,
        description="The circuit breaker of handlers that name none of their own.",
    )
    dead_letters: int = Field(10_000, ge=0, description="Dead letters that are kept; the oldest go first.")
    dead_letter_age: float = Field(
        7 * 86_400.0, gt=0, description="How long a dead letter is kept, in seconds."
    )
    replay_rate: float = Field(100.0, gt=0, description="Dead letters that are replayed in a second.")
    journal_timeout: float = Field(
        5.0, gt=0, description="How long a durable message waits for the store before it is refused."
    )
    misfire_grace: float = Field(
        3_600.0,
        gt=0,
        description="How late a scheduled event may still fire, and how long it waits for a handler.",
    )
    blocked_loop: float = Field(
        1.0,
        gt=0,
        description="How long a handler may keep its loop from other work before it is reported by name.",
    )
    handler_threads: int = Field(
        32, ge=1, description="Threads of one process for handlers that are plain functions."
    )

    @model_validator(mode="after")
    def _marks_in_order(self) -> Self:
        if self.low_mark >= self.high_mark:
            raise ValueError(f"low_mark {self.low_mark} must lie below high_mark {self.high_mark}")
        if self.max_unsettled < self.max_unadmitted:
            raise ValueError("max_unsettled must be at least max_unadmitted")
        return self
