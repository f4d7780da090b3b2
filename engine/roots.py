"""Where graphs may read files from: everywhere, unless this process runs graphs of others and was confined.

Every path that a graph names goes through `place`: those of File and Folder inputs, of graph files used as node types,
and of whatever a node type takes as text and opens itself (a model folder, say).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

UPLOAD = re.compile(r"upload:([0-9a-f]{64})")
"""How a graph names a file that was uploaded: by the digest of its content."""

NOWHERE = Path("/nowhere")
"""The folder of a graph that has none: relative paths in it are looked for in the roots alone."""


LONGEST = 4096
"""Characters of a path that can lead anywhere; to look at millions of folders takes minutes."""


class NotAllowed(ValueError):
    """A path outside of what graphs may read here; the text never says whether anything is there."""


@dataclass(frozen=True)
class Roots:
    """Folders that may be read, as they were given and with links followed; `closed` is what may not be read in them.

    A root inside of what is closed is open.
    """

    folders: tuple[Path, ...]
    closed: tuple[Path, ...] = ()

    def place(self, written: str, folder: Path) -> Path:
        """Where a path leads, links followed. Raises NotAllowed."""
        upload = UPLOAD.fullmatch(written)
        if upload is not None:
            return _uploaded(upload[1])
        found = [real for spelt in self._spelt(written, folder) if (real := self._real(spelt)) is not None]
        if not found:
            raise NotAllowed(f"`{_brief(written)}` is not in a folder that graphs may read here")
        return next((real for real in found if _is_there(real)), found[0])

    def allows(self, path: Path) -> bool:
        return any(path.is_relative_to(root) and not self._shut(path, root) for root in self.folders)

    def readable(self, path: Path, inside: Path | None) -> bool:
        real, folder = _followed(path), inside.resolve() if inside is not None else None
        if real is None:
            return False
        within = folder is not None and real.is_relative_to(folder) and not self._shut(real, folder)
        return within or self.allows(real)

    def _shut(self, path: Path, root: Path) -> bool:
        return any(path.is_relative_to(shut) and not root.is_relative_to(shut) for shut in self.closed)

    def _spelt(self, written: str, folder: Path) -> Iterator[Path]:
        """What a path may mean, without `..`."""
        if "\0" in written or len(written) > LONGEST:
            return
        bases = (folder, *self.folders) if folder != NOWHERE else self.folders
        for base in bases[:1] if os.path.isabs(written) else bases:
            yield Path(os.path.abspath(base / written))

    def _real(self, spelt: Path) -> Path | None:
        """Where it leads. What is outside by its name alone is not looked at: that would tell what is there."""
        real = _followed(spelt) if any(spelt.is_relative_to(root) for root in self.folders) else None
        return real if real is not None and self.allows(real) else None


_roots: Roots | None = None
_uploads: ContextVar[tuple[Path, ...]] = ContextVar("uploads", default=())


def confine(folders: Iterable[Path], closed: Iterable[Path] = ()) -> None:
    """From now on, this process reads only what lies in these folders, and uploads. There is no way back."""
    global _roots
    both = [spelt for folder in folders for spelt in (Path(os.path.abspath(folder)), folder.resolve())]
    _roots = Roots(tuple(dict.fromkeys(both)), tuple(path.resolve() for path in closed))


@contextmanager
def uploads_in(folders: Iterable[Path]) -> Iterator[None]:
    """In it, `upload:DIGEST` stands for the file in the folder that is called so, in one of these folders."""
    token = _uploads.set(tuple(folders))
    try:
        yield
    finally:
        _uploads.reset(token)


def place(written: str, folder: Path = Path()) -> Path:
    """Where a path that is written in a graph leads; relative ones are relative to `folder`.

    Raises NotAllowed where this process may not read there, and RuntimeError where `~name` names nobody.
    """
    if _roots is None:
        return folder / Path(written).expanduser()
    return _roots.place(written, folder)


def readable(path: Path, inside: Path | None = None) -> bool:
    """Whether a file found inside a folder that may be read may be read, too: it may be a link to anywhere."""
    return _roots is None or _roots.readable(path, inside)


def _uploaded(digest: str) -> Path:
    for folder in _uploads.get():
        for file in (folder / digest).iterdir() if (folder / digest).is_dir() else ():
            return file
    raise NotAllowed(f"there is no upload {digest[:8]}…")


def _followed(path: Path) -> Path | None:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links, a zero byte
        return None


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long
        return False


def _brief(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:199]}…"
