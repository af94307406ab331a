"""Whether the garbage collector may be merely busy: one that is broken and one that has much to do look alike."""

import math

BUSY = 300.0
"""Seconds for which the garbage collector may be busy elsewhere: it deletes about 20 objects a second."""
_ALIKE = 1.0
"""Seconds between two deletions whose order says nothing."""


class Backlog:
    """What khealth has seen of the garbage collector and of the controller manager, whatever the routine.

    Nothing that khealth may read tells whether it is broken or busy. So it counts as broken once it was busy for too
    long, or where it has left something that other canaries have overtaken. All times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        """When it was first waited for in vain since it last worked."""
        self._overtaking = self._worked = -math.inf

    def collected(self, asked: float) -> None:
        """Take note that it has done all that was asked of it at that time."""
        self._since = None
        self._overtaking = max(self._overtaking, asked)

    def works(self, at: float) -> None:
        """Take note that the controller manager, of which it is a part, worked at that time."""
        self._worked = max(self._worked, at)

    def excuses(self, asked: float, now: float) -> bool:
        """Tell whether it may still get to what was asked of it at that time."""
        if self._worked < asked or asked + _ALIKE <= self._overtaking:
            return False
        self._since = now if self._since is None else self._since
        return now - self._since < BUSY
