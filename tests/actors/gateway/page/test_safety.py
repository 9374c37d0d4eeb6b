"""What others wrote is text, and who has no token sees nothing."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from playwright.async_api import expect

from llmgine.actors.gateway import GatewayOptions
from tests.actors.gateway.page.conftest import Opens, Serves, served, shoot
from tests.actors.gateway.page.shown import HOSTILE, ShownPort

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOKEN = "a token of the owner's own"


async def test_markup_of_others_is_text(gateway: str, opened: Opens) -> None:
    """Names, messages, arguments and letters that are markup are shown as written, and never run."""
    page = await opened(f"{gateway}/#/")
    for path in ("sessions", f"session/s-00001 {HOSTILE}", "session/s-00003", "approvals", "letters"):
        await page.goto(f"{gateway}/#/sessions")
        place = "#/" + "/".join(quote(part, safe="") for part in path.split("/", 1))
        await page.evaluate("place => { location.hash = place }", place)
        if path == "letters":
            await page.keyboard.press("j")
            await page.get_by_role("grid").press("ArrowDown")
        await expect(page.get_by_role("main").get_by_text("<img src=x").first).to_be_attached()
        assert await page.evaluate("window.pwned === undefined && document.images.length") == 1
        assert await page.evaluate("document.scripts.length") == 1


async def test_the_page_loads_nothing_from_elsewhere(gateway: str, opened: Opens) -> None:
    """All comes from the gateway itself, under a policy that allows no inline code."""
    page = await opened("about:blank")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    response = await page.goto(f"{gateway}/#/")
    assert response is not None
    assert "default-src 'self'" in response.headers["content-security-policy"]
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    assert asked
    assert all(url.startswith(gateway) for url in asked)


async def test_a_token_is_asked_for(
    shown: ShownPort, serve: Serves, opened: Opens, complaints: list[str]
) -> None:
    """Without the token there is a form alone; with it the screen that was asked for, until one logs out."""
    url = await serve(shown, GatewayOptions(token=TOKEN))
    page = await opened(f"{url}/#/pools")
    field = page.get_by_label("Token")
    await expect(field).to_be_visible()
    await expect(page.get_by_role("navigation")).to_have_count(0)
    await shoot(page, "login")
    await field.fill("a token of somebody else")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("alert")).to_contain_text("not known here")
    await field.fill(TOKEN)
    await field.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Pools")
    await expect(page.get_by_text("provider-anthropic-3")).to_be_visible()
    assert await page.evaluate("document.cookie") == ""
    await page.get_by_role("button", name="Log out").click()
    await expect(field).to_be_visible()
    await page.reload()
    await expect(field).to_be_visible()
    complaints[:] = [said for said in complaints if "401" not in said]


async def test_a_lost_connection_is_told_and_mended(
    shown: ShownPort, opened: Opens, complaints: list[str]
) -> None:
    """While the gateway is away a banner says so; once it is back the page is live again by itself."""
    async with served(shown, GatewayOptions()) as url:
        page = await opened(f"{url}/#/sessions")
        await expect(page.locator("[data-state=open]")).to_be_visible()
    await expect(page.get_by_role("alert")).to_contain_text("connection to the gateway is lost")
    await shoot(page, "lost")
    async with served(shown, GatewayOptions(), int(url.rpartition(":")[2])):
        await expect(page.locator("[data-state=open]")).to_be_visible()
        await expect(page.get_by_text("connection to the gateway is lost")).to_have_count(0)
        await page.close()
    complaints.clear()
