"""Routines in every state that the status page shows; their attempts are made of Events."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace

from khealth_exporter.canaries.pod_steps import ACCEPT, CREATE, DELETE, READY, SANDBOX, SCHEDULE, START, STARTUP
from khealth_exporter.core.snapshot import About, RoutineStatus, State, after
from khealth_exporter.routines.rcscheduler import RcScheduler
from khealth_exporter.vocabulary.event import Event, Phase
from khealth_exporter.vocabulary.permission import Denied
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Measurement, Quality, Sample
from khealth_exporter.vocabulary.verdict import Evidence, Verdict

NOW = 1795444200.0
"""2026-11-23 14:30:00 UTC."""
INTERVAL = 60.0
ABOUT = About("0.1.0", "3.13.9", "https://10.96.0.1:443", NOW)
STUCK = Measurement(SCHEDULE, 20.0, 0.004, censored=True), Measurement(STARTUP, 20.0, 0.004, censored=True)
UNBOUND = "{0}: the scheduler has not reported on the pod"
LACKING = (
    Denied("create", "replicationcontrollers", "khealth", NOW - 900, NOW, why="make the canaries"),
    Denied("list", "nodes", "", NOW - 900, NOW, optional=True, why="tell no node is Ready from no room"),
)


class Story:
    """What a routine has lived through: one attempt after the other, the last of them some seconds ago."""

    def __init__(self, routine: str = "rcscheduler", pods: int = 3, seed: int = 1) -> None:
        self.status = RoutineStatus("rcscheduler", routine, INTERVAL, RcScheduler.steps)
        self._chance, self._pods, self._number = random.Random(seed), pods, 0
        self._slots: list[Reason | None] = []

    def then(self, *reasons: Reason | None, times: int = 1) -> "Story":
        """Let attempts follow; None is a success."""
        self._slots += [*reasons] * times
        return self

    def told(self, now: float = NOW) -> RoutineStatus:
        """Return how the routine stands, the latest attempt having begun 32 s before."""
        began = now - 32 - INTERVAL * (len(self._slots) - 1)
        for reason in self._slots:
            self._number += 1
            for event in self._attempt(began, reason):
                self.status = after(self.status, event)
            began += INTERVAL
        self._slots = []
        return replace(self.status, due=now + 28)

    def _attempt(self, began: float, reason: Reason | None) -> Iterator[Event]:
        names = [f"khealth-{self.status.routine}-98510230-{self._number}-{self._word()}" for _ in range(self._pods)]
        verdict = Verdict(reason.result, reason, _note(reason).format(*names), reason.component) if reason else None
        accept = Measurement(ACCEPT, self._near(0.006), 0.002)
        seconds = 20.0 if reason else 0.9
        init = Event(
            "rcscheduler", self.status.routine, self._number, Phase.INIT, reason.result if reason else Result.SUCCESS,
            began, began + seconds, seconds, began + seconds, reason, verdict.note if verdict else "", verdict,
            measurements=(accept,), samples=tuple(self._samples(names, reason)),
            evidence=tuple(_evidence(names, reason)),
        )  # fmt: skip
        yield init
        gone = tuple(Sample(name, name, None, (Measurement(DELETE, self._near(0.9), 0.004),), {}) for name in names)
        done = Verdict(Result.SUCCESS) if verdict is None else None
        yield replace(
            init, phase=Phase.CLEANUP, result=Result.SUCCESS, ended=init.ended + 21, at=init.at + 21, duration=self._near(1.1),
            reason=None, note="", verdict=done, measurements=(), samples=gone, evidence=(),
        )  # fmt: skip

    def _samples(self, names: Iterable[str], reason: Reason | None) -> Iterator[Sample]:
        for index, name in enumerate(names):
            quality = Quality.DEGRADED if self._chance.random() < 0.02 else Quality.EXACT
            if self._number == 1:
                quality = Quality.COLD
            legs = {CREATE: 0.011, SCHEDULE: 0.006, SANDBOX: 0.15, START: 0.56, READY: 0.002}
            way = [Measurement(step, self._near(mean), self._near(0.004), quality) for step, mean in legs.items()]
            startup = sum(measured.seconds for measured in way[1:4])
            whole = (*way, Measurement(STARTUP, startup, 0.005, quality))
            if reason is Reason.POD_NOT_SCHEDULED:
                whole = (way[0], *STUCK)
            elif reason is not None:
                whole = ()
            if whole:
                yield Sample(name, name, None if reason else f"node-{index % 3 + 1}", whole, {})

    def _near(self, mean: float) -> float:
        return mean * self._chance.uniform(0.7, 1.4)

    def _word(self) -> str:
        return "".join(self._chance.choices("bcdfghjklmnpqrstvwxz2456789", k=5))


def _note(reason: Reason) -> str:
    known = {
        Reason.POD_NOT_SCHEDULED: UNBOUND,
        Reason.THROTTLED: "create replicationcontrollers: HTTP 429: too many requests, please try again later",
        Reason.FORBIDDEN: 'create replicationcontrollers: HTTP 403: User "system:serviceaccount:khealth:khealth" cannot create',
    }
    return known.get(reason, "{0}: " + reason.value)


def _evidence(names: Iterable[str], reason: Reason | None) -> Iterator[Evidence]:
    if reason is not Reason.POD_NOT_SCHEDULED:
        return
    for name in names:
        yield Evidence("Pod", name, ("phase Pending on no node",))
    yield Evidence("ReplicationController", "khealth-rcscheduler-98510230", ("3 replicas; generation 1, observed 1",))


def well(routine: str = "rcscheduler", now: float = NOW) -> RoutineStatus:
    """Return a routine that has been well for a while."""
    return Story(routine).then(None, times=61).then(Reason.POD_NOT_READY).then(None, times=57).told(now)


def failing() -> RoutineStatus:
    """Return a routine whose scheduler has stopped."""
    story = Story().then(None, times=70).then(Reason.WATCH_INTERRUPTED).then(None, times=20)
    return story.then(Reason.POD_NOT_SCHEDULED, times=11).told()


def inconclusive() -> RoutineStatus:
    """Return a routine that is turned away."""
    return Story().then(None, times=80).then(Reason.POD_NOT_CREATED, None).then(Reason.THROTTLED, times=6).told()


def suspended(routine: str = "rcscheduler") -> RoutineStatus:
    """Return a routine that rests since yesterday."""
    since = NOW - 1.2 * 86400
    return replace(well(routine, since), state=State.SUSPENDED, since=since, suspended=since, due=None)


def expired() -> RoutineStatus:
    """Return a routine that nothing has been heard of for long."""
    return replace(well(now=NOW - 400), state=State.EXPIRED, since=NOW - 232, due=None)


def waiting() -> RoutineStatus:
    """Return a routine that has only begun."""
    return RoutineStatus("rcscheduler", "rcscheduler", INTERVAL, RcScheduler.steps)
