"""Makes a picture again: shows the graph and the params that are recorded in it, and asks before running them."""

import json
import sys
from pathlib import Path
from typing import TextIO

from ..check import CheckedGraph
from ..outputs import plainly
from ..picture import Making, read_making
from ..reading import Written
from . import printable_lines
from .arguments import CommandWrong


def recorded(picture: Path) -> tuple[Making, Written]:
    """How a picture was made, and its graph; files that the graph itself names are looked for in the working folder.

    Raises NoMaking where the picture does not say, and OSError.
    """
    making = read_making(picture)
    return making, Written(making.graph.encode(), making.name, f"{picture}#graph", Path())


def confirm(
    picture: Path, making: Making, trusted: bool, input: TextIO | None = None, output: TextIO | None = None
) -> None:
    """Show what would run, and ask for a yes where it is not `trusted`.

    A graph from elsewhere can read the files that it names. Raises CommandWrong where nobody says yes.
    """
    input, output = input or sys.stdin, output or sys.stderr
    print(printable_lines(f"{picture} was made by the graph `{making.name}`:\n"), file=output)
    print(printable_lines(making.graph.rstrip().replace("\t", "    ")), file=output)
    print("\nwith the params:\n", file=output)
    for name, value in making.params.items():
        print(printable_lines(f"  {name}: {json.dumps(value, ensure_ascii=False)}"), file=output)
    print(file=output)
    if trusted:
        return
    if not input.isatty():
        raise CommandWrong(
            "nothing was run, because nobody could be asked", "run it with --trust if you trust this graph"
        )
    print("make it again? [y/N] ", end="", file=output, flush=True)
    if input.readline().strip().lower() not in ("y", "yes"):
        raise CommandWrong("nothing was run")


def other_files(making: Making, checked: CheckedGraph) -> list[str]:
    """Which params are other files than the picture was made with, in words."""
    return [
        f"`{name}` is another file than the picture was made with (`{value.get('name')}`, {value['sha256'][:8]}…)"
        for name, value in making.params.items()
        if isinstance(value, dict) and isinstance(value.get("sha256"), str) and name in checked.params
        if not isinstance(now := plainly(checked.params[name]), dict) or now["sha256"] != value["sha256"]
    ]


def other_models(making: Making, used: dict[str, str]) -> list[str]:
    """Which model files differ from those the picture was made with, in words."""
    return [
        f"the model file {name} differs from the one the picture was made with"
        if name in used
        else f"the model file {name}, with which the picture was made, was not used"
        for name, digest in making.models.items()
        if used.get(name) != digest
    ]
