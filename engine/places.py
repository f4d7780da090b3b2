"""Where latentgraph keeps what is its own: the user's cache folder."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """`LATENTGRAPH_CACHE`, or the platform's folder for caches."""
    named = os.environ.get("LATENTGRAPH_CACHE")
    if named:
        return Path(named)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "latentgraph"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home()))) / "latentgraph"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "latentgraph"
