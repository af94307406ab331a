"""Which node comes next: a rotation over the usable ones, which goes back to nodes that failed."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from khealth_exporter.cluster.objects import Node
from khealth_exporter.vocabulary.reason import Reason

REFRESH = 300.0
"""Seconds for which a list of the nodes is used: on a large cluster the list is the routine's dearest request."""


@dataclass(slots=True)
class _Visit:
    """What is known of one node: when it failed last (a turn), and why."""

    turn: int
    reason: Reason


@dataclass(slots=True)
class Rotation:
    """Remembers, from attempt to attempt of one routine, where the next pod goes.

    A node that failed is visited again at once. While it keeps failing, every second turn goes to the failing nodes, in
    the order of their last visits, and the others to the rotation: one broken node does not hide the rest.
    """

    nodes: tuple[str, ...] = ()
    listed_at: float | None = None
    """When the nodes were listed, in monotonic seconds."""
    failing: dict[str, _Visit] = field(default_factory=dict)
    """The nodes on which the last pod failed."""
    fresh: list[str] = field(default_factory=list)
    """Nodes that became Ready for the first time and were not visited yet."""
    watching: bool = False
    """Whether the nodes that were Ready at first are known."""
    _known: set[str] = field(default_factory=set)
    _turn: int = 0
    _last: str = ""
    _latest: dict[str, bool] = field(default_factory=dict)
    """Whether the last pod on each of the last two nodes succeeded, by node."""
    _again: str = ""
    """A node to visit at once, because it has just failed for the first time."""

    def stale(self, now: float) -> bool:
        """Tell whether the nodes must be listed again; `now` is in monotonic seconds."""
        return self.listed_at is None or now - self.listed_at > REFRESH

    def renew(self, usable: Iterable[str], now: float) -> None:
        """Take in the names of the usable nodes; a node that is no more is forgotten."""
        self.nodes, self.listed_at = tuple(sorted(usable)), now
        self.failing = {name: visit for name, visit in self.failing.items() if name in self.nodes}
        self._latest = {name: well for name, well in self._latest.items() if name in self.nodes}

    def take(self, node: Node) -> None:
        """Take in what a watch shows of a node; one that becomes Ready for the first time is fresh."""
        if node.ready and not node.cordoned and node.name not in self._known:
            self._known.add(node.name)
            self.fresh.append(node.name)

    def forget(self, node: Node) -> None:
        """Take in that a node was removed: another one of its name is a new one."""
        self._known.discard(node.name)

    def know(self, nodes: Iterable[Node]) -> None:
        """Take in the nodes that were Ready before the watch began: they are not new."""
        self.watching = True
        self._known.update(node.name for node in nodes if node.ready)

    def next(self) -> str | None:
        """Return the node of the next pod; None if there is no usable node."""
        self._turn += 1
        chosen = self._chosen()
        self._again = ""
        return chosen

    def _chosen(self) -> str | None:
        if self.fresh:
            return self.fresh.pop(0)
        if self._again in self.nodes:
            return self._again
        if self.failing and self._turn % 2 == 0:
            return min(self.failing, key=lambda name: self.failing[name].turn)
        if not self.nodes:
            return None
        later = (name for name in self.nodes if name > self._last)
        self._last = next(later, self.nodes[0])
        return self._last

    def succeeded(self, node: str) -> None:
        """Take in that a pod on this node succeeded."""
        self.failing.pop(node, None)
        self._note(node, well=True)

    def failed(self, node: str, reason: Reason) -> None:
        """Take in that a pod on this node failed."""
        if node not in self.failing:
            self._again = node
        self.failing[node] = _Visit(self._turn, reason)
        self._note(node, well=False)

    def _note(self, node: str, *, well: bool) -> None:
        self._latest.pop(node, None)
        self._latest[node] = well
        for old in list(self._latest)[:-2]:
            del self._latest[old]

    def well_elsewhere(self, node: str) -> bool:
        """Tell whether the latest pod on another node succeeded: then a failure belongs to this node alone."""
        others = [well for name, well in self._latest.items() if name != node]
        return bool(others) and others[-1]

    def round(self, interval: float) -> str:
        """Return how long a visit to every node takes at one node each `interval` seconds, in words."""
        count = len(self.nodes)
        return f"{count} usable nodes, one every {interval:g} s: a full round takes {_words(count * interval)}"

    def told_failing(self) -> str:
        """Return the failing nodes and why, in words."""
        return ", ".join(f"{name} ({visit.reason})" for name, visit in sorted(self.failing.items())) or "none"


def _words(seconds: float) -> str:
    """Return a duration in its two largest units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{number} {unit}" for number, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if number]
    return " ".join(parts[:2]) or "0 s"
