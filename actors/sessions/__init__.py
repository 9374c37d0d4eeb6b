"""Sessions: conversations, their tools, their turns, and the driver's side of them."""

from llmgine.actors.code import CodeUnavailable, UnsendableCode
from llmgine.actors.sessions.client.client import SessionClient, TurnClient, new_turn_id, session_of
from llmgine.actors.sessions.context.store import ContextStore
from llmgine.actors.sessions.errors import (
    ContextError,
    EngineFailed,
    SessionClosed,
    SessionError,
    SessionLost,
    SessionOverloaded,
    StepLimit,
    ToolDefinitionError,
    TurnCancelled,
    TurnDeadline,
    TurnError,
    UnknownTurn,
)
from llmgine.actors.sessions.messages import (
    SessionEnded,
    SessionStarted,
    ToolCompleted,
    TurnCompleted,
    TurnStarted,
)
from llmgine.actors.sessions.options import SessionOptions
from llmgine.actors.sessions.running.engines import (
    CallModel,
    Engine,
    Finish,
    RunTools,
    SinglePassEngine,
    ToolChatEngine,
    TurnView,
)
from llmgine.actors.sessions.tools.tool import Tool, as_tools, tool
from llmgine.actors.sessions.turns.events import (
    Reply,
    StepStarted,
    ToolCall,
    ToolCalled,
    ToolReturned,
    TurnDone,
    TurnEvent,
    TurnFailed,
)

__all__ = [
    "CallModel",
    "CodeUnavailable",
    "ContextError",
    "ContextStore",
    "Engine",
    "EngineFailed",
    "Finish",
    "Reply",
    "RunTools",
    "SessionClient",
    "SessionClosed",
    "SessionEnded",
    "SessionError",
    "SessionLost",
    "SessionOptions",
    "SessionOverloaded",
    "SessionStarted",
    "SinglePassEngine",
    "StepLimit",
    "StepStarted",
    "Tool",
    "ToolCall",
    "ToolCalled",
    "ToolChatEngine",
    "ToolCompleted",
    "ToolDefinitionError",
    "ToolReturned",
    "TurnCancelled",
    "TurnClient",
    "TurnCompleted",
    "TurnDeadline",
    "TurnDone",
    "TurnError",
    "TurnEvent",
    "TurnFailed",
    "TurnStarted",
    "TurnView",
    "UnknownTurn",
    "UnsendableCode",
    "as_tools",
    "new_turn_id",
    "session_of",
    "tool",
]
