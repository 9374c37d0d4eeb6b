"""Requests on their way: what was sent before is neither written nor read anew, and never wrong for it."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from llmgine.actors.pools.pieces import Recent, RequestReader, RequestWriter
from llmgine.providers import InvalidRequest, LLMRequest, Message
from llmgine.providers.contracts import (
    CacheHints,
    Citation,
    DocumentPart,
    Fallback,
    ImagePart,
    NamedTool,
    OpaquePart,
    Origin,
    OutputSchema,
    Reasoning,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
)

ORIGIN = Origin(provider="openai", api="openai-chat", model="m")
SEEN = TextPart(text="it is ☀ there", citations=(Citation(url="http://a", raw={"at": [1, 2]}),))
CALL = ToolCallPart(
    id="1", name="look", arguments={"where": {"city": "Paris"}}, origin=ORIGIN, provider_data={"item": ["i"]}
)
PICTURE = ImagePart(data=b"\x00\xff", detail="low")
MESSAGES = (
    Message.system("be brief"),
    Message.user("look", PICTURE, DocumentPart(url="http://a/b.pdf", cite=True)),
    Message(role="assistant", parts=(ThinkingPart(text="hm", signature="seal"), CALL)),
    Message(role="tool", parts=(ToolResultPart(call_id="1", content=(SEEN, PICTURE), is_error=True),)),
    Message(role="assistant", parts=(OpaquePart(kind="x", data=[{"a": 1.5}, None]), SEEN)),
)
TOOL = ToolSpec(name="look", parameters={"properties": {"where": {"type": "string"}}}, strict=True)
FULL = LLMRequest(
    model="openai/m",
    fallbacks=(Fallback(model="a/b", on=("server",)),),
    messages=MESSAGES,
    system="you are kind",
    tools=(TOOL,),
    tool_choice=NamedTool(name="look"),
    parallel_tool_calls=False,
    output=OutputSchema(json_schema={"type": "object"}, repairs=0),
    max_output_tokens=7,
    temperature=0,
    top_p=0.5,
    top_k=3,
    presence_penalty=0,
    frequency_penalty=-1,
    stop=("x",),
    seed=0,
    reasoning=Reasoning(effort="low", show=False),
    cache=CacheHints(breakpoints=("tools", -2), ttl=60),
    deadline=5.0,
    idle_timeout=1.0,
    priority="batch",
    mid_stream="restart",
    on_unsupported="adjust",
    idempotency_key="k",
    response_cache=False,
    provider_options={"openai": {"a": {"b": None}}},
    extra_headers={"x": "1"},
)


class Ends:
    """Both ends of the way."""

    def __init__(self, **most: int) -> None:
        self.writer = RequestWriter(**most)
        self.reader = RequestReader(**most)

    def carried(self, request: LLMRequest) -> LLMRequest:
        """What arrives; bytes come as copies, and a named tuple as a list."""
        head, *pieces = self.writer.write(request)
        return self.reader.read([head, *([bytes(bytearray(one)) for one in field] for field in pieces)])


def asked(*messages: Message, **fields: Any) -> LLMRequest:
    return LLMRequest(model="openai/m", messages=messages, **fields)


def test_a_request_arrives_as_it_was() -> None:
    """Every field, the first time, the second and from what is kept."""
    assert FULL.model_fields_set == set(LLMRequest.model_fields)
    ends = Ends()
    for _ in range(4):
        arrived = ends.carried(FULL)
        assert arrived == FULL
        assert arrived.model_dump_json() == FULL.model_dump_json()


def test_what_is_as_by_default_arrives_so() -> None:
    """The head leaves out what need not be said."""
    ends = Ends()
    assert ends.carried(asked(Message.user("hi"))) == asked(Message.user("hi"))
    assert ends.writer.write(asked(Message.user("hi"))).head == b'{"model":"openai/m"}'


def test_what_came_before_is_the_same_object() -> None:
    """From the third time on nothing of it is written or read again."""
    ends = Ends()
    for _ in range(2):
        ends.carried(FULL)
    first, again = ends.writer.write(FULL), ends.writer.write(FULL)
    pairs = [*zip(first.messages, again.messages, strict=True), *zip(first.tools, again.tools, strict=True)]
    assert all(one is other for one, other in pairs)
    read, reread = ends.carried(FULL), ends.carried(asked(*FULL.messages[:3], Message.user("new")))
    assert all(one is other for one, other in zip(read.messages[:3], reread.messages[:3], strict=True))
    assert ends.carried(FULL).tools[0] is read.tools[0]


def test_a_single_request_leaves_nothing_behind() -> None:
    """What comes once is not kept."""
    ends = Ends()
    ends.carried(FULL)
    assert (ends.writer.kept.size, ends.reader.kept.size) == (0, 0)


def test_who_sends_a_changed_dict_sends_what_it_is_now() -> None:
    """Frozen parts hold dicts that are not: what is kept of them is given up."""
    arguments: dict[str, Any] = {"where": {"city": "Paris"}}
    calls = Message(role="assistant", parts=(ToolCallPart(id="1", name="look", arguments=arguments),))
    parameters: dict[str, Any] = {"properties": {}}
    request = asked(calls, tools=(ToolSpec(name="look", parameters=parameters),))
    call = request.messages[0].tool_calls[0]
    ends = Ends()
    for _ in range(3):
        assert ends.carried(request) == request
    assert call.arguments is not None
    call.arguments["where"]["city"] = "Rome"
    assert ends.carried(request).messages[0].tool_calls[0].arguments == {"where": {"city": "Rome"}}
    call.provider_data["new"] = 1
    assert ends.carried(request).messages[0].tool_calls[0].provider_data == {"new": 1}
    request.tools[0].parameters["properties"]["a"] = {"type": "string"}
    assert ends.carried(request) == request


def test_who_changes_what_was_read_changes_no_later_request() -> None:
    """A dict that was changed in one call is as it was sent in the next."""
    ends = Ends()
    for _ in range(3):
        read = ends.carried(FULL)
    call = read.messages[2].tool_calls[0]
    assert call.arguments is not None
    call.arguments["where"]["city"] = "Rome"
    call.provider_data.clear()
    read.tools[0].parameters["properties"]["where"]["type"] = "number"
    read.provider_options["openai"]["a"]["b"] = 1
    read.extra_headers["y"] = "2"
    for _ in range(3):
        assert ends.carried(FULL) == FULL


def test_another_message_in_the_place_of_one_that_is_gone_is_written_anew() -> None:
    """Identities come again, and a writer keeps no message alive."""
    ends = Ends()
    message = Message.user("0")
    for _ in range(3):
        ends.writer.write(asked(message))
    gone = weakref.ref(message)
    del message
    gc.collect()
    assert gone() is None
    for number in range(100):
        said = str(number)
        assert ends.carried(asked(Message.user(said))).messages[0].text == said


def test_a_part_with_what_is_no_json_value_is_written_each_time() -> None:
    """It might change unseen."""
    data = {"a": {1, 2}}
    request = asked(Message(role="user", parts=(OpaquePart(kind="x", data=data),)))
    ends = Ends()
    for _ in range(3):
        ends.carried(request)
    data["a"].add(3)
    arrived = ends.carried(request).messages[0].parts[0]
    assert isinstance(arrived, OpaquePart)
    assert sorted(arrived.data["a"]) == [1, 2, 3]
    assert ends.writer.kept.size == 0


def test_what_is_no_json_is_refused_before_it_is_sent() -> None:
    """An object that nobody can write down is the caller's mistake."""
    with pytest.raises(InvalidRequest, match="cannot be sent as JSON"):
        RequestWriter().write(asked(Message(role="user", parts=(OpaquePart(kind="x", data=object()),))))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"model":"a/b","messages":[]}', "not in the pieces"),
        ([b"[]", [], []], "not in the pieces"),
        ([b"{", [], []], "not in the pieces"),
        ([b'{"model":"a/b"}', [], []], "messages: Tuple should have at least 1 item"),
        ([b'{"model":"a/b","colour":1}', [], []], "colour: there is no such field"),
        (
            [b'{"model":"a/b"}', [], [b'{"role":"user","parts":[]}', b'{"role":"x","parts":[]}']],
            "messages.1.role",
        ),
        ([b'{"model":"a/b"}', [b'{"name":"a"}'], []], r"tools.0.parameters"),
    ],
)
def test_what_another_version_sent_is_refused_with_its_place(body: Any, why: str) -> None:
    """The error tells what does not fit, and to look for the versions."""
    with pytest.raises(InvalidRequest, match=why) as raised:
        RequestReader().read(body)
    assert "one version of llmgine" in str(raised.value)


