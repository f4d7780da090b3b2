"""Chromium, and a server whose page it shows. A page that logs an error or breaks the content security policy fails."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # where serving.py is

import serving

OPTIONS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)

WATCH = """
    addEventListener("securitypolicyviolation", (event) => console.error(`violates ${event.violatedDirective}`));
"""


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    executable = shutil.which("chromium")
    if executable is None:
        pytest.fail("Chromium is not installed, which the tests with the mark `browser` drive")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=OPTIONS.split())
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Server]:
    server = serving.start(tmp_path_factory.mktemp("server"), "--workers", 1)
    yield server.ready()
    server.stop()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a server's page in a browser that has never seen it; `expected` are errors that the browser itself logs."""
    contexts: list[Any] = []
    errors: list[str] = []

    def open_page(server: serving.Server, path: str = "/", expected: str | None = None, **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        contexts.append(context)
        context.set_default_timeout(60_000)
        context.add_init_script(WATCH)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(f"{error}\n{error.stack}"))

        def logged(message: Any) -> None:
            if message.type == "error" and (expected is None or expected not in message.text):
                errors.append(message.text)

        page.on("console", logged)
        page.goto(server.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def page(open_page: Callable[..., Any], server: serving.Server) -> Any:
    """The page with the graph that it begins with."""
    page = open_page(server)
    page.wait_for_selector(".box")
    return page
