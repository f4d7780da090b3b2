"""Shows problems to people and to programs."""

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from ..diagnostics import Diagnostic
from ..render import lines_of, to_github, to_json, to_line, to_terminal


def show(problems: Iterable[Diagnostic], texts: Mapping[str, str], stream: TextIO, format: str = "text") -> None:
    """Write problems to a stream: `text` has source lines on a terminal and one line each elsewhere.

    `json` is one object a line, `github` one workflow command a line. `texts` are the files' texts, by their names.
    """
    source, terminal = lines_of(texts), stream.isatty()
    for problem in problems:
        if format == "json":
            text = json_line(to_json(problem))
        elif format == "github":
            text = to_github(problem)
        elif terminal:
            text = to_terminal(problem, source, colour=coloured(stream)) + "\n"
        else:
            text = to_line(problem)
        print(text, file=stream)


def json_line(value: Any) -> str:
    """A value as JSON on one line."""
    return json.dumps(value, ensure_ascii=False)


def coloured(stream: TextIO) -> bool:
    """Whether a stream is a terminal on which colours are wanted (see no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
