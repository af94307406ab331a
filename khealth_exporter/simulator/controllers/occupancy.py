"""The pods and resource requests on each node, updated with every write."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Final

from khealth_exporter.simulator import quantities
from khealth_exporter.simulator.documents import Document, labels_of, namespace_of, node_of, phase_of, uid_of
from khealth_exporter.simulator.resources import PODS
from khealth_exporter.simulator.store import Commit

RESOURCES: Final = ("cpu", "memory")

Kin = tuple[str, frozenset[tuple[str, str]]]
"""A namespace and labels: pods that have both in common spread over the nodes."""


@dataclass(frozen=True, slots=True)
class Seat:
    """What one pod uses of its node."""

    node: str
    kin: Kin
    requests: dict[str, float]


def kin_of(pod: Document) -> Kin:
    """Return the pod's namespace and labels."""
    return namespace_of(pod), frozenset(labels_of(pod).items())


class Occupancy:
    """Counts pods and requests per node."""

    def __init__(self) -> None:
        self.pods: Counter[str] = Counter()
        self._seats: dict[str, Seat] = {}
        self._alike: Counter[tuple[str, Kin]] = Counter()
        self._taken: defaultdict[tuple[str, str], float] = defaultdict(float)

    def listen(self, commit: Commit) -> None:
        """Count a write."""
        if commit.resource is not PODS:
            return
        pod = commit.document
        present = commit.kind != "DELETED" and bool(node_of(pod)) and phase_of(pod) not in {"Succeeded", "Failed"}
        seat = self._seats.get(uid_of(pod))
        if present and seat is None:
            requests = {name: quantities.requested(pod, name) for name in RESOURCES}
            seat = self._seats[uid_of(pod)] = Seat(node_of(pod), kin_of(pod), requests)
            self._count(seat, 1)
        elif seat is not None and not present:
            del self._seats[uid_of(pod)]
            self._count(seat, -1)

    def alike(self, node: str, kin: Kin) -> int:
        """Return how many pods with that namespace and those labels are on the node."""
        return self._alike[node, kin]

    def taken(self, node: str, resource: str) -> float:
        """Return what the node's pods request together, in cores or bytes."""
        return self._taken[node, resource]

    def _count(self, seat: Seat, step: int) -> None:
        self.pods[seat.node] += step
        self._alike[seat.node, seat.kin] += step
        if not self._alike[seat.node, seat.kin]:
            del self._alike[seat.node, seat.kin]
        for name, amount in seat.requests.items():
            self._taken[seat.node, name] += step * amount
