"""A pod's way: watch lines become milestones, milestones become steps, each with its error bar and quality."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from khealth_exporter.cluster.objects import Pod
from khealth_exporter.cluster.watch.subscription import Line
from khealth_exporter.measure.clock import Clock
from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.ruler import Ruler
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.sample import Measurement, Quality, Sample
from khealth_exporter.vocabulary.step import Step

ACCEPT = Step("accept", Component.API_SERVER, "the write is sent → its answer is complete")
CREATE = Step("create", Component.CONTROLLER_MANAGER, "the answer → the pod is there")
SCHEDULE = Step("schedule", Component.SCHEDULER, "the pod is there → it has a node")
SANDBOX = Step("sandbox", Component.NODE, "it has a node → its sandbox and network stand")
START = Step("start", Component.NODE, "its sandbox stands → every container has started")
READY = Step("ready", Component.NODE, "every container has started → it is Ready")
STARTUP = Step("startup", Component.NODE, "the pod is there → every container has started: the pod-startup SLI")
DELETE = Step("delete", Component.CONTROLLER_MANAGER, "the delete is sent → the pod is gone")

STEPS = (ACCEPT, CREATE, SCHEDULE, SANDBOX, START, READY, STARTUP, DELETE)
"""Every step of a pod's way."""
MILESTONES = ("created", "scheduled", "sandboxed", "started", "ready", "deleted")
"""What a watch can show of a pod, in the order of its life."""
SANDBOXED = "PodReadyToStartContainers"

REASONS = (
    Reason.API_UNREACHABLE,
    Reason.API_TIMEOUT,
    Reason.API_ERROR,
    Reason.API_REJECTED,
    Reason.WEBHOOK_FAILED,
    Reason.POD_NOT_CREATED,
    Reason.POD_NOT_DELETED,
    Reason.POD_NOT_SCHEDULED,
    Reason.POD_UNSCHEDULABLE,
    Reason.NODES_NOT_READY,
    Reason.ONE_NODE,
    Reason.KUBELET_SILENT,
    Reason.SANDBOX_FAILED,
    Reason.POD_NOT_STARTED,
    Reason.POD_CRASHED,
    Reason.POD_NOT_READY,
    Reason.POD_LOST,
    Reason.IMAGE_PULL_FAILED,
    Reason.FORBIDDEN,
    Reason.THROTTLED,
    Reason.QUOTA_EXCEEDED,
    Reason.WATCH_INTERRUPTED,
    Reason.PROBER_STARVED,
    Reason.DISRUPTED,
    Reason.NO_NODE,
    Reason.INTERRUPTED,
    Reason.INTERNAL_ERROR,
)
"""Why an exercise of pods may fail, or stay inconclusive."""
COLD_AFTER = 12 * 3600.0
"""Seconds after which a node may have lost an image that it had."""

_AFTER = {"created": SCHEDULE, "scheduled": SANDBOX, "sandboxed": START, "started": READY}
"""What a pod is at, once it has reached a milestone."""


class Way:
    """One pod's way from ADDED to DELETED, as its watch showed it."""

    def __init__(self, pod: Pod) -> None:
        self.pod = pod
        self.moments: dict[str, Moment] = {}

    @property
    def node(self) -> str | None:
        """The node that it was given."""
        return self.pod.spec.node_name or None

    @property
    def gone(self) -> bool:
        """Whether it has been removed."""
        return "deleted" in self.moments

    @property
    def well(self) -> bool:
        """Whether it is there to stay, and Ready."""
        return not self.gone and not self.pod.leaving and not self.pod.ended and self.pod.holds("Ready")

    @property
    def progress(self) -> int:
        """How many milestones it has reached, a sandbox that was never shown included."""
        reached = [index for index, name in enumerate(MILESTONES[:-1], 1) if name in self.moments]
        return max(reached, default=0)

    def frozen(self) -> "Way":
        """Return a copy that later lines leave as it is."""
        twin = Way(self.pod)
        twin.moments = dict(self.moments)
        return twin

    def take(self, line: Line[Pod]) -> None:
        """Take note of what one line says."""
        moment = Moment(line.at, line.delay, line.recovered)
        self.pod = line.object
        self.moments.setdefault("created", moment)
        reached = {"deleted"} if line.type == "DELETED" else set(milestones(line.object))
        for name in reached:
            self.moments.setdefault(name, moment)


