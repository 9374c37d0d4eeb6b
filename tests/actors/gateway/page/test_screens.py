"""Each screen, light and dark, wide and narrow: what it shows, and that a browser has no complaint."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from llmgine.actors.gateway.errors import NotReady
from llmgine.actors.gateway.shapes import BusState
from tests.actors.gateway.fakes import FakePort, approval
from tests.actors.gateway.page.conftest import Opens, Serves, shoot
from tests.actors.gateway.page.shown import TRACE

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCREENS = {
    "overview": ("Overview", "10,000"),
    "sessions": ("Sessions", "s-00002"),
    "session/s-00003": ("s-00003", "order 1007 left our warehouse"),
    "traces": ("Traces", "rate_limit"),
    f"trace/{TRACE}": ("turn", "2,000 spans"),
    "cost": ("Cost", "anthropic/claude-sonnet-4-5"),
    "approvals": ("Approvals", "transfer"),
    "letters": ("Dead letters", "PaymentDeclined"),
    "bus": ("Bus", "half-open"),
    "pools": ("Pools", "provider-anthropic-3"),
    "schedules": ("Schedules", "CloseBooks"),
    "settings": ("Settings", "bus"),
}

EMPTY = {
    "sessions": "No sessions yet",
    "traces": "No traces yet",
    "cost": "Nothing has been used",
    "approvals": "Nothing waits",
    "letters": "No dead letters",
    "bus": "No handler is registered",
    "schedules": "Nothing is scheduled",
}


async def shows(page: Page, title: str, text: str) -> None:
    main = page.get_by_role("main")
    await expect(main.get_by_role("heading", level=1)).to_contain_text(title)
    await expect(main.get_by_text(text).first).to_be_visible()


async def test_each_screen_shows_what_it_is_for(gateway: str, opened: Opens) -> None:
    """Every screen is reached by its place in the navigation or by its address, and tells its own things."""
    page = await opened(f"{gateway}/#/")
    for path, (title, text) in SCREENS.items():
        await page.goto(f"{gateway}/#/{path}")
        await shows(page, title, text)
        await shoot(page, f"{path.partition('/')[0]}-light")
        assert (await page.title()).endswith(" · production")
    for name in ("Overview", "Sessions", "Traces", "Cost", "Bus", "Pools", "Schedules", "Settings"):
        await page.get_by_role("navigation").get_by_role("link", name=name).click()
        await expect(page.get_by_role("heading", level=1)).to_have_text(name)
        current = page.get_by_role("navigation").locator("[aria-current=page]")
        await expect(current).to_contain_text(name)


async def test_each_screen_is_dark_where_the_system_is(gateway: str, opened: Opens) -> None:
    """A system that asks for dark gets dark; the switch goes before it, and is kept."""
    page = await opened(f"{gateway}/#/", color_scheme="dark")
    for path, (title, text) in SCREENS.items():
        await page.goto(f"{gateway}/#/{path}")
        await shows(page, title, text)
        await shoot(page, f"{path.partition('/')[0]}-dark")
    assert await lightness(page) < 60
    switch = page.get_by_role("button", name="Colours:")
    await switch.click()
    await expect(switch).to_have_accessible_name("Colours: Light")
    assert await lightness(page) > 200
    await page.reload()
    await expect(switch).to_have_accessible_name("Colours: Light")
    assert await lightness(page) > 200


async def test_a_narrow_screen_has_everything(gateway: str, opened: Opens) -> None:
    """On a phone nothing is wider than the screen, and each screen still shows its things."""
    page = await opened(f"{gateway}/#/", viewport={"width": 390, "height": 844})
    for path, (title, text) in SCREENS.items():
        await page.goto(f"{gateway}/#/{path}")
        await expect(page.get_by_role("heading", level=1)).to_contain_text(title)
        await expect(page.get_by_role("main").get_by_text(text).first).to_be_attached()
        wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, path
        await shoot(page, f"{path.partition('/')[0]}-narrow")


async def test_what_is_empty_says_what_to_do(serve: Serves, opened: Opens) -> None:
    """A screen with nothing to show says how something comes to be there."""
    port = FakePort()
    port.session_rows, port.letter_rows, port.approval_rows = {}, {}, {}
    url = await serve(port)
    page = await opened(f"{url}/#/")
    for path, text in EMPTY.items():
        await page.goto(f"{url}/#/{path}")
        await expect(page.get_by_role("main").get_by_text(text)).to_be_visible()
        await shoot(page, f"empty-{path}")


async def test_what_is_not_there_is_told(gateway: str, opened: Opens, complaints: list[str]) -> None:
    """A session that is not kept is a message on the screen with the gateway's own words."""
    page = await opened(f"{gateway}/#/session/nobody")
    await expect(page.get_by_role("alert")).to_contain_text("there is no session 'nobody'")
    assert complaints
    complaints.clear()


async def test_what_cannot_be_seen_now_is_told(serve: Serves, opened: Opens) -> None:
    """A page that is connected says so where the gateway cannot look, until it can again."""

    class Away(FakePort):
        away = False

        async def bus(self) -> BusState:
            if self.away:
                raise NotReady("the routers are away")
            return await super().bus()

    port = Away()
    page = await opened(f"{await serve(port)}/#/bus")
    await expect(page.get_by_text("No handler is registered")).to_be_visible()
    port.away = True
    await expect(page.get_by_role("alert")).to_contain_text("the routers are away")
    port.away = False
    await expect(page.get_by_role("alert")).to_have_count(0)


async def test_of_many_approvals_the_last_are_shown(serve: Serves, opened: Opens) -> None:
    """Those that wait come in the order of their waiting; of all, the newest stand on top."""
    port = FakePort()
    names = [f"tool-{number:03}" for number in range(120)]
    port.approval_rows = {name: approval(name, tool=name) for name in names}
    page = await opened(f"{await serve(port)}/#/approvals")
    tools = page.get_by_role("heading", level=2)
    await expect(tools.first).to_have_text("tool-000")
    await expect(tools).to_have_count(100)
    await page.get_by_role("button", name="All").click()
    await expect(tools.first).to_have_text("tool-119")
    await expect(page.get_by_text("The first 100 are shown.")).to_be_visible()


async def lightness(page: Page) -> float:
    """How light the ground of the page is, from 0 to 255."""
    script = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    channels: list[int] = await page.evaluate(script)
    return sum(channels) / 3
