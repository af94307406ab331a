"""Who is to blame: from how far pods came, and what is said of them, to one Reason. Pure: no I/O, no clock."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from khealth_exporter.canaries.pod_way import SANDBOXED, Way
from khealth_exporter.cluster.errors import clean, judge
from khealth_exporter.cluster.objects import GOING, Node, Pod, ReplicationController
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result

PULLING = {
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable",
    "ImageInspectError", "SignatureValidationFailed",
}  # fmt: skip
"""Why a container waits, when its image is what it lacks."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is said of one pod: the earlier the place on its way, the nearer to the cause."""

    place: int
    reason: Reason
    note: str
    node: str | None = None
    progress: int = 0


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes that the pods may run on, so far as known; `known` is False where nodes may not be listed."""

    eligible: tuple[Node, ...] = ()
    names: frozenset[str] = frozenset()
    known: bool = False

    @classmethod
    def of(cls, nodes: Sequence[Node] | None, selector: Mapping[str, str], tolerated: Iterable[str]) -> "Nodes":
        """Keep those that the selector matches and whose lasting taints are tolerated ("" tolerates everything)."""
        if nodes is None:
            return cls()
        keys = set(tolerated)
        eligible = [n for n in nodes if selector.items() <= n.metadata.labels.items() and _tolerated(n, keys)]
        return cls(tuple(eligible), frozenset(node.name for node in nodes), known=True)

    @property
    def none_ready(self) -> bool:
        """Whether there are nodes in service, and not one of them is Ready."""
        serving = [node for node in self.eligible if not node.cordoned]
        return bool(serving) and not any(node.ready for node in serving)

    @property
    def all_cordoned(self) -> bool:
        """Whether every node is being taken out of service."""
        return bool(self.eligible) and all(node.cordoned for node in self.eligible)

    def disrupts(self, way: Way) -> str:
        """Return how its node explains that a pod went, or nothing."""
        if not self.known or not way.node:
            return ""
        node = next((node for node in self.eligible if node.name == way.node), None)
        if way.node not in self.names:
            return f"its node {way.node} is gone"
        if node is None:
            return ""
        if node.cordoned:
            return f"its node {way.node} is cordoned"
        others = any(other.ready for other in self.eligible if other is not node)
        if "ready" in way.moments and not node.ready and others:
            return f"its node {way.node} became NotReady, other nodes are well"
        return ""


def _tolerated(node: Node, keys: set[str]) -> bool:
    # Taints of this prefix, and an autoscaler's, say how a node is at the moment; what else repels is there to stay.
    passing = {taint.key for taint in node.spec.taints if taint.key.startswith("node.kubernetes.io/")} | GOING
    lasting = {taint.key for taint in node.spec.taints if taint.effect != "PreferNoSchedule"} - passing
    return "" in keys or lasting <= keys


def blame(findings: Sequence[Finding], others: Iterable[Way] = ()) -> Finding:
    """Return the one finding that stands for an attempt: the earliest place wins, ties go by count.

    Where all failing pods are on one node, and a pod of the same attempt on another node got further, it is the node.
    """
    counted = Counter((finding.place, finding.reason) for finding in findings)
    first = min(findings, key=lambda f: (f.place, -counted[f.place, f.reason]))
    nodes = {finding.node for finding in findings}
    elsewhere = first.reason in (Reason.POD_LOST, Reason.NODES_NOT_READY)
    failing = first.reason.result is Result.FAILURE and not elsewhere and first.node is not None
    further = max(finding.progress for finding in findings)
    if failing and len(nodes) == 1 and any(w.node not in (None, first.node) and w.progress > further for w in others):
        return Finding(first.place, Reason.ONE_NODE, f"{first.reason} on {first.node} alone: {first.note}", first.node)
    return first


def not_created(controller: ReplicationController | None, missing: int) -> Finding:
    """Say why pods are missing, by what the controller manager says in the controller's status."""
    count = f"{missing} pod{'s' if missing > 1 else ''} not created"
    if controller is None:
        return Finding(0, Reason.POD_NOT_CREATED, f"{count}, and the controller is not seen")
    if controller.refusal:
        return Finding(0, _refused(controller.refusal), f"{count}: {clean(controller.refusal)}")
    if controller.status.observed_generation < controller.metadata.generation:
        return Finding(0, Reason.POD_NOT_CREATED, f"{count}: the controller manager has not looked at the controller")
    return Finding(0, Reason.POD_NOT_CREATED, f"{count}, though the controller manager has seen the controller")


def _refused(message: str) -> Reason:
    """Return what it means that the API server refuses the controller manager's pods in these words."""
    for cause in ("error looking up service account", "cannot create resource"):
        if cause in message:
            return Reason.POD_NOT_CREATED  # Another of its controllers is late, or it has lost its own rights.
    if "because it is being terminated" in message:
        return Reason.INTERRUPTED  # The whole namespace goes.
    code = 403 if " is forbidden: " in message or " is invalid: " in message or "denied the request" in message else 500
    reason = judge(code, message.encode()).reason
    return Reason.POD_NOT_CREATED if reason is Reason.API_ERROR else reason