def milestones(pod: Pod) -> Iterator[str]:
    """Yield the milestones that a pod's present state shows."""
    yield "created"
    if pod.spec.node_name:
        yield "scheduled"
    if pod.holds(SANDBOXED):
        yield "sandboxed"
    if pod.started:
        yield "started"
    if pod.holds("Ready"):
        yield "ready"


def behind(way: Way | None, pod: Pod) -> bool:
    """Tell whether the API server says that a pod is further on than the watch has shown; gone is furthest."""
    return way is None or (not way.gone and any(name not in way.moments for name in milestones(pod)))


def beginning(way: Way, ruler: Ruler, answered: Moment, deadline: Moment | None = None) -> Iterator[Measurement]:
    """Yield the steps of a pod from the answer to Ready.

    With a deadline, the step that a pod is stuck in counts with the time waited, and `startup` too if it has not
    started; later steps get nothing.
    """
    seen = way.moments
    if "created" not in seen:
        return
    yield ruler.measure(CREATE, answered, seen["created"])
    spans = (
        (SCHEDULE, "created", "scheduled"),
        (SANDBOX, "scheduled", "sandboxed"),
        (START, "sandboxed" if "sandboxed" in seen else "scheduled", "started"),
        (READY, "started", "ready"),
        (STARTUP, "created", "started"),
    )
    for step, begin, end in spans:
        if begin in seen and end in seen:
            yield ruler.measure(step, seen[begin], seen[end])
    if deadline is not None and not way.gone:
        yield from _stuck(way, ruler, deadline)


def _stuck(way: Way, ruler: Ruler, deadline: Moment) -> Iterator[Measurement]:
    seen = way.moments
    if "ready" in seen:
        return
    last = max((name for name in _AFTER if name in seen), key=MILESTONES.index)
    yield ruler.measure(_AFTER[last], seen[last], deadline, censored=True)
    if "started" not in seen:
        yield ruler.measure(STARTUP, seen["created"], deadline, censored=True)


class SeenImages:
    """Which image has started on which node, and when: the first start there may have pulled it."""

    def __init__(self, *, remember: bool = True) -> None:
        self._remember = remember
        self._warm: dict[tuple[str, str], tuple[float, float]] = {}
        """By image and node: since when it has been there for sure, and its last start (monotonic seconds)."""

    def note(self, ways: Iterable[Way], image: str) -> None:
        """Take note of the pods that have started."""
        started = sorted((way.moments["started"].at, way.node or "") for way in ways if "started" in way.moments)
        for at, node in started:
            since, last = self._warm.get((image, node), (at, at))
            self._warm[image, node] = (at if at - last > COLD_AFTER else since, at)

    def graded(self, measured: Measurement, way: Way, image: str) -> Measurement:
        """Call the `startup` of a pod cold that was there before its image had ever started on its node."""
        if not self._remember or measured.step != STARTUP.name or measured.censored or not way.node:
            return measured
        warm = self._warm.get((image, way.node))
        cold = warm is None or way.moments["created"].at < warm[0]
        return replace(measured, quality=Quality.COLD) if cold else measured


def sample(way: Way, measurements: Iterable[Measurement], clock: Clock) -> Sample:
    """Return what was measured of a pod."""
    observed = {name: way.moments.get(name) for name in MILESTONES}
    times = {name: clock.utc(moment.at) if moment else None for name, moment in observed.items()}
    return Sample(way.pod.name, way.pod.uid, way.node, tuple(measurements), times)
