"""The page of ideas: one HTML file that needs nothing else, for light and dark screens."""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from io import BytesIO
from pathlib import Path
from string import Template
from typing import Any

from latentgraph.engine.cli.progress import duration
from latentgraph.engine.rendering import Rendered

from .index import Idea

LIGHT, DARK = ".png", "-dark.png"
"""How the two files of a plot end."""


@dataclass(frozen=True)
class Shown:
    """An idea whose graph was run: its text, its drawing as SVG, its outputs as files, and how long that took."""

    idea: Idea
    text: str
    drawing: str
    files: Mapping[str, Any]
    seconds: float
    failure: str = ""

    @property
    def measured(self) -> str:
        return self.idea.says({name: value for name, value in self.files.items() if not isinstance(value, Rendered)})

    @cached_property
    def pictures(self) -> str:
        """The figures of all outputs that are plots."""
        return "\n".join(_pictures(self.idea, self.files))


def page(shown: Sequence[Shown]) -> str:
    """The HTML of ideas in their order."""
    return Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8")).substitute(
        contents="\n".join(f'<li><a href="#{each.idea.graph}">{escape(each.idea.title)}</a></li>' for each in shown),
        ideas="\n".join(_section(number, each) for number, each in enumerate(shown, 1)),
        count=len(shown),
    )


def _section(number: int, each: Shown) -> str:
    idea, drawing = each.idea, _data(each.drawing.encode(), "svg+xml")
    said = f"<b>Failed</b> {escape(each.failure)}" if each.failure else f"<b>Measured</b> {escape(each.measured)}"
    remarks = "".join(f"<li>{escape(remark)}</li>" for remark in idea.remarks)
    parts = [
        f'<section id="{idea.graph}">',
        f"<h2><span>{number}</span> {escape(idea.title)}</h2>",
        f'<p class="claim">{escape(idea.claim)}</p>',
        f'<p class="about">{_marked(_opening(each.text))}</p>',
        each.pictures,
        f'<p class="{"failed" if each.failure else "measured"}">{said}</p>',
        f'<p class="remarks"><b>Tests hold</b>{escape(idea.holds)}</p>',
        f'<div class="remarks"><b>More exactly</b><ul>{remarks}</ul></div>' if remarks else "",
        f'<figure class="graph"><img alt="The graph of {escape(idea.title)}" src="{drawing}"></figure>',
        f"<details><summary>ideas/{idea.graph}.yaml</summary><pre>{escape(each.text)}</pre></details>",
        f'<p class="run"><code>latentgraph run ideas/{idea.graph}</code>'
        f"<span>{duration(each.seconds)} · in the notes: {escape(idea.passage)}</span></p>",
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _opening(text: str) -> str:
    """What a graph says in the comment that it opens with."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return " ".join(lines)


def _marked(text: str) -> str:
    """Text as HTML, in which what is between backquotes is code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _pictures(idea: Idea, files: Mapping[str, Any]) -> Iterator[str]:
    """All outputs that are plots, which are pairs of files for light and dark pages."""
    for name, value in files.items():
        for rendered in _rendered(value):
            contents = {file.suffix: file.content for file in rendered.files}
            if contents.keys() == {LIGHT, DARK}:
                light, dark = (_data(_smaller(contents[ending]), "webp") for ending in (LIGHT, DARK))
                alt = escape(f"{idea.title}: {name}")
                source = f'<source media="(prefers-color-scheme: dark)" srcset="{dark}">'
                yield f'<figure><picture>{source}<img alt="{alt}" src="{light}"></picture></figure>'


def _rendered(value: Any) -> Iterable[Rendered]:
    if isinstance(value, Rendered):
        return [value]
    return [found for item in value for found in _rendered(item)] if isinstance(value, tuple) else []


def _smaller(content: bytes) -> bytes:
    """A PNG file as WebP, which takes about a quarter of it, and looks the same."""
    from PIL import Image

    written = BytesIO()
    Image.open(BytesIO(content)).convert("RGB").save(written, "webp", quality=90)
    return written.getvalue()


def _data(content: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{b64encode(content).decode()}"
