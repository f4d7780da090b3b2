"""Files of a store: written to one side, then renamed into place."""

import os
import sys
from pathlib import Path

if sys.platform != "win32":
    import fcntl


def write(file: Path, content: bytes, *, power: bool) -> None:
    """Write a new file; with `power` it is on the disk itself when this returns."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        if power:
            _sync(descriptor)
    finally:
        os.close(descriptor)


def place(aside: Path, file: Path, *, power: bool) -> None:
    """Give a file that was written to one side its name; does nothing where that was done before."""
    try:
        os.replace(aside, file)
    except FileNotFoundError:
        if not aside.exists():
            if file.exists():
                return
            raise
        file.parent.mkdir(parents=True, exist_ok=True)
        if power:
            _sync_folder(file.parent.parent)
        os.replace(aside, file)
    if power:
        _sync_folder(file.parent)


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder last; Windows has no such thing."""
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            _sync(descriptor)
        finally:
            os.close(descriptor)


def _sync(descriptor: int) -> None:
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # fsync leaves it in the drive's own memory
    else:
        os.fsync(descriptor)
