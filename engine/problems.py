"""Collecting what is wrong with a graph, so that all of it is reported at once."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from .diagnostics import Diagnostic, Edit, GraphWrong, Note, Place

MOST = 100
"""Errors after which nothing more is looked for: nobody reads more, and to find what was meant takes a while."""


class UserError(Exception):
    """Something that a person can put right; its text, in one or more lines, is all that they need."""


@dataclass
class Problems:
    """The diagnostics found so far. `error` and `add` raise GraphWrong with them as soon as there are MOST errors."""

    found: list[Diagnostic] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    """Of the files that were read on the way, by the names that places have for them."""

    def error(
        self,
        code: str,
        place: Place | None,
        message: str,
        *,
        path: str = "",
        help: str | None = None,
        notes: Iterable[Note] = (),
        fix: Iterable[Edit] = (),
    ) -> None:
        self.found.append(Diagnostic(code, message, place, help, tuple(notes), "error", path, tuple(fix)))
        self._stop_at_most()

    def warning(self, code: str, place: Place | None, message: str, *, path: str = "", help: str | None = None) -> None:
        self.found.append(Diagnostic(code, message, place, help, (), "warning", path))

    def add(self, found: Collection[Diagnostic], notes: Iterable[Note]) -> None:
        """Take over what was found in another file, once each; `notes` say how one gets there."""
        if not found:
            return
        known = {(problem.code, problem.place, problem.message) for problem in self.found}
        for problem in found:
            if (problem.code, problem.place, problem.message) not in known:
                self.found.append(replace(problem, notes=(*problem.notes, *notes)))
        self._stop_at_most()

    def _stop_at_most(self) -> None:
        # Warnings are counted one by one only where there is so much that they might matter.
        if len(self.found) >= MOST and sum(problem.severity == "error" for problem in self.found) >= MOST:
            self.raise_errors()

    def about(self, section: str, name: str) -> bool:
        """Whether something is wrong with this node or param, or with the whole section where it would stand."""
        return any(problem.path.split(".")[:2] in ([section, name], [section]) for problem in self.found)

    def drop_missing_defaults(self, given: Collection[str]) -> None:
        """A default that is not there matters only where nothing is given: a picture's graph has left its folder."""
        unimportant = {f"params.{name}.default" for name in given}
        self.found = [
            problem for problem in self.found if problem.code != "missing-file" or problem.path not in unimportant
        ]

    def in_order(self) -> tuple[Diagnostic, ...]:
        """All of them, each once, in the order of their places."""

        def position(diagnostic: Diagnostic) -> tuple[str, int, int]:
            place = diagnostic.place
            return (place.file, place.line, place.column) if place else ("", 0, 0)

        return tuple(sorted(dict.fromkeys(self.found), key=position))

    @property
    def any_errors(self) -> bool:
        """Whether anything but warnings was found."""
        return any(diagnostic.severity == "error" for diagnostic in self.found)

    def raise_errors(self) -> None:
        """Raises GraphWrong where anything but warnings was found."""
        if self.any_errors:
            raise GraphWrong(self.in_order())
