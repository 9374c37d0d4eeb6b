"""The one table of names that spans, attributes and metrics bear.

`gen_ai.*` and `messaging.*` are OpenTelemetry's at the version below; none of them is declared stable
there, so they are written out here and nothing is imported. `llmgine.*` is ours, for what those
conventions do not name. Metrics of the bus keep short names that existing dashboards know.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

SEMANTIC_CONVENTIONS = "1.41.1"
SYSTEM = "llmgine"  # value of messaging.system
CONTENT_PREFIX = "llmgine.content."  # attributes below it count as content

# --- attributes: errors and servers
ERROR_TYPE = "error.type"
EXCEPTION_MESSAGE = "exception.message"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
HTTP_REQUEST_METHOD = "http.request.method"
HTTP_ROUTE = "http.route"
HTTP_RESPONSE_STATUS_CODE = "http.response.status_code"

SESSION_ID = "session.id"

# --- attributes: generative AI
GEN_AI_OPERATION_NAME = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME = "gen_ai.provider.name"
GEN_AI_CONVERSATION_ID = "gen_ai.conversation.id"
GEN_AI_OUTPUT_TYPE = "gen_ai.output.type"
GEN_AI_AGENT_ID = "gen_ai.agent.id"
GEN_AI_AGENT_NAME = "gen_ai.agent.name"
GEN_AI_AGENT_DESCRIPTION = "gen_ai.agent.description"
GEN_AI_AGENT_VERSION = "gen_ai.agent.version"
GEN_AI_WORKFLOW_NAME = "gen_ai.workflow.name"
GEN_AI_REQUEST_MODEL = "gen_ai.request.model"
GEN_AI_REQUEST_STREAM = "gen_ai.request.stream"
GEN_AI_REQUEST_SEED = "gen_ai.request.seed"
GEN_AI_REQUEST_CHOICE_COUNT = "gen_ai.request.choice.count"
GEN_AI_REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
GEN_AI_REQUEST_TEMPERATURE = "gen_ai.request.temperature"
GEN_AI_REQUEST_TOP_K = "gen_ai.request.top_k"
GEN_AI_REQUEST_TOP_P = "gen_ai.request.top_p"
GEN_AI_REQUEST_FREQUENCY_PENALTY = "gen_ai.request.frequency_penalty"
GEN_AI_REQUEST_PRESENCE_PENALTY = "gen_ai.request.presence_penalty"
GEN_AI_REQUEST_STOP_SEQUENCES = "gen_ai.request.stop_sequences"
GEN_AI_REQUEST_ENCODING_FORMATS = "gen_ai.request.encoding_formats"
GEN_AI_RESPONSE_ID = "gen_ai.response.id"
GEN_AI_RESPONSE_MODEL = "gen_ai.response.model"
GEN_AI_RESPONSE_FINISH_REASONS = "gen_ai.response.finish_reasons"
GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"  # seconds, float
GEN_AI_USAGE_INPUT_TOKENS = "gen_ai.usage.input_tokens"  # cached tokens included
GEN_AI_USAGE_OUTPUT_TOKENS = "gen_ai.usage.output_tokens"  # reasoning tokens included
GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS = "gen_ai.usage.cache_creation.input_tokens"
GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS = "gen_ai.usage.cache_write.input_tokens"  # its name after 1.41.1
GEN_AI_USAGE_REASONING_OUTPUT_TOKENS = "gen_ai.usage.reasoning.output_tokens"
GEN_AI_TOKEN_TYPE = "gen_ai.token.type"
GEN_AI_EMBEDDINGS_DIMENSION_COUNT = "gen_ai.embeddings.dimension.count"
GEN_AI_DATA_SOURCE_ID = "gen_ai.data_source.id"
GEN_AI_TOOL_NAME = "gen_ai.tool.name"
GEN_AI_TOOL_TYPE = "gen_ai.tool.type"
GEN_AI_TOOL_DESCRIPTION = "gen_ai.tool.description"
GEN_AI_TOOL_CALL_ID = "gen_ai.tool.call.id"

# --- attributes: content, recorded only where it is switched on
GEN_AI_INPUT_MESSAGES = "gen_ai.input.messages"
GEN_AI_OUTPUT_MESSAGES = "gen_ai.output.messages"
GEN_AI_SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
GEN_AI_TOOL_DEFINITIONS = "gen_ai.tool.definitions"
GEN_AI_TOOL_CALL_ARGUMENTS = "gen_ai.tool.call.arguments"
GEN_AI_TOOL_CALL_RESULT = "gen_ai.tool.call.result"
GEN_AI_RETRIEVAL_DOCUMENTS = "gen_ai.retrieval.documents"
GEN_AI_RETRIEVAL_QUERY_TEXT = "gen_ai.retrieval.query.text"

# --- attributes: messaging
MESSAGING_SYSTEM = "messaging.system"
MESSAGING_OPERATION_NAME = "messaging.operation.name"
MESSAGING_OPERATION_TYPE = "messaging.operation.type"
MESSAGING_DESTINATION_NAME = "messaging.destination.name"
MESSAGING_DESTINATION_TEMPLATE = "messaging.destination.template"
MESSAGING_DESTINATION_PARTITION_ID = "messaging.destination.partition.id"
MESSAGING_CLIENT_ID = "messaging.client.id"
MESSAGING_MESSAGE_ID = "messaging.message.id"
MESSAGING_MESSAGE_CONVERSATION_ID = "messaging.message.conversation_id"
MESSAGING_MESSAGE_BODY_SIZE = "messaging.message.body.size"
MESSAGING_MESSAGE_ENVELOPE_SIZE = "messaging.message.envelope.size"
MESSAGING_BATCH_MESSAGE_COUNT = "messaging.batch.message_count"

# --- attributes: llmgine
LLMGINE_RUNTIME = "llmgine.runtime"
LLMGINE_SOURCE = "llmgine.source"
LLMGINE_SESSION_ID = "llmgine.session.id"
LLMGINE_SESSION_OPENING = "llmgine.session.opening"
LLMGINE_TURN_ID = "llmgine.turn.id"
LLMGINE_TURN_STEP = "llmgine.turn.step"
LLMGINE_TURN_STEPS = "llmgine.turn.steps"
LLMGINE_COST_USD = "llmgine.cost.usd"  # exact decimal as text; absent where the cost is unknown
LLMGINE_QUEUE_WAIT = "llmgine.queue.wait"  # seconds, float
LLMGINE_RESPONSE_CHUNKS = "llmgine.response.chunks"  # events of a streamed answer
LLMGINE_RESPONSE_PARTS = "llmgine.response.parts"  # whole texts, thoughts and calls of a streamed answer
LLMGINE_RESPONSE_TIME_PER_CHUNK = "llmgine.response.time_per_chunk"  # seconds, float: mean after the first
LLMGINE_KEY = "llmgine.key"  # the name of the provider key that served, never the key
LLMGINE_POOL = "llmgine.pool"
LLMGINE_PROVIDER_ACTOR = "llmgine.provider.actor"
LLMGINE_CACHED = "llmgine.cached"  # whether it is the answer to an equal request
LLMGINE_CACHE_PLACE = "llmgine.cache.place"  # where that was found: kept, stored, shared
LLMGINE_BATCH_ID = "llmgine.batch.id"  # of the provider's batch that an answer stood in
LLMGINE_ATTEMPT = "llmgine.attempt"
LLMGINE_ERROR_PHASE = "llmgine.error.phase"
LLMGINE_ERROR_RETRYABLE = "llmgine.error.retryable"
LLMGINE_TOOL_OK = "llmgine.tool.ok"
LLMGINE_APPROVAL_ID = "llmgine.approval.id"
LLMGINE_APPROVAL_STATE = "llmgine.approval.state"
LLMGINE_HANDLER = "llmgine.handler"
LLMGINE_HANDLER_SCOPE = "llmgine.handler.scope"
LLMGINE_HANDLER_OUTCOME = "llmgine.handler.outcome"
LLMGINE_EVENT_TYPE = "llmgine.event.type"
LLMGINE_COMMAND_TYPE = "llmgine.command.type"
LLMGINE_CAUSAL_DEPTH = "llmgine.causal_depth"
PROCESS_PID = "process.pid"
HOST_NAME = "host.name"
OPENINFERENCE_SPAN_KIND = "openinference.span.kind"

_ATTRIBUTE_ROOTS = (
    "ERROR_",
    "EXCEPTION_",
    "SERVER_",
    "HTTP_",
    "SESSION_",
    "GEN_AI_",
    "MESSAGING_",
    "LLMGINE_",
    "OPENINFERENCE_",
    "PROCESS_",
    "HOST_",
)
ATTRIBUTES = frozenset(value for name, value in dict(globals()).items() if name.startswith(_ATTRIBUTE_ROOTS))

CONTENT_ATTRIBUTES = frozenset(
    {
        GEN_AI_INPUT_MESSAGES,
        GEN_AI_OUTPUT_MESSAGES,
        GEN_AI_SYSTEM_INSTRUCTIONS,
        GEN_AI_TOOL_DEFINITIONS,
        GEN_AI_TOOL_CALL_ARGUMENTS,
        GEN_AI_TOOL_CALL_RESULT,
        GEN_AI_RETRIEVAL_DOCUMENTS,
        GEN_AI_RETRIEVAL_QUERY_TEXT,
        EXCEPTION_MESSAGE,  # it may quote anything
    }
)

# --- values of error.type that llmgine itself gives
ACTOR_DIED = "actor_died"  # the process of the span is gone; the span was closed for it
UNFINISHED = "unfinished"  # the process left in order without ending the span
CANCELLED = "cancelled"

# --- span kinds
SpanKind = Literal["internal", "server", "client", "producer", "consumer"]
SPAN_KINDS: tuple[SpanKind, ...] = ("internal", "server", "client", "producer", "consumer")

# --- operations: values of gen_ai.operation.name and of messaging.operation.*
OPERATION_CHAT = "chat"
OPERATION_GENERATE_CONTENT = "generate_content"
OPERATION_TEXT_COMPLETION = "text_completion"
OPERATION_EMBEDDINGS = "embeddings"
OPERATION_RETRIEVAL = "retrieval"
OPERATION_CREATE_AGENT = "create_agent"
OPERATION_INVOKE_AGENT = "invoke_agent"
OPERATION_INVOKE_WORKFLOW = "invoke_workflow"
OPERATION_EXECUTE_TOOL = "execute_tool"
OPERATION_SEND = "send"
OPERATION_ROUTE = "route"
OPERATION_PROCESS = "process"

INFERENCE_OPERATIONS = frozenset({OPERATION_CHAT, OPERATION_GENERATE_CONTENT, OPERATION_TEXT_COMPLETION})

# --- span names
SPAN_POOL_CALL = "pool call"
SPAN_BATCH = "read batch"  # the answers of a provider's batch, which stand below it


def driver_span(verb: str) -> str:
    """`ask turn`: a driver asks a session for a turn, until it has what the verb is for."""
    return f"{verb} turn"


def inference_span(operation: str, model: str) -> str:
    """`chat gpt-4o`: one call of a model."""
    return f"{operation} {model}"


def tool_span(tool: str) -> str:
    """`execute_tool get_weather`."""
    return f"{OPERATION_EXECUTE_TOOL} {tool}"


def turn_span(agent: str = "") -> str:
    """`invoke_agent assistant`: one turn of a session, seen as a run of its agent."""
    return f"{OPERATION_INVOKE_AGENT} {agent}".rstrip()


def messaging_span(operation: str, destination: str) -> str:
    """`process OrderPlaced`: one hop on the bus; the destination is of low cardinality (a type name)."""
    return f"{operation} {destination}"


def tool_run_span(tool: str) -> str:
    """`run get_weather`: a tool in a process of its own, below its call in the session's process."""
    return f"run {tool}"


