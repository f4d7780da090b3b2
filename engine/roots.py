"""Where graphs may read files from: everywhere, unless this process runs graphs of others and was confined.

Every path that a graph names goes through `place`: those of File and Folder inputs, of graph files used as node types,
and of whatever a node type takes as text and opens itself (a model folder, say).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

UPLOAD = re.compile(r"upload:([0-9a-f]{64})")
"""How a graph names a file that was uploaded: by the digest of its content."""

NOWHERE = Path("/nowhere")
"""The folder of a graph that has none: relative paths in it are looked for in the roots alone."""


class NotAllowed(ValueError):
    """A path outside of what graphs may read here; the text never says whether anything is there."""


@dataclass(frozen=True)
class Roots:
    """Folders that may be read, and where uploads lie, each in a folder called like its digest."""

    folders: tuple[Path, ...]
    uploads: Path | None = None

    def place(self, written: str, folder: Path) -> Path:
        """Where a path leads, links followed. Raises NotAllowed."""
        upload = UPLOAD.fullmatch(written)
        if upload is not None:
            return self._uploaded(upload[1])
        path = Path(written)
        tried = [folder / path] if folder != NOWHERE else []
        if not path.is_absolute():
            tried += [root / path for root in self.folders]
        found = [real for real in map(_real, tried or [path]) if real is not None and self.allows(real)]
        if not found:
            raise NotAllowed(f"`{written}` is not in a folder that graphs may read here")
        return next((real for real in found if real.exists()), found[0])

    def allows(self, path: Path) -> bool:
        return any(path.is_relative_to(root) for root in self.folders)

    def _uploaded(self, digest: str) -> Path:
        files = list((self.uploads / digest).iterdir()) if self.uploads and (self.uploads / digest).is_dir() else []
        if not files:
            raise NotAllowed(f"there is no upload {digest[:8]}…")
        return files[0]


_roots: Roots | None = None


def confine(folders: tuple[Path, ...], uploads: Path | None) -> None:
    """From now on, this process reads only what lies in these folders, and uploads. There is no way back."""
    global _roots
    _roots = Roots(tuple(folder.resolve() for folder in folders), uploads.resolve() if uploads else None)


def place(written: str, folder: Path = Path()) -> Path:
    """Where a path that is written in a graph leads; relative ones are relative to `folder`.

    Raises NotAllowed where this process may not read there, and RuntimeError where `~name` names nobody.
    """
    if _roots is None:
        return folder / Path(written).expanduser()
    return _roots.place(written, folder)


def readable(path: Path, inside: Path) -> bool:
    """Whether a file found inside a folder may be read: it may be a link to anywhere."""
    if _roots is None:
        return True
    real = _real(path)
    return real is not None and (real.is_relative_to(inside.resolve()) or _roots.allows(real))


def _real(path: Path) -> Path | None:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links, a zero byte
        return None
