"""Parsing the arguments of a command: argparse, with errors that help, and the options that commands share."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ..diagnostics import nearest
from ..problems import UserError


class CommandWrong(UserError):
    """The command line cannot be understood or asks for something that cannot be done."""

    def __init__(self, message: str, help: str | None = None) -> None:
        super().__init__(f"{message} ({help})" if help else message)


class Parser(argparse.ArgumentParser):
    """An argument parser that raises CommandWrong instead of ending the process."""

    def __init__(
        self, *, prog: str, usage: str | None = None, description: str | None = None, epilog: str | None = None
    ) -> None:
        super().__init__(
            prog=prog,
            usage=usage,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def parsed(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The arguments by name. Raises CommandWrong, with the nearest option where one is misspelt."""
        # Misspelt options first: a value that follows one would look like an argument too many.
        for argument in arguments:
            if argument == "--":
                break
            option = argument.partition("=")[0]
            if option.startswith("--") and option not in self._option_string_actions:
                near = nearest(option, self._option_string_actions)
                help = f"did you mean `{near}`?" if near else f"`{self.prog} --help` lists the options"
                raise CommandWrong(f"`{self.prog}` has no option `{option}`", help)
        found, unknown = self.parse_known_args(arguments)
        if unknown:
            kind = "option" if unknown[0].startswith("-") else "place for an argument"
            raise CommandWrong(
                f"`{self.prog}` has no {kind} `{unknown[0]}`", f"`{self.prog} --help` tells what it takes"
            )
        return found

    def error(self, message: str) -> NoReturn:
        raise CommandWrong(f"`{self.prog}`: {message}", f"`{self.prog} --help` tells what it takes")


def add_nodes_option(parser: Parser) -> None:
    parser.add_argument(
        "--nodes",
        action="append",
        type=Path,
        default=[],
        metavar="FILE_OR_FOLDER",
        help="more node types: a Python file, or a folder of them; may be repeated",
    )


def add_set_option(parser: Parser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="give a param of the graph a value; may be repeated; relative paths are relative to the working folder",
    )


def add_store_options(parser: Parser, *, without: bool = True) -> None:
    parser.add_argument(
        "--store",
        type=Path,
        metavar="DIR",
        help="where results are kept (LATENTGRAPH_STORE, or the user's cache folder)",
    )
    if without:
        parser.add_argument("--no-store", action="store_true", help="neither reuse results nor keep them")


def assignments(given: Sequence[str]) -> dict[str, str]:
    """What `--set` options say, by name; the last of several with one name counts. Raises CommandWrong."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise CommandWrong(f"`--set {text}` gives no value to a name", "write --set NAME=VALUE")
        found[name.strip()] = value
    return found
