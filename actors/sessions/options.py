"""What can be set about sessions, each with its default and its meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

# What becomes of a tool call that was under way when its process died and that may not run twice: its
# model is told that the outcome is unknown, somebody is asked, or the turn fails.
RecoveryPolicy = Literal["retry", "ask", "fail"]


class SessionOptions(BaseModel):
    """Where sessions live, how many, and the bounds of each; times are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    placement: Literal["dedicated", "pooled"] = Field(
        default="dedicated",
        description="an actor for each session, or many in one for those whose code may share a process",
    )
    slots: int = Field(default=1_000, ge=1, description="sessions that one actor of pooled ones takes")
    warm: int = Field(default=1, ge=0, description="blank actors kept ready, so that opening waits for none")
    starting: int = Field(default=4, ge=1, description="actors for sessions that start at the same time")
    idle: float = Field(
        default=300.0,
        gt=0,
        description="seconds unused after which a session is stored and leaves its actor",
    )
    open_sessions: int = Field(
        default=10_000, ge=1, description="sessions that live in actors before more are refused"
    )
    waiting: int = Field(
        default=100, ge=1, description="actors that sessions wait for before more are refused"
    )
    max_steps: int = Field(default=16, ge=1, le=1000, description="model calls in one turn before it fails")
    parallel_tools: int = Field(
        default=8, ge=1, description="tool calls of one step that run at the same time"
    )
    tool_timeout: float = Field(
        default=60.0, gt=0, description="seconds for a tool that sets no timeout itself"
    )
    tool_start: float = Field(
        default=60.0,
        gt=0,
        description="seconds that a tool which runs elsewhere may wait for its process, or for room on the "
        "cluster, before its own time begins",
    )
    process_memory: int | None = Field(
        default=2 * 1024 * 1024 * 1024,
        ge=1024 * 1024,
        description="bytes that a call of a process tool may take which sets no memory itself; "
        "none: no bound",
    )
    tool_result_bytes: int = Field(
        default=256 * 1024,
        ge=1024,
        description="bytes of one tool result; what is beyond is cut, with a note",
    )
    tool_progress_bytes: int = Field(
        default=1024 * 1024,
        ge=0,
        description="bytes of progress that one tool call may report; what is beyond is left out",
    )
    secrets_folder: Path | None = Field(
        default=None,
        description="folder with a file for each secret of tools, on the node that runs the tool; without "
        "one, or without the file, LLMGINE_SECRET_NAME in that node's environment",
    )
    abandoned_threads: int = Field(
        default=8,
        ge=1,
        description="timed-out threads of tools still running before the process is unhealthy",
    )
    turn_deadline: float = Field(
        default=600.0, gt=0, description="seconds for a turn that sets no deadline itself, waiting included"
    )
    queue: int = Field(
        default=100, ge=1, description="turns that wait in one session before more are refused"
    )
    finished_turns: int = Field(
        default=100, ge=1, description="finished turns whose events can still be read"
    )
    finished_bytes: int = Field(
        default=64 * 1024 * 1024, ge=1024, description="bytes of events kept of finished turns altogether"
    )
    recovery: RecoveryPolicy = Field(
        default="retry",
        description="what becomes of a tool call that was under way when its process died and that may not "
        "run twice: `retry` tells the model that its outcome is unknown, `ask` waits for an approval to run "
        "it again, `fail` fails the turn",
    )
    approval_expiry: float | None = Field(
        default=86_400.0,
        gt=0,
        description="seconds that a tool call waits for leave before it counts as denied; null for ever",
    )
    store_timeout: float = Field(
        default=10.0, gt=0, description="seconds that a turn waits for the store to keep it before it fails"
    )
    blob_bytes: int = Field(
        default=16 * 1024,
        ge=1024,
        description="bytes of a text or a medium above which it is kept once, beside the journal",
    )
    snapshot_entries: int = Field(
        default=500, ge=1, description="entries of a session's journal before a snapshot takes their place"
    )
    snapshot_bytes: int = Field(
        default=1024 * 1024, ge=1024, description="bytes of a session's journal before a snapshot is taken"
    )