def not_ready(way: Way, nodes: Nodes, pulling: frozenset[str] = frozenset()) -> Finding:
    """Say why one pod is not (or no longer) there and Ready; `pulling` names those whose image is on its way."""
    pod = way.pod
    place, reason, note = _disrupted(way, nodes) or _lost(way) or _unscheduled(pod, nodes) or _on_node(way, nodes)
    if reason is Reason.POD_NOT_STARTED and pod.name in pulling and not pod.ended:
        reason, note = Reason.IMAGE_PULL_FAILED, "its image is still being pulled"
    return Finding(place, reason, clean(f"{pod.name}: {note}"), way.node, way.progress)


_Said = tuple[int, Reason, str]


def _disrupted(way: Way, nodes: Nodes) -> _Said | None:
    target = way.pod.condition("DisruptionTarget")
    if target is not None and target.status == "True":
        return 6, Reason.DISRUPTED, target.message or target.reason
    explained = nodes.disrupts(way)
    return (6, Reason.DISRUPTED, explained) if explained else None


def _lost(way: Way) -> _Said | None:
    if way.gone or way.pod.leaving:
        return 5, Reason.POD_LOST, "deleted, and not by khealth" if way.pod.leaving else "vanished"
    return None


def _unscheduled(pod: Pod, nodes: Nodes) -> _Said | None:
    if pod.spec.node_name:
        return None
    said = pod.condition("PodScheduled")
    if said is None or said.status != "False":
        return 1, Reason.POD_NOT_SCHEDULED, "the scheduler has said nothing of it"
    if nodes.all_cordoned:
        return 1, Reason.NO_NODE, f"every node is cordoned or being removed; {said.message}"
    if nodes.none_ready:
        return 1, Reason.NODES_NOT_READY, f"no node is Ready; {said.message}"
    return 1, Reason.POD_UNSCHEDULABLE, said.message or said.reason


def _on_node(way: Way, nodes: Nodes) -> _Said:
    pod = way.pod
    if nodes.none_ready:
        return 2, Reason.NODES_NOT_READY, f"no node is Ready; it is on {way.node}"
    if pod.ended:
        said = f"{pod.status.reason} {pod.status.message}".strip()
        return 4, Reason.POD_CRASHED if pod.started else Reason.POD_NOT_STARTED, said or f"it is {pod.status.phase}"
    if not pod.status.start_time:
        return 2, Reason.KUBELET_SILENT, f"the kubelet on {way.node} has not taken it up"
    return _containers(pod) or _sandbox(pod) or _last_steps(pod)


def _containers(pod: Pod) -> _Said | None:
    for container in pod.status.container_statuses:
        waiting, ended = container.state.waiting, container.state.terminated or container.last_state.terminated
        if waiting and waiting.reason in PULLING:
            return 4, Reason.IMAGE_PULL_FAILED, f"{waiting.reason}: {waiting.message}"
        if ended:
            return 4, Reason.POD_CRASHED, f"container {container.name} ended with {ended.exit_code} ({ended.reason})"
        if waiting and waiting.message:
            return 4, Reason.POD_NOT_STARTED, f"{waiting.reason}: {waiting.message}"
    return None


def _sandbox(pod: Pod) -> _Said | None:
    sandbox = pod.condition(SANDBOXED)
    if sandbox is None or sandbox.status == "True":
        return None
    return 3, Reason.SANDBOX_FAILED, f"no sandbox on {pod.spec.node_name}: {sandbox.message or 'runtime or network'}"


def _last_steps(pod: Pod) -> _Said:
    if not pod.started:
        return 4, Reason.POD_NOT_STARTED, f"its containers have not started on {pod.spec.node_name}"
    ready = pod.condition("Ready")
    return 5, Reason.POD_NOT_READY, (ready.message or ready.reason if ready else "") or "it is not Ready"


def not_deleted(ways: Sequence[Way], nodes: Nodes) -> Finding:
    """Say who keeps a deleted controller from going: the kubelet of a pod that is asked to end, or the collector."""
    stuck = [way for way in ways if not way.gone]
    ending = [way for way in stuck if way.pod.leaving]
    if not ending or len(ending) < len(stuck):
        left = f"{len(stuck)} pods are left" if stuck else "the controller is left"
        return Finding(0, Reason.POD_NOT_DELETED, f"{left}, and the garbage collector does not ask them to end")
    return blame([_not_ended(way, nodes) for way in ending], ways)


def _not_ended(way: Way, nodes: Nodes) -> Finding:
    explained = nodes.disrupts(way)
    if explained:
        return Finding(2, Reason.DISRUPTED, f"{way.pod.name}: {explained}", way.node, way.progress)
    if nodes.none_ready:
        return Finding(2, Reason.NODES_NOT_READY, f"no node is Ready; {way.pod.name} does not end", way.node)
    note = f"{way.pod.name}: the kubelet on {way.node} does not end it"
    return Finding(2, Reason.KUBELET_SILENT, note, way.node, way.progress)
