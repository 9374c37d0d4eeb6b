"""A browser on the page of a gateway, which must have nothing to complain about."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Response,
    async_playwright,
    expect,
)

from llmgine.actors.gateway import GatewayOptions
from llmgine.actors.gateway.app import app
from llmgine.actors.gateway.port import GatewayPort
from llmgine.actors.gateway.server import HttpServer
from tests.actors.gateway.page.shown import ShownPort

SHOTS = Path(__file__).parents[4] / "build" / "screenshots"
WIDTH, HEIGHT = 1440, 900
# Milliseconds; a machine that runs all tests at once takes its time.
PATIENCE = 20_000

expect.set_options(timeout=PATIENCE)

Opens = Callable[..., Awaitable[Page]]
Serves = Callable[..., Awaitable[str]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium(missing: Callable[[str], NoReturn]) -> AsyncIterator[Browser]:
    """Debian's browser, once for all tests."""
    found = shutil.which("chromium")
    if found is None:
        missing("there is no chromium; `make browser` installs it")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found)
        yield browser
        await browser.close()


@asynccontextmanager
async def served(port: GatewayPort, options: GatewayOptions, at: int | None = None) -> AsyncIterator[str]:
    """The address of a gateway over that port."""
    application = app(port, options)
    server = HttpServer(application, options)
    yield f"http://127.0.0.1:{await server.start(at or 0)}"
    application.end_watches()
    await server.stop(1.0)


@pytest_asyncio.fixture(loop_scope="session")
async def serve() -> AsyncIterator[Serves]:
    """Serves a port until the test ends."""
    async with AsyncExitStack() as stack:

        async def start(port: GatewayPort, options: GatewayOptions | None = None) -> str:
            return await stack.enter_async_context(served(port, options or GatewayOptions()))

        yield start


@pytest.fixture(scope="session")
def shown() -> ShownPort:
    """Much to show; nobody changes it."""
    return ShownPort()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gateway(shown: ShownPort) -> AsyncIterator[str]:
    """Where that is served."""
    async with served(shown, GatewayOptions()) as url:
        yield url


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the browser complained about; a test that expects some takes them out."""
    said: list[str] = []
    yield said
    assert said == []


@pytest_asyncio.fixture(loop_scope="session")
async def opened(chromium: Browser, complaints: list[str]) -> AsyncIterator[Opens]:
    """Opens an address in a browser of its own, which ends with the test."""
    contexts: list[BrowserContext] = []

    async def open_page(url: str, **how: Any) -> Page:
        how = {"viewport": {"width": WIDTH, "height": HEIGHT}, "color_scheme": "light", **how}
        contexts.append(await chromium.new_context(**how))
        page = await contexts[-1].new_page()
        page.set_default_timeout(PATIENCE)
        watch(page, complaints)
        await page.goto(url)
        return page

    yield open_page
    for context in contexts:
        await context.close()


def watch(page: Page, complaints: list[str]) -> None:
    """Notes errors of scripts, of the console and of the network."""

    def logged(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"{message.type}: {message.text}")

    def answered(response: Response) -> None:
        if response.status >= 400:
            complaints.append(f"{response.status} {response.url}")

    page.on("console", logged)
    page.on("response", answered)
    page.on("pageerror", lambda error: complaints.append(f"uncaught: {error}"))


async def shoot(page: Page, name: str) -> None:
    """Keeps a picture among the build's outputs, for people to look at."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=SHOTS / f"{name}.png", animations="disabled")
