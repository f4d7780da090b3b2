"""What is worth keeping: the rules by which both tiers let things go."""

_RUNNING = 0.001
"""Seconds that anything costs to make again, however fast its node is."""

_KEEPING = 512
"""Bytes that anything takes up besides its content."""


def share_of_results(bound: int, values: int) -> int:
    """The bytes that results may take: half of all, or what values leave.

    They are kept longer than their values, mostly much larger: without its value a result still tells that what was
    computed from it need not run again, while a value without a result is of little use.
    """
    return max(bound // 2, bound - values)


def worth(seconds: float, bytes: int, age: float) -> float:
    """How much time is saved per byte by keeping something a little longer; the least worth goes first.

    What it saves is the time to make it again, times the chance that it is asked for next. That chance falls about as
    the inverse of the time since its last use: what was used a minute ago is sixty times as likely to be wanted now as
    what was used an hour ago.
    """
    return (seconds + _RUNNING) / (bytes + _KEEPING) / (max(age, 0.0) + 1.0)
