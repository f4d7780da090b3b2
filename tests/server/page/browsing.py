"""What somebody in front of the page does, in a line each."""

import base64
import re
import struct
import zlib
from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

expect.set_options(timeout=30_000)  # a server's first run imports much

Open = Callable[..., Page]

SLOW = """\
latentgraph: 1
params:
  value: {type: int, default: 1}
nodes:
  early: {type: Constant, inputs: {value: $params.value}}
  late: {type: Slow, inputs: {value: $early, steps: 40, seconds: 0.1}}
outputs:
  number: $late
"""
"""Four seconds long."""


def write(page: Page, text: str) -> None:
    """Put a text in place of the one in the editor."""
    page.locator("#editor .cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(text)


def give(page: Page, param: str, value: object) -> None:
    page.locator(f"#param-{param}").fill(str(value))


def box(page: Page, node: str) -> Locator:
    """A node in the drawing; its class is its state."""
    return page.locator(f'.box[data-node="{node}"]')


def state(name: str) -> re.Pattern[str]:
    return re.compile(rf"\b{name}\b")


def checked(page: Page) -> None:
    expect(page.locator(".problems-summary")).to_have_text(re.compile("No problems|warning"))


def run(page: Page) -> None:
    """Run what is in the editor, once it is checked."""
    checked(page)
    page.locator("#run-button").click()


def ended(page: Page, words: str) -> None:
    expect(page.locator(".run-status")).to_contain_text(words)


def picture_is_shown(page: Page, place: str) -> None:
    page.wait_for_function("(place) => document.querySelector(place)?.naturalWidth > 0", arg=f"{place} img")


def job_of(page: Page) -> str:
    """The job that the page's address names."""
    return page.url.partition("#job=")[2]


def drop(page: Page, name: str, media: str, content: bytes) -> None:
    """Drop a file on the page, as the browser tells it."""
    transfer = page.evaluate_handle(
        """([name, type, content]) => {
            const transfer = new DataTransfer();
            const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
            transfer.items.add(new File([bytes], name, {type}));
            return transfer;
        }""",
        [name, media, base64.b64encode(content).decode()],
    )
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})


def png(**texts: tuple[bytes, bytes]) -> bytes:
    """A PNG file of one pixel with text chunks: the kind of chunk, and what is in it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    pixel = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)), chunk(b"IDAT", zlib.compress(b"\0\0"))
    chunks = [chunk(kind, content) for kind, content in texts.values()]
    return b"\x89PNG\r\n\x1a\n" + pixel[0] + b"".join(chunks) + pixel[1] + chunk(b"IEND", b"")
