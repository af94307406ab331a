"""When the API server was away last, and how long its other clients may still wait because of that."""

import math

from khealth_exporter.cluster.client.request import Call
from khealth_exporter.cluster.errors import Refusal

LONGEST_WAIT = 60.0
"""Seconds that a client waits at most before it connects again: 30 s and as much jitter, client-go's reflector.go."""
_RETURN = 10.0
"""Seconds that a client has to list its objects once it is connected."""
_LEAST = 2.0
"""Seconds without any answer that make an outage: what is shorter is repeated at once, by others too."""
_PATIENCE = 1.0
"""Seconds that a request must have had before its time-out counts: the deadline may have left it less."""
_RELAYED = frozenset({"proxy", "log"})
"""Subresources that are answered by a pod or a kubelet: their silence says nothing of the API server."""


class Outage:
    """The last outage of the API server, as khealth's own requests met it. Every time is monotonic, in seconds."""

    def __init__(self) -> None:
        self._answered = self._until = self._over = -math.inf
        self._since: float | None = None
        """When the present outage began; None while requests are answered."""

    def take(self, call: Call, outcome: object, sent: float, now: float) -> None:
        """Take in what has come by now of a request that was sent at that time."""
        if call.server_name or call.resource.rpartition("/")[2] in _RELAYED:
            return  # One of several API servers may be away: the others do what is asked.
        if not isinstance(outcome, Refusal):
            self._answered, self._since = now, None
        elif outcome.undecided and not (outcome.late and now - sent < _PATIENCE):
            if self._since is None:
                self._since = max(sent, self._answered)
            self._until = now
            if (lasted := now - self._since) >= _LEAST:
                self._over = now + min(LONGEST_WAIT, 2 * lasted) + _RETURN

    @property
    def ended(self) -> float:
        """When it was seen last; minus infinity if there was none."""
        return self._until

    @property
    def over(self) -> float:
        """Until when other clients may be away: one that doubles its pauses waits twice as long as the outage took."""
        return self._over
