"""The question `until`: when something begins to answer, falls silent, or is answered by others."""

import math
import time
from collections.abc import Iterator

from khealth_exporter.canary.agent.loop import Waiting, pause
from khealth_exporter.canary.agent.loop import run as run_side_by_side
from khealth_exporter.canary.agent.question import BadQuestion, Document, Question
from khealth_exporter.canary.agent.resolver import Settings, settings
from khealth_exporter.canary.agent.stamps import Trip
from khealth_exporter.canary.agent.trips import Target, go

_MOST_CHECKS = 64
_MOST_LANES = 512
"""Tries at a time, of all checks."""
_MOST_NAMES = 64
_MOST_CALM = 10_000


def run(question: Question, until: float) -> Document:
    """Return what came of each check by a monotonic time; raise BadQuestion."""
    own = settings()
    checks = [_Check(check, own) for check in question.several("checks", _MOST_CHECKS)]
    if sum(check.lanes for check in checks) > _MOST_LANES:
        raise BadQuestion(f"checks: more than {_MOST_LANES} tries at a time, by their timeouts and how often they are")
    run_side_by_side(_all(checks), until, _MOST_LANES, lambda: all(check.reached for check in checks))
    return {"results": [check.result() for check in checks]}


class _Check:
    """One condition. Its tries begin at fixed times, whether or not the earlier ones have ended."""

    def __init__(self, question: Question, own: Settings) -> None:
        received = question.received
        self._id = question.text("id")
        self._target = Target(question, timeout=0.5, settings=own)
        self._want = question.choice("want", None, "answer", "silence", "not")
        self._not = question.text("not", "")
        if self._want == "not" and (not self._not or self._target.protocol != "http"):
            raise BadQuestion(f"check {self._id}: not: needs a name, and the protocol http, which tells names")
        self._every = question.number("every", 0.02, 0.005, 10)
        self._calm = question.integer("calm", 40, 1, _MOST_CALM)
        self.lanes = math.ceil(self._target.timeout / self._every) + 1
        self._received = received
        self._done: dict[int, tuple[float, Trip]] = {}
        """Tries that have ended before one that began earlier: when each began, and what came of it."""
        self._tries = 0
        self._answers: dict[str, int] = {}
        self._error = ""
        self._last: tuple[float, float] | None = None
        """Of the try that is decisive so far: when it began, and when it was answered."""
        self._previous = self._following = received
        """When the tries before and after that one began."""
        self._began = received
        self._since = 0
        self.reached = False

    async def lane(self, first: int, began: float) -> None:
        """Make every so manieth try, until the condition is met."""
        number = first
        while not self.reached:
            await pause(began + number * self._every)
            if self.reached:
                return
            begins = time.monotonic()
            trip = await go(self._target)
            self._done[number] = (begins, trip)
            while not self.reached and self._tries in self._done:
                self._took(*self._done.pop(self._tries))
            number += self.lanes

    def _took(self, began: float, trip: Trip) -> None:
        """Judge a try; they come in the order in which they began."""
        self._tries += 1
        previous, self._began = self._began, began
        if self._since == 0:
            self._following = began
        if trip.error:
            self._error = trip.error
        else:
            self._count(trip.name)
        if self._decisive(trip):
            self._last, self._previous, self._since = (began, trip.at), previous, 0
        elif self._want == "silence" or not trip.error:
            self._since += 1
        self.reached = self._last is not None if self._want == "answer" else self._since >= self._calm

    def _decisive(self, trip: Trip) -> bool:
        return not trip.error and (self._want != "not" or trip.name == self._not)

    def _count(self, name: str) -> None:
        if name in self._answers or len(self._answers) < _MOST_NAMES:
            self._answers[name] = self._answers.get(name, 0) + 1

    def result(self) -> Document:
        """Return when it was so, in seconds since the question came; how long it was waited for if it was not."""
        at = self._received if self._last is None else self._last[1]
        if not self.reached:
            seconds, uncertainty = time.monotonic() - self._received, 0.0
        elif self._want == "answer":
            seconds, uncertainty = at - self._received, at - self._previous
        else:
            seconds = at - self._received
            uncertainty = self._following - (self._received if self._last is None else self._last[0])
        return {
            "id": self._id,
            "reached": self.reached,
            "seconds": round(seconds, 9),
            "uncertainty": round(max(0.0, uncertainty), 9),
            "tries": self._tries,
            "answers": self._answers,
            "error": "" if self.reached and self._want == "answer" else self._error,
        }


def _all(checks: list[_Check]) -> Iterator[Waiting]:
    """Yield all lanes, the checks by turns: the first tries of all begin first."""
    began = time.monotonic()
    for number in range(max((check.lanes for check in checks), default=0)):
        for check in checks:
            if number < check.lanes:
                yield check.lane(number, began)
