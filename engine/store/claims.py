"""Who computes what, so that it is computed once."""

from collections.abc import Callable


class Claim:
    """The right to compute the result of a key, until it is released or its process dies."""

    __slots__ = ("_release", "key")

    def __init__(self, key: str, release: Callable[[str], None]) -> None:
        self.key = key
        self._release = release

    def release(self) -> None:
        self._release(self.key)