# --- span events
EVENT_ATTEMPT = (
    "llmgine.call.attempt"  # a try at a model call that came to nothing, and was followed by another
)
EVENT_RESET = "llmgine.call.reset"  # what had been heard of an answer is void
EVENT_TOOL_PROGRESS = "llmgine.tool.progress"
EVENT_STEERED = "llmgine.turn.steered"  # something that was said to a running turn is in its conversation
EVENT_TURN_SUSPENDED = "llmgine.turn.suspended"  # it does nothing any more but wait for approvals
EVENT_TURN_WENT_ON = "llmgine.turn.went_on"
EVENT_TURN_RESUMED = "llmgine.turn.resumed"  # in another process, after the one that ran it died or slept
EVENT_APPROVAL_NEEDED = "llmgine.approval.needed"
EVENT_APPROVAL_SETTLED = "llmgine.approval.settled"

# --- provider names: ours to the conventions'
PROVIDER_NAMES = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
}
_GENERATE_CONTENT = frozenset({"gemini", "vertex"})


def inference_operation(provider: str) -> str:
    """The value of gen_ai.operation.name for calls of its models; `chat` where the provider is unknown."""
    return OPERATION_GENERATE_CONTENT if provider in _GENERATE_CONTENT else OPERATION_CHAT


def provider_name(provider: str) -> str:
    """The value of gen_ai.provider.name; a provider without a well-known name keeps its own."""
    return PROVIDER_NAMES.get(provider, provider)


