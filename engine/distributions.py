"""Which installed distribution a module belongs to, and in which version: found out without importing the module."""

import os
import re
import sys
from functools import cache
from importlib.util import find_spec

_CALLED = {
    "PIL": "pillow",
    "yaml": "pyyaml",
    "cv2": "opencv-python",
    "sklearn": "scikit-learn",
    "bs4": "beautifulsoup4",
}
"""Distributions that are called otherwise than what they are imported as."""


@cache
def distributions_of(package: str) -> tuple[str, ...]:
    """The distributions that a top-level package belongs to; none for Python's own, and for what is in none."""
    name = _normal(_CALLED.get(package, package))
    if package in sys.stdlib_module_names:
        return ()
    if name in _installed():
        return (name,)
    if any("site-packages" in place or "dist-packages" in place for place in _places(package)):
        from importlib.metadata import packages_distributions  # takes long, so it comes last

        return tuple(sorted({_normal(name) for name in packages_distributions().get(package, ())}))
    return ()


def counts_by_version(package: str) -> bool:
    """Whether the version of its distribution says what code a package has: not if it is in none, or an editable one.

    Also where there is no such package: nothing else can be said of it then.
    """
    names = distributions_of(package)
    if names:
        return not any(map(_is_editable, names))
    return package in sys.stdlib_module_names or not _places(package)


@cache
def _places(package: str) -> tuple[str, ...]:
    """Where a package is; nothing where there is none."""
    loaded = sys.modules.get(package)
    try:
        spec = find_spec(package) if loaded is None else getattr(loaded, "__spec__", None)
    except (ImportError, ValueError):
        spec = None
    if spec is None:  # a loaded module without one is a script, or was made at run time
        return (str(getattr(loaded, "__file__", "")),) if loaded is not None else ()
    return (spec.origin or "", *(spec.submodule_search_locations or ()))


def version_of(distribution: str) -> str:
    """Of an installed distribution, by its normalised name."""
    if distribution in _installed():
        return _installed()[distribution][0]
    from importlib.metadata import version

    return version(distribution)


@cache
def _installed() -> dict[str, tuple[str, str]]:
    """Version and folder of each distribution, by normalised name. Folders' names tell, which is quick to read."""
    found: dict[str, tuple[str, str]] = {}
    for place in sys.path:
        try:
            names = sorted(os.listdir(place or "."))
        except OSError:
            continue
        for entry in names:
            if entry.endswith(".dist-info"):
                name, _, number = entry.removesuffix(".dist-info").rpartition("-")
                found.setdefault(_normal(name), (number, os.path.join(place, entry)))
    return found


def _is_editable(name: str) -> bool:
    try:
        with open(os.path.join(_installed()[name][1], "direct_url.json"), encoding="utf-8") as file:
            return re.search(r'"editable"\s*:\s*true', file.read()) is not None
    except OSError:
        return False


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
