"""What is worth keeping: the one rule by which both tiers let things go."""

_RUNNING = 0.001
"""Seconds that anything costs to make again, however fast its node is."""

_KEEPING = 512
"""Bytes that anything takes up besides its content."""


def worth(seconds: float, bytes: int, age: float) -> float:
    """How much time is saved per byte by keeping something a little longer; the least worth goes first.

    What it saves is the time to make it again, times the chance that it is asked for next. That chance falls about as
    the inverse of the time since its last use: what was used a minute ago is sixty times as likely to be wanted now as
    what was used an hour ago.
    """
    return (seconds + _RUNNING) / (bytes + _KEEPING) / (max(age, 0.0) + 1.0)
