"""One trace of one session over all the processes that have a part in it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from llmgine.runtime import Runtime, TraceContext
from tests.cluster.one_trace import SETTINGS, one_turn, tree, whole

pytestmark = pytest.mark.asyncio(loop_scope="module")

TREE = """\
internal the user's own
  client ask turn
    internal invoke_agent
      client chat guide
        client pool call
      client chat guide
        client pool call
      internal execute_tool apart
        internal run apart
          internal think apart
      internal execute_tool far
        internal run far
          internal work far away
      internal execute_tool look
        internal look closer
          producer send Looked
            consumer process Looked
              internal write it down
                producer send Noted
                  consumer process Noted
                  internal route Noted
            internal route Looked
        producer send Price
          consumer process Price
          internal route Price"""
# Within one process there are no tasks of a cluster: what is remote elsewhere runs with its session.
HERE = TREE.replace("        internal run far\n          internal work", "        internal work")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def told(on_ray: Callable[[], Runtime] | None) -> AsyncIterator[tuple[Runtime, str]]:
    entered = on_ray() if on_ray else Runtime.in_process(SETTINGS)
    async with entered as opened:
        yield opened, TREE if on_ray else HERE


async def test_one_trace_over_all_processes(told: tuple[Runtime, str]) -> None:
    """Driver, router, session, provider, tools and handlers make one tree, whose times lie in each other."""
    runtime, expected = told
    began = time.time_ns()
    asked = await one_turn(runtime)
    view = await whole(runtime, asked.trace_id)
    assert "\n".join(tree(view.spans)) == expected
    spans = {one.span_id: one for one in view.spans}
    assert asked.parent.span_id in spans
    assert f"{asked.parent.trace_id:032x}" == asked.trace_id
    assert not view.cuts
    for one in spans.values():
        assert one.error is None, one
        assert one.end is not None
        assert began < one.start <= one.end < time.time_ns()
        parent = spans.get(one.parent_id)
        assert parent is None or parent.start <= one.start, (parent, one)
    sources = {one.source.partition("-")[0] for one in spans.values()}
    assert sources >= {"driver", "host", "provider", "router", "handler"}
    for one in spans.values():
        if one.name in (
            "process Looked",
            "process Noted",
        ):  # of many handlers, each is linked to what it heard
            assert [(link.trace_id, link.span_id) for link in one.links] == [(one.trace_id, one.parent_id)]
        else:
            assert not one.links
    (closer,) = (one for one in spans.values() if one.name == "look closer")
    assert [(event.name, event.attributes) for event in closer.events] == [("found it", {"at": "cellar"})]
    assert closer.start <= closer.events[0].time <= (closer.end or 0)


async def test_tools_are_told_where_they_stand(told: tuple[Runtime, str]) -> None:
    """In whatever process a tool runs, what it sends to others can say which span it stands below."""
    runtime, _ = told
    asked = await one_turn(runtime)
    names = {one.span_id: one.name for one in (await whole(runtime, asked.trace_id)).spans}
    below = {}
    for tool, result in asked.results.items():
        context = TraceContext.parse(result.split()[1])
        assert context is not None
        assert f"{context.trace_id:032x}" == asked.trace_id
        below[tool] = names[context.span_id]
    assert below == {"look": "execute_tool look", "apart": "think apart", "far": "work far away"}