# --- metrics
class Metric(NamedTuple):
    """What a metric counts, in which unit, and the labels it may bear."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    description: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


GEN_AI_SECONDS = tuple(0.01 * 2**power for power in range(14))
MESSAGING_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
BUS_SECONDS = (0.001, 0.0025, *MESSAGING_SECONDS, 30.0)
CHUNK_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5)
TOKENS = tuple(float(4**power) for power in range(14))

METRIC_EVENTS_PUBLISHED = "events_published_total"
METRIC_EVENTS_PROCESSED = "events_processed_total"
METRIC_EVENTS_FAILED = "events_failed_total"
METRIC_COMMANDS_SENT = "commands_sent_total"
METRIC_COMMANDS_PROCESSED = "commands_processed_total"
METRIC_COMMANDS_FAILED = "commands_failed_total"
METRIC_EVENT_SECONDS = "event_processing_duration_seconds"
METRIC_COMMAND_SECONDS = "command_processing_duration_seconds"
METRIC_QUEUE_SIZE = "queue_size"
METRIC_BACKPRESSURE_ACTIVE = "backpressure_active"
METRIC_BREAKER_STATE = "circuit_breaker_state"
METRIC_DEAD_LETTERS = "dead_letter_queue_size"
METRIC_ACTIVE_SESSIONS = "active_sessions"
METRIC_REGISTERED_HANDLERS = "registered_handlers"
METRIC_TOKEN_USAGE = "gen_ai.client.token.usage"
METRIC_OPERATION_DURATION = "gen_ai.client.operation.duration"
METRIC_TIME_TO_FIRST_CHUNK = "gen_ai.client.operation.time_to_first_chunk"
METRIC_TIME_PER_OUTPUT_CHUNK = "gen_ai.client.operation.time_per_output_chunk"
METRIC_MESSAGES_SENT = "messaging.client.sent.messages"
METRIC_MESSAGES_CONSUMED = "messaging.client.consumed.messages"
METRIC_PROCESS_DURATION = "messaging.process.duration"
METRIC_COST = "llmgine.cost.usd_total"
METRIC_CHUNKS = "llmgine.response.chunks_total"
METRIC_PARTS = "llmgine.response.parts_total"
METRIC_RUNTIME_EVENTS = "llmgine.runtime_events_total"
METRIC_TURNS = "llmgine.turns_total"
METRIC_TURN_SECONDS = "llmgine.turn.duration"
METRIC_TOOL_CALLS = "llmgine.tool_calls_total"
METRIC_TOOL_SECONDS = "llmgine.tool.duration"
METRIC_QUEUE_WAIT = "llmgine.queue.wait.duration"
METRIC_IN_FLIGHT = "llmgine.calls_in_flight"
METRIC_GATEWAY_REFUSED = "llmgine.gateway.refused_total"
METRIC_SPANS_LOST = "llmgine.telemetry.spans_lost_total"
METRIC_SPANS_STRIPPED = "llmgine.telemetry.spans_stripped_total"
METRIC_SERIES_OVERFLOW = "llmgine.telemetry.series_overflow_total"
METRIC_REDACTION_FAILED = "llmgine.telemetry.redaction_failed_total"

_MODEL = (GEN_AI_OPERATION_NAME, GEN_AI_PROVIDER_NAME, GEN_AI_REQUEST_MODEL)
_MESSAGING = (MESSAGING_SYSTEM, MESSAGING_OPERATION_NAME, MESSAGING_DESTINATION_NAME, ERROR_TYPE)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(METRIC_EVENTS_PUBLISHED, "counter", "{event}", "Events that publishers handed to the bus"),
        Metric(METRIC_EVENTS_PROCESSED, "counter", "{event}", "Deliveries whose handler finished"),
        Metric(METRIC_EVENTS_FAILED, "counter", "{event}", "Deliveries whose handler failed for good"),
        Metric(METRIC_COMMANDS_SENT, "counter", "{command}", "Commands handed to the bus"),
        Metric(METRIC_COMMANDS_PROCESSED, "counter", "{command}", "Commands whose handler answered"),
        Metric(METRIC_COMMANDS_FAILED, "counter", "{command}", "Commands with a failed result"),
        Metric(METRIC_EVENT_SECONDS, "histogram", "s", "One attempt of an event handler", (), BUS_SECONDS),
        Metric(METRIC_COMMAND_SECONDS, "histogram", "s", "One run of a command handler", (), BUS_SECONDS),
        Metric(METRIC_QUEUE_SIZE, "gauge", "{message}", "Messages waiting in mailboxes", ("handler",)),
        Metric(METRIC_BACKPRESSURE_ACTIVE, "gauge", "1", "Mailboxes above their high mark", ("handler",)),
        Metric(METRIC_BREAKER_STATE, "gauge", "1", "0 closed, 1 half-open, 2 open", ("handler",)),
        Metric(METRIC_DEAD_LETTERS, "gauge", "{message}", "Dead letters kept"),
        Metric(METRIC_ACTIVE_SESSIONS, "gauge", "{session}", "Sessions open now"),
        Metric(METRIC_REGISTERED_HANDLERS, "gauge", "{handler}", "Handlers registered now"),
        Metric(
            METRIC_TOKEN_USAGE,
            "histogram",
            "{token}",
            "Tokens of one model call",
            (*_MODEL, GEN_AI_TOKEN_TYPE),
            TOKENS,
        ),
        Metric(
            METRIC_OPERATION_DURATION,
            "histogram",
            "s",
            "One model call, begin to end",
            (*_MODEL, ERROR_TYPE),
            GEN_AI_SECONDS,
        ),
        Metric(
            METRIC_TIME_TO_FIRST_CHUNK,
            "histogram",
            "s",
            "Begin of a model call to its first chunk",
            _MODEL,
            GEN_AI_SECONDS,
        ),
        Metric(
            METRIC_TIME_PER_OUTPUT_CHUNK,
            "histogram",
            "s",
            "Between two chunks of a model call",
            _MODEL,
            CHUNK_SECONDS,
        ),
        Metric(METRIC_MESSAGES_SENT, "counter", "{message}", "Messages that producers sent", _MESSAGING),
        Metric(METRIC_MESSAGES_CONSUMED, "counter", "{message}", "Messages given to consumers", _MESSAGING),
        Metric(
            METRIC_PROCESS_DURATION,
            "histogram",
            "s",
            "One message in its handler",
            _MESSAGING,
            MESSAGING_SECONDS,
        ),
        Metric(METRIC_COST, "counter", "USD", "What model calls cost, where that is known", _MODEL),
        Metric(METRIC_CHUNKS, "counter", "{chunk}", "Pieces of streamed answers", _MODEL),
        Metric(METRIC_PARTS, "counter", "{part}", "Whole parts of streamed answers", _MODEL),
        Metric(
            METRIC_RUNTIME_EVENTS,
            "counter",
            "{event}",
            "Events that the runtime itself has told on the bus",
            (LLMGINE_EVENT_TYPE,),
        ),
        Metric(METRIC_TURNS, "counter", "{turn}", "Turns that ended", (ERROR_TYPE,)),
        Metric(METRIC_TURN_SECONDS, "histogram", "s", "One turn", (ERROR_TYPE,), GEN_AI_SECONDS),
        Metric(
            METRIC_TOOL_CALLS, "counter", "{call}", "Tool calls that ended", (GEN_AI_TOOL_NAME, ERROR_TYPE)
        ),
        Metric(
            METRIC_TOOL_SECONDS,
            "histogram",
            "s",
            "One tool call",
            (GEN_AI_TOOL_NAME, ERROR_TYPE),
            GEN_AI_SECONDS,
        ),
        Metric(
            METRIC_QUEUE_WAIT, "histogram", "s", "Waiting for a provider actor", ("pool",), GEN_AI_SECONDS
        ),
        Metric(METRIC_IN_FLIGHT, "gauge", "{call}", "Model calls in flight", ("pool",)),
        Metric(
            METRIC_GATEWAY_REFUSED,
            "counter",
            "{request}",
            "Requests that the gateway refused, and clients that it cut off",
            ("reason",),
        ),
        Metric(METRIC_SPANS_LOST, "counter", "{span}", "Span records that a full ring dropped"),
        Metric(METRIC_SPANS_STRIPPED, "counter", "{span}", "Span records without what could not be read"),
        Metric(METRIC_SERIES_OVERFLOW, "counter", "{series}", "Label sets beyond the limit of one metric"),
        Metric(METRIC_REDACTION_FAILED, "counter", "{span}", "Records stripped, the redaction hook failed"),
    )
}

# Labels whose values have no bound: a series per session would outgrow any store of metrics.
FORBIDDEN_LABELS = frozenset(
    {
        "session",
        "session_id",
        "turn",
        "turn_id",
        "trace_id",
        "span_id",
        "message_id",
        "request_id",
        GEN_AI_CONVERSATION_ID,
        GEN_AI_RESPONSE_ID,
        GEN_AI_TOOL_CALL_ID,
        LLMGINE_SESSION_ID,
        LLMGINE_TURN_ID,
        MESSAGING_MESSAGE_ID,
        MESSAGING_MESSAGE_CONVERSATION_ID,
    }
)


class Shown(NamedTuple):
    """How an event class shows: as what, and under which name; of a span the name's first word."""

    kind: Literal["span", "span event", "counter"]
    name: str


