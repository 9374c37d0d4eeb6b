"""The page on a real runtime: what happens there shows up, and what is pressed here happens there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import expect

from llmgine.runtime import Event, RetryPolicy, Runtime, tool
from tests.actors.gateway.page.conftest import Opens, shoot

pytestmark = pytest.mark.asyncio(loop_scope="session")

CALLS = {"tool_calls": [{"name": "pay", "arguments": {"euros": 5}}]}
SETTINGS: dict[str, Any] = {
    "gateway": {"enabled": True, "port": 0},
    "control": {"stop_grace": 1},
    "providers": {
        "endpoints": {"spare": {"kind": "scripted"}},
        "scripts": {
            "clerk": {"replies": [CALLS, {"text": "It is paid."}]},
            "kind": {"replies": [{"text": "With pleasure."}]},
            "curt": {"replies": [{"text": "No."}]},
            "slow": {"replies": [{"text": "word " * 400, "delay": 0.05}]},
        },
    },
}

paid: list[int] = []


class Shipped(Event):
    order: int


@tool(approval=True)
def pay(euros: int) -> str:
    """Pays."""
    paid.append(euros)
    return f"{euros} paid"


@pytest_asyncio.fixture(loop_scope="session")
async def runtime(clean_environ: object) -> AsyncIterator[Runtime]:
    async with Runtime.in_process(SETTINGS) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def url(runtime: Runtime) -> str:
    found = await runtime.gateway.url()
    assert found is not None
    return found


async def test_sessions_show_up_while_one_looks(runtime: Runtime, url: str, opened: Opens) -> None:
    """A session that is opened elsewhere comes into the list by itself, and its turn into its screen."""
    page = await opened(f"{url}/#/sessions")
    await expect(page.get_by_text("No sessions yet")).to_be_visible()
    async with runtime.session("visit", model="scripted/kind") as session:
        row = page.get_by_role("grid", name="Sessions").get_by_role("row").filter(has_text="visit")
        await expect(row).to_be_visible()
        await row.click()
        await expect(page.get_by_text("Nothing has been said yet")).to_be_visible()
        await session.ask("May I come in?")
        log = page.get_by_role("log")
        await expect(log.get_by_text("May I come in?")).to_be_visible()
        await expect(log.get_by_text("With pleasure.")).to_be_visible()
        spans = page.get_by_role("grid", name="Spans")
        await expect(spans.get_by_text("chat", exact=False).first).to_be_visible()
        await shoot(page, "live-session")


async def test_a_session_is_asked_and_a_turn_replayed(runtime: Runtime, url: str, opened: Opens) -> None:
    """What is written on the page is a turn; replayed with another model it is asked anew in a fork."""
    async with runtime.session("talk", model="scripted/kind", stay=True):
        page = await opened(f"{url}/#/session/talk")
        log = page.get_by_role("log")
        await page.get_by_label("Message to the session").fill("Would you help?")
        await page.get_by_label("Message to the session").press("Enter")
        await expect(log.get_by_text("With pleasure.")).to_be_visible()
        replay = page.get_by_role("button", name="Replay the turn of message 0")
        await replay.focus()
        await replay.press("Enter")
        dialog = page.get_by_role("dialog", name="Replay the turn")
        await dialog.get_by_label("Model").fill("scripted/curt")
        await shoot(page, "live-replay")
        await dialog.get_by_role("button", name="Replay").click()
        await expect(page.get_by_role("heading", level=1)).not_to_contain_text("talk")
        await expect(log.get_by_text("No.", exact=True)).to_be_visible()
        await expect(log.get_by_text("Would you help?")).to_have_count(1)
        await page.go_back()
        await expect(log.get_by_text("With pleasure.")).to_be_visible()
        await expect(log.get_by_text("No.", exact=True)).to_have_count(0)


async def test_a_turn_is_stopped(runtime: Runtime, url: str, opened: Opens) -> None:
    """What the model says shows up as it is said, also to who comes back, until one has had enough."""
    async with runtime.session("long", model="scripted/slow", stay=True) as session:
        page = await opened(f"{url}/#/session/long")
        field = page.get_by_label("Message to the session")
        await field.fill("Tell me all")
        await field.press("Enter")
        log = page.get_by_role("log")
        await expect(log.get_by_text("word word word")).to_be_visible()
        await page.goto(f"{url}/#/sessions")
        await page.go_back()
        await expect(log.get_by_text("word word word")).to_be_visible()
        await expect(log.get_by_text("Tell me all")).to_have_count(1)
        await shoot(page, "live-running")
        await page.get_by_role("button", name="Stop").click()
        await expect(page.get_by_role("alert")).to_contain_text("stopped")
        await expect(page.get_by_role("button", name="Send")).to_be_visible()
        await session.ask("And you?", model="scripted/kind")
        await expect(log.get_by_text("With pleasure.")).to_be_visible()


async def test_a_dead_letter_is_replayed(runtime: Runtime, url: str, opened: Opens) -> None:
    """A letter that its handler refused runs again from the page, and leaves the list once it is handled."""
    broken = True
    handled: list[int] = []

    async def ship(event: Shipped) -> None:
        if broken:
            raise RuntimeError("the van is broken")
        handled.append(event.order)

    await runtime.bus.register_event_handler(Shipped, ship, name="ship", retry=RetryPolicy(retries=0))
    await runtime.bus.publish(Shipped(order=7), wait=True)
    page = await opened(f"{url}/#/letters")
    letter = page.get_by_role("region", name="The chosen letter")
    await expect(letter.get_by_text("the van is broken")).to_be_visible()
    await letter.get_by_role("button", name="Replay").click()
    await expect(page.get_by_role("status").get_by_text("It failed again")).to_be_visible()
    broken = False
    await page.keyboard.press("r")
    await expect(page.get_by_role("main").get_by_text("No dead letters")).to_be_visible()
    assert handled == [7]
    assert await runtime.bus.dead_letters.count() == 0


async def test_a_dead_letter_is_discarded(runtime: Runtime, url: str, opened: Opens) -> None:
    """Discarding asks first, and then the letter is gone for good; the one after it is shown."""

    async def ship(event: Shipped) -> None:
        raise RuntimeError("no")

    await runtime.bus.register_event_handler(Shipped, ship, name="ship", retry=RetryPolicy(retries=0))
    for order in (1, 2):
        await runtime.bus.publish(Shipped(order=order), wait=True)
    page = await opened(f"{url}/#/letters")
    letter = page.get_by_role("region", name="The chosen letter")
    await expect(letter.get_by_text('"order": 2')).to_be_visible()
    await letter.get_by_role("button", name="Discard").click()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert await runtime.bus.dead_letters.count() == 2
    await page.keyboard.press("x")
    await page.get_by_role("dialog").get_by_role("button", name="Discard").click()
    await expect(letter.get_by_text('"order": 1')).to_be_visible()
    assert await runtime.bus.dead_letters.count() == 1


async def test_an_approval_is_answered(runtime: Runtime, url: str, opened: Opens) -> None:
    """A call that waits for leave shows up, runs once it is approved, and the model hears the note."""
    paid.clear()
    page = await opened(f"{url}/#/approvals")
    await expect(page.get_by_text("Nothing waits")).to_be_visible()
    async with runtime.session("shop", model="scripted/clerk", tools=[pay]) as session:
        answer = asyncio.ensure_future(session.ask("pay"))
        card = page.get_by_role("listitem", name="pay, pending")
        await expect(card.get_by_text('"euros": 5')).to_be_visible()
        await expect(page.get_by_role("link", name="Approvals, 1")).to_be_visible()
        await shoot(page, "live-approval")
        await card.get_by_label("Note for the model").fill("this once")
        await card.get_by_role("button", name="Approve").click()
        assert (await answer).text == "It is paid."
    assert paid == [5]
    await expect(page.get_by_text("Nothing waits")).to_be_visible()
    await page.get_by_role("button", name="All").click()
    await expect(page.get_by_text("this once")).to_be_visible()


async def test_an_approval_is_denied_by_key(runtime: Runtime, url: str, opened: Opens) -> None:
    """n denies the call that stands first, and it is never run."""
    paid.clear()
    async with runtime.session("shop", model="scripted/clerk", tools=[pay]) as session:
        answer = asyncio.ensure_future(session.ask("pay"))
        page = await opened(f"{url}/#/approvals")
        await expect(page.get_by_role("listitem", name="pay, pending")).to_be_visible()
        await page.keyboard.press("n")
        await answer
    assert paid == []


async def test_a_pool_is_scaled(runtime: Runtime, url: str, opened: Opens) -> None:
    """A pool gets as many actors as the page asks for, and the page shows each; one at rest starts so."""
    async with runtime.session("one", model="scripted/kind") as session:
        await session.ask("Hello")
    page = await opened(f"{url}/#/pools")
    pool = page.get_by_role("region", name="Pool scripted")
    await expect(pool.get_by_role("row").filter(has_text="provider-scripted")).to_have_count(1)
    await pool.get_by_role("button", name="One actor more").click()
    await pool.get_by_role("button", name="One actor more").click()
    await shoot(page, "live-pool")
    await pool.get_by_role("button", name="Scale", exact=True).click()
    await expect(pool.get_by_role("row").filter(has_text="provider-scripted")).to_have_count(3)
    await expect(pool.get_by_text("3 ready")).to_be_visible()
    assert (await runtime.pools["scripted"].statistics()).ready == 3
    resting = page.get_by_role("group", name="Size of spare")
    await resting.get_by_role("button", name="One actor more").click()
    await resting.get_by_role("button", name="Scale", exact=True).click()
    await expect(page.get_by_role("region", name="Pool spare").get_by_text("1 ready")).to_be_visible()


async def test_a_session_is_shown_without_telemetry(clean_environ: object, opened: Opens) -> None:
    """What is said in it shows up, and there are no spans beside it."""
    settings = {**SETTINGS, "telemetry": {"enabled": False}}
    async with (
        Runtime.in_process(settings) as runtime,
        runtime.session("bare", model="scripted/kind", stay=True) as session,
    ):
        page = await opened(f"{await runtime.gateway.url()}/#/session/bare")
        await page.get_by_label("Message to the session").fill("Hello")
        await page.get_by_role("button", name="Send").click()
        log = page.get_by_role("log")
        await expect(log.get_by_text("With pleasure.")).to_have_count(1)
        await session.ask("Again")
        await expect(log.get_by_text("With pleasure.")).to_have_count(2)
        await expect(page.get_by_role("alert")).to_have_count(0)


async def test_the_whole_and_the_bus_are_told(runtime: Runtime, url: str, opened: Opens) -> None:
    """Overview, bus, cost, traces and settings tell of this runtime what is so."""

    async def ship(event: Shipped) -> None: ...

    await runtime.bus.register_event_handler(Shipped, ship, name="ship")
    await runtime.bus.publish(Shipped(order=1), wait=True)
    async with runtime.session("one", model="scripted/kind") as session:
        await session.ask("Hello")
        page = await opened(f"{url}/#/")
        await expect(page.get_by_role("link", name="Open sessions")).to_contain_text("1")
        await expect(page.get_by_text("Every breaker is closed")).to_be_visible()
        await shoot(page, "live-overview")
        for screen, text in (
            ("bus", "ship"),
            ("cost", "scripted/kind"),
            ("traces", "one"),
            ("settings", "stop_grace"),
        ):
            await page.goto(f"{url}/#/{screen}")
            await expect(page.get_by_role("main").get_by_text(text, exact=True).first).to_be_visible()
            await shoot(page, f"live-{screen}")
