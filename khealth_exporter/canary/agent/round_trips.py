"""The question `round_trips`: how long packets take to places and back, and how many are lost."""

import itertools
import time
from bisect import bisect_left
from collections.abc import Iterator

from khealth_exporter.canary.agent.loop import Waiting, pause
from khealth_exporter.canary.agent.loop import run as run_side_by_side
from khealth_exporter.canary.agent.question import Document, Question
from khealth_exporter.canary.agent.stamps import Trip
from khealth_exporter.canary.agent.trips import Target, go

_MOST_PROBES = 256
_MOST_EDGES = 64
_MOST_COUNT = 1_000


def run(question: Question, until: float) -> Document:
    """Return what came of each probe by a monotonic time; raise BadQuestion."""
    probes = [_Probe(probe) for probe in question.several("probes", _MOST_PROBES)]
    edges = question.numbers("edges", _MOST_EDGES)
    run_side_by_side(_trips(probes), until)
    return {"results": [probe.result(edges) for probe in probes]}


class _Probe:
    """One destination, and the round trips to it."""

    def __init__(self, question: Question) -> None:
        self.target = Target(question)
        self.count = question.integer("count", 5, 1, _MOST_COUNT)
        self.spacing = question.number("spacing", 0.02, 0, 10)
        self._id = question.text("id")
        self._trips: dict[int, Trip] = {}

    async def trip(self, index: int, begin: float) -> None:
        await pause(begin)
        self._trips[index] = await go(self.target)

    def result(self, edges: list[float]) -> Document:
        """Return the figures in seconds; a lost one counts as long as it was waited for."""
        trips = [self._trips[index] for index in sorted(self._trips)]
        answered = [trip.seconds for trip in trips if not trip.error]
        lost = len(trips) - len(answered)
        counted = answered + [self.target.timeout] * lost
        counts = [0] * (len(edges) + 1)
        for seconds in counted:
            counts[bisect_left(edges, seconds)] += 1
        in_order = sorted(answered)
        changes = [abs(after - before) for before, after in itertools.pairwise(answered)]
        errors = [trip.error for trip in trips if trip.error]
        if len(trips) < self.count:
            errors.append("unfinished")
        return {
            "id": self._id,
            "sent": len(trips),
            "lost": lost,
            "counts": counts,
            "sum": round(sum(counted), 9),
            "least": round(in_order[0], 9) if in_order else 0.0,
            "median": round(in_order[len(in_order) // 2], 9) if in_order else 0.0,
            "most": round(in_order[-1], 9) if in_order else 0.0,
            "jitter": round(sum(changes) / len(changes), 9) if changes else 0.0,
            "uncertainty": round(max((trip.uncertainty for trip in trips if not trip.error), default=0.0), 9),
            "error": errors[0] if errors else "",
        }


def _trips(probes: list[_Probe]) -> Iterator[Waiting]:
    """Yield all round trips, the probes by turns: none waits for another's answers."""
    began = time.monotonic()
    for index in range(max((probe.count for probe in probes), default=0)):
        for place, probe in enumerate(probes):
            if index < probe.count:
                yield probe.trip(index, began + (index + place / len(probes)) * probe.spacing)