_TURN, _CALL = Shown("span", OPERATION_INVOKE_AGENT), Shown("span", OPERATION_CHAT)
_TOOL, _CHUNK = Shown("span", OPERATION_EXECUTE_TOOL), Shown("counter", METRIC_CHUNKS)
_TOLD = Shown("counter", METRIC_RUNTIME_EVENTS)

# Every event class of ours, by its name: what a model's stream is made of, a turn's, and those on the bus.
EVENTS: dict[str, Shown] = {
    "ApprovalAnswered": _TOLD,
    "ApprovalNeeded": Shown("span event", EVENT_APPROVAL_NEEDED),
    "ApprovalRequested": _TOLD,
    "ApprovalSettled": Shown("span event", EVENT_APPROVAL_SETTLED),
    "DeadLettered": Shown("counter", METRIC_EVENTS_FAILED),
    "Done": _CALL,
    "Failed": _CALL,
    "PartDone": Shown("counter", METRIC_PARTS),
    "Reset": Shown("span event", EVENT_RESET),
    "SessionEnded": _TOLD,
    "SessionPassivated": _TOLD,
    "SessionStarted": _TOLD,
    "SessionWoken": _TOLD,
    "Steered": Shown("span event", EVENT_STEERED),
    "StepStarted": _CALL,
    "StreamDelta": _TOLD,
    "TextDelta": _CHUNK,
    "ThinkingDelta": _CHUNK,
    "ToolCallDelta": _CHUNK,
    "ToolCallStart": _CHUNK,
    "ToolCalled": _TOOL,
    "ToolCompleted": _TOLD,
    "ToolProgress": Shown("span event", EVENT_TOOL_PROGRESS),
    "ToolProgressed": _TOLD,
    "ToolReturned": _TOOL,
    "ToolStarted": _TOLD,
    "TurnCompleted": _TOLD,
    "TurnDone": _TURN,
    "TurnFailed": _TURN,
    "TurnReset": Shown("span event", EVENT_TURN_RESUMED),
    "TurnStarted": _TOLD,
    "TurnSuspended": Shown("span event", EVENT_TURN_SUSPENDED),
}
