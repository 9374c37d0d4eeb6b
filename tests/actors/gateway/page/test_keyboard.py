"""All of it by keyboard, and told to those who listen."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from tests.actors.gateway.page.conftest import Opens, shoot

# A line of what a listener is told, about a thing without a name.
NAMELESS = re.compile(r"\s*- '?(button|textbox|searchbox|link|checkbox|combobox|grid|meter|img)\b(?! [\"/])")

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def press(page: Page, *keys: str) -> None:
    for key in keys:
        await page.keyboard.press(key)


async def test_lists_are_walked_and_opened(gateway: str, opened: Opens) -> None:
    """j and k walk the list without a click before, Enter opens, and the browser's way back leads back."""
    page = await opened(f"{gateway}/#/sessions")
    grid = page.get_by_role("grid", name="Sessions")
    await expect(grid.get_by_role("row").first).to_be_visible()
    await press(page, "j", "j", "ArrowDown", "ArrowDown", "k")
    chosen = grid.locator("[aria-selected=true]")
    await expect(chosen).to_contain_text("s-00002")
    active = await grid.get_attribute("aria-activedescendant")
    assert active == await chosen.get_attribute("id")
    await press(page, "Enter")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("s-00002")
    await page.go_back()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sessions")


async def test_jumps_and_search(gateway: str, opened: Opens) -> None:
    """g and a letter go to a screen, / to its search; Escape leaves the field, whose letters are text."""
    page = await opened(f"{gateway}/#/")
    for keys, title in (("gs", "Sessions"), ("gd", "Dead letters"), ("gp", "Pools"), ("gb", "Bus")):
        await press(page, *keys)
        await expect(page.get_by_role("heading", level=1)).to_have_text(title)
    await press(page, "/")
    field = page.get_by_role("searchbox")
    await expect(field).to_be_focused()
    await page.keyboard.type("gs?")
    await expect(field).to_have_value("gs?")
    await press(page, "Escape")
    await expect(field).not_to_be_focused()


async def test_the_shortcuts_are_shown(gateway: str, opened: Opens) -> None:
    """? lists every key with what it does, those of the screen too, and Escape closes it."""
    page = await opened(f"{gateway}/#/letters")
    await expect(page.get_by_role("grid", name="Dead letters")).to_be_visible()
    await press(page, "?")
    dialog = page.get_by_role("dialog", name="Keyboard")
    for text in ("Sessions", "Next row", "Replay the letter", "Search"):
        await expect(dialog.get_by_text(text, exact=True)).to_be_visible()
    await shoot(page, "keyboard")
    await press(page, "Escape")
    await expect(dialog).to_have_count(0)


async def test_what_a_listener_needs(gateway: str, opened: Opens) -> None:
    """One main part, one navigation, a way past it, a name on everything that can be pressed or filled in."""
    page = await opened(f"{gateway}/#/")
    for path in ("", "sessions", "session/s-00003", "letters", "approvals", "pools", "bus", "traces"):
        await page.goto(f"{gateway}/#/{path}")
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        await expect(page.get_by_text("Asking")).to_have_count(0)
        assert await page.get_by_role("main").count() == 1
        assert await page.get_by_role("navigation").count() == 1
        tree = await page.locator("body").aria_snapshot()
        assert [line for line in tree.splitlines() if NAMELESS.match(line)] == [], path
    await page.goto(f"{gateway}/#/pools")
    await page.reload()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Pools")
    await press(page, "Tab", "Enter")
    await expect(page.get_by_role("main")).to_be_focused()


async def test_the_columns_of_a_list_are_named(gateway: str, opened: Opens) -> None:
    """Whoever listens hears what a number in a row is, as the head of the list says it."""
    page = await opened(f"{gateway}/#/sessions")
    grid = page.get_by_role("grid", name="Sessions")
    await expect(grid.get_by_role("row").first).to_be_visible()
    told = await grid.aria_snapshot()
    assert '- row "Session State Model Turns Messages' in told
    assert '- columnheader "Turns"' in told


async def test_colours_can_be_read(gateway: str, opened: Opens) -> None:
    """Every text stands out from its ground by 4.5 to 1, light and dark."""
    for scheme in ("light", "dark"):
        page = await opened(f"{gateway}/#/", color_scheme=scheme)
        for path in ("", "sessions", "session/s-00003", "letters", "approvals", "pools", "bus", "traces"):
            await page.goto(f"{gateway}/#/{path}")
            await expect(page.get_by_text("Asking")).to_have_count(0)
            assert await page.evaluate(CONTRASTS) == [], (scheme, path)


# Texts whose colour is too close to that of the ground behind them; what is disabled may be faint.
CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const channels = (colour, under) => {
    canvas.fillStyle = under ?? "#000";
    canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb
      .map((one) => one / 255)
      .map((one) => (one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) layers.unshift(getComputedStyle(at).backgroundColor);
    return layers.reduce((under, layer) => `rgb(${channels(layer, under).join(",")})`, "#fff");
  };
  const faint = [];
  for (const node of document.querySelectorAll("main *, nav *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.nodeValue.trim());
    if (!own || node.closest(":disabled, .heard") || !node.checkVisibility()) continue;
    const behind = ground(node);
    const [one, other] = [light(channels(getComputedStyle(node).color, behind)), light(channels(behind))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) faint.push(`${node.textContent.slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return faint;
}"""
