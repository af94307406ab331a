"""The faults that can be ordered, and which of them are in force."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from khealth_exporter.simulator.broadcast import Broadcast

FAULTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "scheduler-stalled": "the scheduler binds nothing and says nothing",
        "kubelet-stalled": "kubelets report nothing and start nothing; their nodes turn NotReady",
        "controller-stalled": "the controller manager is silent: no pods made, none collected, no node watched",
        "sandbox-fails": "pod sandboxes cannot be made",
        "runtime-stalled": "kubelets accept no new pods: their container runtime hangs",
        "image-missing": "no image can be pulled, nor is any present",
        "container-crashes": "containers start and exit with code 1",
        "never-ready": "containers run, but are never ready",
        "quota": "a quota of 0 pods in every namespace but the system's",
        "webhook-down": "creating pods fails: an admission webhook does not answer",
        "forbidden": "the default user may create nothing",
        "api-slow": "the API server takes a second longer for every answer",
        "api-429": "the API server answers 429 to every request",
        "api-500": "the API server answers 500 to every request",
        "api-503": "the API server answers 503 to every request",
        "api-down": "the API server refuses connections",
        "api-paused": "the API server accepts connections and answers nothing",
        "etcd-stalled": "writes and consistent reads hang, then fail; watches are silent",
        "watch-cut": "at once: every open watch is cut off without an end",
        "watch-silent": "watches send nothing, and stay dead until they are opened again",
        "watch-gone": "at once: the history is compacted, so that resuming a watch is answered 410",
        "pods-lost": "at once: one ready pod of a ReplicationController vanishes",
        "pods-evicted": "at once: one pod is evicted",
        "node-drained": "one node is cordoned and its pods are evicted; its end uncordons the node",
        "node-gone": "one node and its pods are deleted; its end brings the node back",
        "nodes-not-ready": "all nodes are NotReady at once",
        "deletion-stuck": "kubelets never finish a deletion; only a forced one removes the pod",
        "slow-start": "containers take ten seconds longer to start",
    }
)
"""Every fault by name, with what it does."""

MOMENTARY: Final = frozenset({"watch-cut", "watch-gone", "pods-lost", "pods-evicted"})
"""Faults that happen and are over; the rest last until they are ended."""

NODE_FAULTS: Final = frozenset(
    {
        "kubelet-stalled",
        "sandbox-fails",
        "runtime-stalled",
        "image-missing",
        "container-crashes",
        "never-ready",
        "node-drained",
        "node-gone",
        "deletion-stuck",
        "slow-start",
    }
)
"""Faults that may be limited to one node, written `NAME:NODE`."""

API_OUTAGES: Final = ("api-down", "api-paused", "etcd-stalled")
"""Faults during which the cluster's own components cannot write either."""

Reaction = Callable[[str, str, bool], None]
"""Told a fault's name, its node (or an empty text), and whether it begins or ends."""


def parse(text: str) -> tuple[str, str]:
    """Return a fault's name and its node, if it is limited to one. Raises `ValueError` naming the known faults."""
    name, colon, node = text.partition(":")
    if name not in FAULTS:
        raise ValueError(f"unknown fault {name!r}; known are: {', '.join(FAULTS)}")
    if colon and (name not in NODE_FAULTS or not node):
        raise ValueError(f"{text!r}: only these faults take a node: {', '.join(sorted(NODE_FAULTS))}")
    return name, node


class Faults:
    """The faults in force."""

    def __init__(self) -> None:
        self._active: dict[str, None] = {}
        self._reactions: list[Reaction] = []
        self.bell = Broadcast()

    @property
    def current(self) -> tuple[str, ...]:
        """The faults in force, in the order in which they began."""
        return tuple(self._active)

    def react(self, reaction: Reaction) -> None:
        """Call the reaction whenever a fault begins or ends."""
        self._reactions.append(reaction)

    def begin(self, text: str) -> None:
        """Begin a fault; one in force already goes on. Raises `ValueError`."""
        name, node = parse(text)
        if text in self._active:
            return
        if name not in MOMENTARY:
            self._active[text] = None
        self._tell(name, node, began=True)

    def end(self, text: str) -> None:
        """End a fault; one that is not in force is no error. Raises `ValueError`."""
        name, node = parse(text)
        if text in self._active:
            del self._active[text]
            self._tell(name, node, began=False)

    def active(self, name: str, node: str = "") -> bool:
        """Tell whether the fault is in force, everywhere or on that node."""
        return name in self._active or (bool(node) and f"{name}:{node}" in self._active)

    async def clear(self, *names: str, node: str = "") -> None:
        """Return as soon as none of the faults is in force."""
        while any(self.active(name, node) for name in names):
            await self.bell.wait()

    def _tell(self, name: str, node: str, *, began: bool) -> None:
        for reaction in self._reactions:
            reaction(name, node, began)
        self.bell.ring()
