"""Ten thousand sessions and traces of thousands of spans stay quick."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.actors.gateway.page.conftest import Opens, Serves, shoot
from tests.actors.gateway.page.shown import SESSIONS, SPANS, TRACE, ShownPort

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Rows in the document at most, whatever there is to show.
ROWS = 80
# Milliseconds from a scroll to its frame, in the middle of many.
FRAME = 200

SCROLL_THROUGH = """async (steps) => {
  const list = document.querySelector("[role=grid]");
  const frames = [];
  for (let step = 1; step <= steps; step += 1) {
    const began = performance.now();
    list.scrollTop = (list.scrollHeight - list.clientHeight) * (step / steps);
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    frames.push(performance.now() - began);
  }
  return frames.sort((one, other) => one - other)[Math.floor(frames.length / 2)];
}"""


async def test_ten_thousand_sessions(gateway: str, opened: Opens) -> None:
    """One scrolls to the last of ten thousand sessions while only the rows in sight are in the document."""
    page = await opened(f"{gateway}/#/sessions")
    grid = page.get_by_role("grid", name="Sessions")
    await expect(grid.get_by_role("row").first).to_be_visible()
    last = grid.get_by_text(f"s-{SESSIONS - 1:05}", exact=True)
    while not await last.count():
        await grid.press("End")
    await expect(last).to_be_visible()
    await expect(page.get_by_role("status").filter(has_text="10,000 sessions")).to_be_visible()
    assert await grid.get_by_role("row").count() < ROWS
    assert await page.evaluate(SCROLL_THROUGH, 20) < FRAME
    await shoot(page, "sessions-end")


async def test_sessions_are_searched(gateway: str, opened: Opens) -> None:
    """What is typed narrows the list at the gateway, stands in the address, and survives a reload."""
    page = await opened(f"{gateway}/#/sessions")
    await page.get_by_role("searchbox").fill("s-0777")
    rows = page.get_by_role("grid", name="Sessions").get_by_role("row")
    await expect(rows).to_have_count(10)
    assert page.url.endswith("#/sessions?query=s-0777")
    await page.reload()
    await expect(rows).to_have_count(10)
    await expect(page.get_by_role("searchbox")).to_have_value("s-0777")
    await page.get_by_role("searchbox").fill("nobody")
    await expect(page.get_by_text("No session fits")).to_be_visible()


async def test_a_trace_of_two_thousand_spans(gateway: str, opened: Opens) -> None:
    """It scrolls by frames, folds, is searched, and zooms to a span."""
    page = await opened(f"{gateway}/#/trace/{TRACE}")
    grid = page.get_by_role("grid", name="Spans")
    await expect(grid).to_have_attribute("aria-rowcount", str(1 + SPANS))
    assert await page.evaluate(SCROLL_THROUGH, 30) < FRAME
    assert await grid.get_by_role("row").count() < ROWS
    await grid.press("Home")
    await grid.press("ArrowLeft")
    await expect(grid).to_have_attribute("aria-rowcount", str(1 + SPANS - 7))
    await grid.press("ArrowRight")
    await grid.press("ArrowDown")
    details = page.get_by_role("region", name="The chosen span")
    await expect(details.get_by_text("gen_ai.usage.input_tokens")).to_be_visible()
    await shoot(page, "trace-span")
    await grid.press("z")
    await expect(page.get_by_role("button", name="Whole time")).to_be_visible()
    await shoot(page, "trace-zoomed")
    await page.get_by_role("searchbox", name="Find a span").fill("find_carrier")
    await expect(grid).not_to_have_attribute("aria-rowcount", str(1 + SPANS))
    names = await grid.get_by_role("row").all_inner_texts()
    assert names
    assert all("find_carrier" in name for name in names)


async def test_only_errors(gateway: str, opened: Opens) -> None:
    """Of a trace's spans one can have the failed ones alone, with what they failed of."""
    page = await opened(f"{gateway}/#/trace/{TRACE}")
    await page.get_by_label("Errors only").check()
    rows = page.get_by_role("grid", name="Spans").get_by_role("row")
    await expect(rows.first).to_contain_text("timeout")
    assert all("timeout" in text for text in await rows.all_inner_texts())


async def test_what_is_in_sight_is_kept_up(serve: Serves, opened: Opens) -> None:
    """Rows far down change while one looks at them, and stay in place when new ones come before them."""
    port = ShownPort()
    page = await opened(f"{await serve(port)}/#/sessions")
    grid = page.get_by_role("grid", name="Sessions")
    row = grid.get_by_role("row").filter(has_text="s-00150")
    while not await row.count():
        await grid.press("PageDown")
    await expect(row).not_to_contain_text("777")
    changed = port.listed[150].model_copy(update={"turns": 777})
    newer = port.listed[0].model_copy(update={"id": "s-new"})
    before = await row.bounding_box()
    port.listed = [newer, *port.listed[:150], changed, *port.listed[151:]]
    await expect(row).to_contain_text("777")
    assert await row.bounding_box() == before
