"""A Service of an attempt: where it answers, and which pods the controller manager publishes behind it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

from khealth_exporter.canaries.asking import ASKING, check_awake
from khealth_exporter.canaries.diagnosis import Finding
from khealth_exporter.canaries.interference import interference_with
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.cluster.kinds import ENDPOINT_SLICE, SERVICE
from khealth_exporter.cluster.objects import EndpointSlice, Service
from khealth_exporter.cluster.ownership import Ownership
from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.core.routine import Context
from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.trace import Way
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Evidence, Failed

SERVICE_NAME = "kubernetes.io/service-name"
"""The label of an EndpointSlice that names its Service."""

Addresses = AbstractSet[str]


ASSIGNED = "assigned"


def _milestones(service: Service) -> Iterator[str]:
    yield "created"
    if _balancer(service):
        yield ASSIGNED


WAY: Way[Service] = Way(milestones=("created", ASSIGNED, "deleted"), spans=(), reached=_milestones)
"""What a watch can show of a Service: that its load balancer has an address."""


class Served(Owned[Service]):
    """A Service in front of all pods of its attempt, with its EndpointSlices.

    Kubernetes copies a Service's labels to its EndpointSlices: by them they are found.
    """

    def __init__(self, ownership: Ownership, context: Context, changed: Signal) -> None:
        super().__init__(SERVICE, ownership, context, changed, way=WAY)
        self._published = context.cluster.watches.of(ENDPOINT_SLICE).subscribe(ownership.key, changed)
        self._slices: dict[str, EndpointSlice] = {}

    def close(self) -> None:
        """End the attempt's claim, and take in no more."""
        super().close()
        self._published.close()

    @property
    def address(self) -> str:
        """Where it answers in the cluster; empty if it has no address."""
        return next(iter(self.known.spec.cluster_ips), "")

    @property
    def node_port(self) -> int:
        """The port of every node at which it answers; 0 if there is none."""
        return next((port.node_port for port in self.known.spec.ports), 0)

    @property
    def balancer(self) -> str:
        """Where its load balancer listens: an address, or a host name; empty as long as it has none."""
        return _balancer(self.known)

    @property
    def named(self) -> bool:
        """Whether its load balancer listens at a host name."""
        return any(self.balancer == one.hostname for one in self.known.status.load_balancer.ingress)

    def described(self, kind: str, port: int, labels: Mapping[str, str]) -> Mapping[str, object]:
        """Return its manifest: of a type such as ClusterIP, at the port where the pods listen too, with more labels."""
        own = dict(self.ownership.labels)
        ports = [{"name": "http", "protocol": "TCP", "port": port, "targetPort": port}]
        return {
            "apiVersion": SERVICE.api_version,
            "kind": SERVICE.name,
            "metadata": self.ownership.metadata() | {"labels": {**labels, **own}},
            "spec": {"type": kind, "selector": own, "ports": ports},
        }

    async def removed(self, deadline: float) -> None:
        """Wait until it is gone, its load balancer first; raise Failed if it is not."""

        def gone() -> bool:
            self.update()
            return self.gone or not self.begun

        if not await self.changed.until(gone, deadline):
            kept = ", ".join(self.known.metadata.finalizers) or "none"
            raise Failed(Reason.NO_SINGLE_CAUSE, f"the Service was deleted, and is still there; finalizers: {kept}")

    async def published(self, true: Callable[[Addresses], bool], deadline: float, step: Step, late: str) -> Moment:
        """Return when a condition held for the Ready addresses; at the deadline raise Failed, `late` is what it says.

        Before the controller manager is blamed, the API server itself is asked.
        """
        found: list[Moment] = []

        def holds() -> bool:
            for line in self._published.drain():
                if line.type == "DELETED":
                    self._slices.pop(line.object.name, None)
                else:
                    self._slices[line.object.name] = line.object
                if not found and true(_ready(self._slices.values())):
                    found.append(Moment(line.at, line.delay, line.recovered))
            self.update()
            return bool(found) or self.taken

        await self.changed.until(holds, deadline)
        if not found:
            raise await self._missed(true, deadline, step, late)
        return found[0]

    async def _missed(self, true: Callable[[Addresses], bool], deadline: float, step: Step, late: str) -> Failed:
        now, cluster, name = self._clock.now(), self._cluster, self.ownership.name
        check_awake(now - deadline)
        asked = now + ASKING
        slices = await cluster.list(ENDPOINT_SLICE, asked, labels=f"{SERVICE_NAME}={name}")
        evidence = tuple(map(_of_slice, slices))
        if why := await interference_with(cluster, self, asked):
            return Failed(why.reason, why.note, evidence)
        if true(_ready(slices)):
            note = "the watch was behind the API server at the deadline"
            if any(not self.ownership.marks(found) for found in slices):
                note = "the EndpointSlices lack the labels of their Service: khealth cannot follow them"
            return Failed(Reason.WATCH_INTERRUPTED, note, evidence)
        told = "there is no EndpointSlice" if not slices else "the EndpointSlices have not followed"
        return Failed(Reason.ENDPOINTS_NOT_PUBLISHED, f"{late}: {told}", evidence, step=step)


def not_assigned(step: Step) -> Callable[[Service | None], Finding]:
    """Return what says that the load balancer has no address."""
    return lambda _: Finding(step, Reason.SERVICE_NOT_PROGRAMMED, "the Service's load balancer has no address")


def _balancer(service: Service) -> str:
    return next((where for one in service.status.load_balancer.ingress if (where := one.ip or one.hostname)), "")


def _ready(slices: Iterable[EndpointSlice]) -> Addresses:
    return {
        address
        for found in slices
        for endpoint in found.endpoints
        if endpoint.conditions.ready
        for address in endpoint.addresses
    }


def _of_slice(found: EndpointSlice) -> Evidence:
    lines = [
        f"{', '.join(endpoint.addresses)}: {'ready' if endpoint.conditions.ready else 'not ready'}"
        for endpoint in found.endpoints
    ]
    return Evidence("EndpointSlice", found.name, tuple(lines) or ("no endpoints",))
