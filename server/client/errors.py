"""What can go wrong between a client and its server."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from .results import Document, Result


class ServerError(Exception):
    """The server refused a request: its `code`, its message, and whether the same request may succeed later."""

    def __init__(
        self,
        code: str,
        message: str,
        temporary: bool = False,
        diagnostics: Sequence[Mapping[str, Any]] = (),
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.temporary = code, message, temporary
        self.diagnostics = tuple(diagnostics)
        self.more = more or {}
        """What else the server told, such as the snapshot beside `gone`."""

    @classmethod
    def told(cls, error: Mapping[str, Any]) -> "ServerError":
        """The error that the server told as JSON."""
        known = {"code", "message", "temporary", "diagnostics"}
        kind = GraphRefused if error.get("diagnostics") else ServerError
        return kind(
            str(error.get("code", "unknown")),
            str(error.get("message", "the server does not say why")),
            bool(error.get("temporary", False)),
            error.get("diagnostics") or (),
            {name: value for name, value in error.items() if name not in known},
        )


class GraphRefused(ServerError):
    """A graph or its params are wrong; `diagnostics` has every problem, as `latentgraph check --format json` does."""

    def __str__(self) -> str:
        lines = [f"{found.get('path') or 'graph'}: {found.get('message')}" for found in self.diagnostics]
        return "\n".join([self.message, *lines])


class Unreachable(Exception):
    """The server does not answer."""


class NotDone(Exception):
    """A job ended without being done; `result` has the outputs that there are all the same."""

    def __init__(self, message: str, result: "Result") -> None:
        super().__init__(message)
        self.result = result

    @property
    def document(self) -> "Document":
        return self.result.document

    def of(self, result: "Result") -> Self:
        """The same with another form of the result."""
        return type(self)(str(self), result)


class JobFailed(NotDone):
    """A node of the job failed, or an output could not be written."""


class JobCancelled(NotDone):
    """The job was cancelled."""
