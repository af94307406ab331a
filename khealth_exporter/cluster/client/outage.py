"""When the API server was away last, and how long its other clients may still wait because of that."""

import math

from khealth_exporter.cluster.client.request import Call
from khealth_exporter.cluster.errors import Refusal

LONGEST_WAIT = 60.0
"""Seconds that a client waits at most before it connects again: 30 s and as much jitter, client-go's reflector.go."""
_RETURN = 10.0
"""Seconds that a client has to list its objects once it is connected."""
_APART = 30.0
"""Seconds without a failed request after which the next one begins another outage."""


class Outage:
    """The last outage of the API server, as khealth's own requests met it. Every time is monotonic, in seconds."""

    def __init__(self) -> None:
        self._since = self._until = -math.inf

    def take(self, call: Call, outcome: object, sent: float, now: float) -> None:
        """Take in what has come by now of a request that was sent at that time."""
        if call.server_name or not (isinstance(outcome, Refusal) and outcome.undecided):
            return  # One of several API servers may be away: the others do what is asked.
        if sent - self._until > _APART:
            self._since = sent
        self._until = now

    @property
    def ended(self) -> float:
        """When it was seen last; minus infinity if there was none."""
        return self._until

    @property
    def over(self) -> float:
        """Until when other clients may be away: one that doubles its pauses waits twice as long as the outage took."""
        if self._until == -math.inf:
            return self._until
        return self._until + min(LONGEST_WAIT, 2 * (self._until - self._since)) + _RETURN
