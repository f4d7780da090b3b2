"""`latentgraph models`: the models that graphs can name, and pickled files made safe."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latentgraph.engine.cli import DONE
from latentgraph.engine.cli.arguments import CommandWrong, Parser
from latentgraph.engine.cli.show import json_line
from latentgraph.engine.diagnostics import printable

EPILOG = """\
actions:
  list            the models found, of what family, and their digests (what happens where nothing is said)
  convert FILE    write a pickled file (.ckpt, .pt, .pth, .bin) as a safetensors file beside it, running nothing in it

Models are looked for in the folders that LATENTGRAPH_MODELS lists, those of ComfyUI, A1111 and InvokeAI among them.
The first time, digests take a while: every file is read once, and its digest remembered."""


class ModelsCommand:
    """What the entry point `models` of the group `latentgraph.commands` loads."""

    name, help = "models", "list the models that graphs can name, or convert a pickled file"

    def add_arguments(self, parser: Parser) -> None:
        parser.epilog = EPILOG
        parser.add_argument("action", nargs="?", default="list", choices=("list", "convert"), metavar="ACTION")
        parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="convert: the pickled file")
        parser.add_argument("--to", type=Path, metavar="FILE", help="convert: where to write (FILE.safetensors)")
        parser.add_argument("--no-digests", action="store_true", help="list: read no file as a whole")
        parser.add_argument("--json", action="store_true", help="list: print a list with an object for each model")

    def run(self, args: Namespace) -> int:
        if args.action == "convert":
            if args.file is None:
                raise CommandWrong("`models convert` needs a file", "latentgraph models convert FILE")
            print(converted(args.file, args.to))
        elif args.file is not None:
            raise CommandWrong(f"`models list` takes no further argument, `{args.file}` is one")
        else:
            _list(args)
        return DONE


def converted(file: Path, to: Path | None = None) -> Path:
    """The safetensors file made of a pickled one, by a process of its own. Raises CommandWrong."""
    target = to or file.with_suffix(".safetensors")
    if not file.is_file():
        raise CommandWrong(f"there is no file {file}")
    if target.exists():
        raise CommandWrong(f"{target} is there already", "move it away, or name another file with --to")
    program = [sys.executable, "-P", "-m", "latentgraph.nodes.diffusion.conversion", file.absolute(), target.absolute()]
    done = subprocess.run(program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        said = done.stderr.strip().split("\n")[-1] or f"the process that read it ended with {done.returncode}"
        raise CommandWrong(f"{file} was not converted: {said}")
    return target


def _list(args: Namespace) -> None:
    from latentgraph.engine.cli.stores import size

    from .model_paths import model_folders

    found = list(_described(digests=not args.no_digests))
    if args.json:
        print(json_line(found))
        return
    if not found:
        folders = ", ".join(map(str, model_folders()))
        print(f"no models in {folders}: put some there, or say in LATENTGRAPH_MODELS where they are", file=sys.stderr)
    rows = [("KIND", "NAME", "FAMILY", "SIZE", "TYPE", "DIGEST")] if found else []
    for model in found:
        about = model["family"] or "-", size(model["bytes"]), model["dtype"] or "-", (model["digest"] or "-")[:12]
        rows.append((model["kind"], printable(model["name"]), *about))
    print("\n".join(_columns(rows)))
    for model in found:
        if model["problem"]:
            print(f"warning: {printable(model['problem'])}", file=sys.stderr)


def _described(digests: bool) -> Iterator[dict[str, Any]]:
    from latentgraph.engine.ports import File, Folder

    from .model_files import About, about
    from .model_paths import check_not_pickled, hub_models, models

    for found in (*models(), *hub_models()):
        kind = found.told_kind()
        if kind is None and not found.pickled:
            continue
        says, problem = About(0, "", ""), ""
        try:
            says = About(found.path.stat().st_size, "", "")
            check_not_pickled(found.path)
            says = about(found.path, kind)
        except (OSError, ValueError) as error:
            problem = str(error)
        digest = None
        if digests and not problem:
            if sys.stderr.isatty():
                print(f"\r\033[K{printable(found.name)}", end="", file=sys.stderr)
            digest = (Folder.at(found.path) if found.path.is_dir() else File.at(found.path)).digest
        yield {
            "name": found.name,
            "kind": kind or "unknown",
            "path": str(found.path),
            "family": says.family,
            "bytes": says.size,
            "dtype": says.dtype,
            "digest": digest,
            "problem": problem,
        }
    if digests and sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)


def _columns(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


MODELS = ModelsCommand()
