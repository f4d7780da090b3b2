"""The page of the API in a browser: everything from the server itself, and what it shows can be tried."""

import pytest
import serving
from browsing import Open
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_operations_can_be_tried(open_page: Open, server: serving.Server, scheme: str) -> None:
    page = open_page(server, path="/docs", color_scheme=scheme)
    operation = page.locator("#operations-server-health")
    operation.get_by_role("button", name="/v1/health").first.click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table .response").first).to_contain_text('"status": "ok"')
    loaded = page.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert loaded
    assert all(url.startswith((server.url, "data:")) for url in loaded)
    ink, paper = page.evaluate("""
        [getComputedStyle(document.querySelector('.info p')).color, getComputedStyle(document.body).backgroundColor]
        .map((colour) => colour.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0))
    """)
    assert (ink < paper) == (scheme == "light")
    assert abs(ink - paper) > 400


def test_the_websocket_can_be_tried(open_page: Open, server: serving.Server) -> None:
    page = open_page(server, path="/docs")
    page.get_by_role("button", name="Connect").click()
    page.get_by_label("Request").select_option("jobs")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("log")).to_contain_text('"ok":{"jobs":[')
    page.get_by_text("The job is over", exact=True).click()
    expect(page.locator("#websocket details[open]")).to_contain_text('"const": "run_finished"')
