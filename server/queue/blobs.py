"""Files by the digest of their content: what outputs are kept as."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Collection
from pathlib import Path

from latentgraph.engine.outputs import write_whole

YOUNG = 3600
"""Seconds for which a file that nothing refers to is left alone: a worker may have written it a moment ago."""


class Blobs:
    """Files below a folder, each called like the SHA-256 of what is in it. Several processes use one folder."""

    def __init__(self, folder: Path, *, power: bool) -> None:
        self.folder, self.power = folder, power

    def path(self, digest: str) -> Path:
        return self.folder / digest[:2] / digest

    def keep(self, content: bytes) -> str:
        """Write a file, if it is not there yet, and give its digest. Raises OSError."""
        digest = hashlib.sha256(content).hexdigest()
        path = self.path(digest)
        if path.exists() and path.stat().st_size == len(content):
            os.utime(path)  # so that it is not taken for an old one
            return digest
        write_whole(path, content)
        for synced in (path, path.parent) if self.power else ():
            descriptor = os.open(synced, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        return digest

    def drop_all_but(self, used: Collection[str]) -> int:
        """Delete the files that are neither used nor young; gives their bytes."""
        freed, oldest = 0, time.time() - YOUNG
        for path in self.folder.glob("*/*"):
            if path.name not in used and (status := path.stat()).st_mtime < oldest:
                path.unlink(missing_ok=True)
                freed += status.st_size
        return freed
