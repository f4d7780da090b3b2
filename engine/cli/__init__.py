"""The command line: `latentgraph COMMAND …`.

Each command is a module of its own, imported when it is asked for, so that `--help` and `check` stay quick. Installed
packages add commands through the entry point group `latentgraph.commands`: each entry, called like its command, is an
object with `name`, `help`, `add_arguments(parser)` and `run(args)`, which gives the exit code.

Exit codes: 0 done, 1 a node failed, 2 the graph or the command is wrong, 130 interrupted. Results go to standard
output, progress and messages to standard error.
"""

import io
import os
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Protocol

from ..diagnostics import GraphWrong, nearest, printable
from ..problems import UserError
from .arguments import CommandWrong, Parser

GROUP = "latentgraph.commands"

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130

EXAMPLES = """\
examples:
  latentgraph run txt2img --set prompt="a dog face with glasses" --set seed=7
  latentgraph run my-graph.yaml --output pictures
  latentgraph check my-graph.yaml
  latentgraph plan my-graph.yaml --set steps=25
  latentgraph nodes KSampler

`latentgraph COMMAND --help` tells more about a command.
"""


class Command(Protocol):
    """What an entry point of the group `latentgraph.commands` loads."""

    name: str
    help: str

    def add_arguments(self, parser: Parser) -> None: ...

    def run(self, args: Namespace) -> int: ...


@dataclass
class OwnCommand:
    """A command that is a module of this package."""

    name: str
    help: str

    @property
    def module(self) -> ModuleType:
        return import_module(f".{self.name}", __name__)

    def add_arguments(self, parser: Parser) -> None:
        self.module.add_arguments(parser)

    def run(self, args: Namespace) -> int:
        return int(self.module.run(args))


OWN = (
    OwnCommand("run", "run a graph, or make a picture again that latentgraph drew"),
    OwnCommand("check", "say everything that is wrong with graphs, without running them"),
    OwnCommand("plan", "say what a run would compute, what it would reuse, and why"),
    OwnCommand("draw", "draw a graph as an SVG or PNG picture"),
    OwnCommand("nodes", "list the node types, or show one with its inputs and outputs"),
    OwnCommand("graphs", "list the graphs that ship"),
    OwnCommand("schema", "print the JSON Schema of graph files, for editors"),
    OwnCommand("store", "look into the store of results, check it, make room in it"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code; what a user did wrong is said in words, never as a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What the encoding does not have is written as an escape, which JSON knows too.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except SystemExit as leaving:  # argparse, after --help
        return leaving.code if isinstance(leaving.code, int) else DONE
    except BrokenPipeError:
        # Whoever read the output has gone. Nothing is left to flush when the interpreter ends, or it would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return INTERRUPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    except (UserError, GraphWrong) as error:
        print(f"error: {printable_lines(str(error))}", file=sys.stderr)
    except OSError as error:
        subject = f"{error.filename}: " if error.filename else ""
        print(f"error: {printable(subject + (error.strerror or str(error)).lower())}", file=sys.stderr)
    return WRONG


def printable_lines(text: str) -> str:
    """`text` with nothing in its lines that a terminal would obey rather than show."""
    return "\n".join(map(printable, text.split("\n")))


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0].startswith("-"):
        return _without_command(arguments)
    command = _command(arguments[0])
    parser = Parser(prog=f"latentgraph {command.name}", description=command.help)
    command.add_arguments(parser)
    return command.run(parser.parsed(arguments[1:]))


def _command(name: str) -> Command:
    """The command called `name`. Raises CommandWrong where there is none or it cannot be loaded."""
    for own in OWN:
        if own.name == name:
            return own
    contributed = {command.name: command for command in _contributed(name)}
    if name in contributed:
        return contributed[name]
    near = nearest(name, [own.name for own in OWN] + [command.name for command in _contributed()])
    raise CommandWrong(
        f"there is no command `{name}`", f"did you mean `{near}`?" if near else "`latentgraph --help` lists them"
    )


def _contributed(name: str | None = None) -> Iterator[Command]:
    """The commands of installed packages, or only the one called `name`."""
    from ..entries import entries

    for entry in entries(GROUP):
        if name is not None and entry.name != name:
            continue
        try:
            yield entry.load()
        except Exception as error:  # whatever a package does when it is imported
            package = entry.dist.name if entry.dist else entry.value
            raise CommandWrong(
                f"the command `{entry.name}` of the package {package} cannot be loaded: {type(error).__name__}: {error}"
            ) from error


def _without_command(arguments: list[str]) -> int:
    """`--help`, `--version`, and whatever else begins without a command."""
    if arguments == ["--version"]:
        from importlib.metadata import version

        print(f"latentgraph {version('latentgraph')}")
        return DONE
    commands = [*OWN, *_contributed()]
    listed = "\n".join(f"  {command.name:<8}  {command.help}" for command in commands)
    parser = Parser(
        prog="latentgraph",
        usage="latentgraph COMMAND …",
        description="Latent diffusion as graphs: typed nodes, YAML graphs, checked before they run.",
        epilog=f"commands:\n{listed}\n\n{EXAMPLES}",
    )
    parser.add_argument("--version", action="store_true", help="say which version this is")
    if not arguments:
        parser.print_help(sys.stderr)
        return WRONG
    parser.parsed(arguments)
    raise CommandWrong("a command is missing", "`latentgraph --help` lists them")