def test_both_ends_keep_no_more_than_their_bound() -> None:
    """However many conversations there are, and however long."""
    ends = Ends(most=100_000)
    for number in range(200):
        request = asked(Message.user(f"{number} " + "x" * 1_000))
        for _ in range(3):
            assert ends.carried(request) == request
    for kept in (ends.writer.kept, ends.reader.kept):
        assert 20_000 < kept.size <= 100_000


def test_what_is_used_stays_and_what_is_not_goes() -> None:
    """The older half goes as a whole, without what was asked for meanwhile."""
    recent: Recent[int, str] = Recent(100)
    recent.keep(0, "used", 10)
    recent.keep(1, "unused", 10)
    for number in range(2, 40):
        recent.keep(number, "other", 10)
        assert recent.get(0) == "used"
        assert recent.size <= 100
    assert recent.get(1) is None
    recent.keep(0, "anew", 20)
    assert (recent.get(0), recent.get(99)) == ("anew", None)


def test_what_is_more_than_half_of_the_bound_is_not_kept() -> None:
    """It would push out all else."""
    recent: Recent[int, str] = Recent(100)
    recent.keep(0, "small", 10)
    recent.keep(1, "large", 51)
    assert (recent.get(0), recent.get(1), recent.size) == ("small", None, 10)
