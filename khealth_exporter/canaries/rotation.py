"""Which node comes next: a rotation over the usable ones, which goes back to nodes that failed."""

from collections.abc import Collection, Iterable
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

    A node that failed is tried again next, as soon as a pod on another node has been well. So the second failure is
    known to be that node's alone, and one broken node never looks as if all were: if nothing is known of the others, as
    after a start, another node comes in between. If a whole round gives no result on another node, it is tried again
    all the same. While a node keeps failing, every second turn goes to the failing nodes, in the order of their last
    visits, and the others to the rotation: one broken node does not hide the rest. But for that first second try, no
    node has two turns in a row while there is another.
    """

    nodes: tuple[str, ...] = ()
    listed_at: float | None = None
    """When the nodes were listed, in monotonic seconds; None if they must be listed before the next pod."""
    failing: dict[str, _Visit] = field(default_factory=dict)
    """The nodes on which the last pod failed."""
    fresh: dict[str, bool] = field(default_factory=dict)
    """Nodes that became Ready for the first time and have had no pod yet; True once an attempt has begun since."""
    watching: bool = False
    """Whether the nodes that were Ready at first are known."""
    _known: dict[str, str] = field(default_factory=dict)
    """The nodes that are not new, by name, with their uids: another node of the same name is a new one."""
    _turn: int = 0
    _last: str = ""
    """Where the rotation is."""
    _previous: str = ""
    """The node of the last turn."""
    _latest: dict[str, bool] = field(default_factory=dict)
    """Whether the last pod on each of the last two nodes succeeded, by node."""
    _again: str = ""
    """A node to try again next, because it has just failed for the first time."""

    def stale(self, now: float) -> bool:
        """Tell whether the nodes must be listed again; `now` is in monotonic seconds."""
        return self.listed_at is None or now - self.listed_at > REFRESH

    def outdate(self) -> None:
        """Have the nodes listed before the next pod: an attempt has shown that the list is no longer true."""
        self.listed_at = None

    def renew(self, usable: Iterable[str], now: float) -> None:
        """Take in the names of the usable nodes; what was known of any other is forgotten."""
        self.nodes, self.listed_at = tuple(sorted(usable)), now
        names = set(self.nodes)
        self.failing = {name: visit for name, visit in self.failing.items() if name in names}
        self._latest = {name: well for name, well in self._latest.items() if name in names}
        for name in [name for name in self.fresh if name not in names]:
            # It was not visited: it is new again when it comes back.
            del self.fresh[name]
            self._known.pop(name, None)

    def know(self, nodes: Iterable[Node]) -> None:
        """Take in the nodes that were Ready before the watch began: they are not fresh."""
        self.watching = True
        self._known.update((node.name, node.uid) for node in nodes if node.ready)

    def take(self, node: Node, *, usable: bool) -> None:
        """Take in what a watch shows of a node; one that becomes Ready for the first time, and usable, is fresh."""
        if self._known.get(node.name, node.uid) != node.uid:
            self.forget(node.name)
        if usable and node.name not in self._known:
            self._known[node.name] = node.uid
            self.fresh[node.name] = False
            self.nodes = tuple(sorted({*self.nodes, node.name}))
        elif not usable and node.name in self.fresh:
            del self.fresh[node.name], self._known[node.name]

    def forget(self, name: str) -> None:
        """Take in that a node was removed."""
        self.nodes = tuple(other for other in self.nodes if other != name)
        self._known.pop(name, None)
        for known in (self.failing, self._latest, self.fresh):
            known.pop(name, None)

    def keep(self, present: Collection[str]) -> None:
        """Take in the names of all nodes that exist: those that were removed while no one watched are forgotten."""
        for name in {*self._known, *self.nodes} - set(present):
            self.forget(name)

    @property
    def awaited(self) -> bool:
        """Whether no attempt has begun since a node became fresh: one that fails is repeated in the next slot only."""
        return not all(self.fresh.values())

    def begin(self) -> None:
        """Take in that an attempt begins: for the nodes that are fresh now, no other one begins early."""
        self.fresh = dict.fromkeys(self.fresh, True)

    def next(self) -> str | None:
        """Return the node of the next pod; None if there is no usable node."""
        self._turn += 1
        chosen = self._chosen()
        if chosen == self._again:
            self._again = ""
        self._previous = chosen or ""
        return chosen

    def _chosen(self) -> str | None:
        if self.fresh:
            return min(self.fresh)
        due = [name for name in self.failing if name in self.nodes and self._due(name)]
        if self._again in due:
            return self._again
        others = [name for name in self.nodes if name != self._previous] or self.nodes
        due = [name for name in due if name in others]
        if due and self._turn % 2 == 0:
            return min(due, key=lambda name: self.failing[name].turn)
        eligible = [name for name in others if name not in self.failing or name in due] or self.nodes
        if not eligible:
            return None
        self._last = next((name for name in eligible if name > self._last), eligible[0])
        return self._last

    def _due(self, name: str) -> bool:
        """Tell whether a node that failed may be tried again."""
        return self.well_elsewhere(name) or self._turn - self.failing[name].turn >= len(self.nodes)

    def visited(self, node: str) -> None:
        """Take in that a pod was created for this node: it is new no more."""
        self.fresh.pop(node, None)

    def refused(self, node: str) -> None:
        """Take in that this node takes no pods: what is true of others may have changed too, and it fails no more."""
        self.failing.pop(node, None)
        self.outdate()

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
