"""Choosing a node: the list behind a rotation, and the watch that shows new nodes."""

from khealth_exporter.canaries.eligible_nodes import Nodes
from khealth_exporter.canaries.pod_spec import Placement
from khealth_exporter.canaries.rotation import Rotation
from khealth_exporter.cluster.kinds import NODE
from khealth_exporter.cluster.objects import Node
from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.core.routine import Context
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed


def rotation_of(module: str, routine: str, context: Context) -> Rotation:
    """Return the rotation of one routine; it lives as long as the process."""
    return context.memory.of(Rotation, module, routine)


async def next_node(rotation: Rotation, context: Context, placement: Placement, deadline: float) -> str:
    """Return the node of the next pod; raise Refused, or Failed if no node is usable."""
    now = context.clock.now()
    if rotation.stale(now) or not rotation.nodes:
        found = Nodes.of(await context.cluster.list(NODE, deadline), placement)
        rotation.renew(found.usable, now)
        if not rotation.nodes:
            raise _unusable(found)
    chosen = rotation.next()
    if chosen is None:
        raise Failed(Reason.NO_NODE, "no node is Ready and schedulable")
    return chosen


def _unusable(found: Nodes) -> Failed:
    if found.none_ready:
        return Failed(Reason.NODES_NOT_READY, found.unready)
    return Failed(Reason.NO_NODE, "no node matches the selector and tolerations, and is schedulable")


async def fresh_node(rotation: Rotation, context: Context, placement: Placement) -> None:
    """Return when a node that the placement allows becomes Ready for the first time since khealth began to watch."""
    changed, watch = Signal(), context.cluster.watches.of(NODE)
    lines = watch.subscribe(None, changed)

    def take(node: Node) -> None:
        rotation.take(node, usable=bool(Nodes.of([node], placement).usable))

    def shown() -> bool:
        for line in lines.drain():
            if line.type == "DELETED":
                rotation.forget(line.object.name)
            else:
                take(line.object)
        return rotation.awaited

    try:
        await changed.until(lambda: watch.live)
        if not rotation.watching:
            rotation.know(watch.objects.values())
        rotation.keep({node.name for node in watch.objects.values()})
        for node in watch.objects.values():
            take(node)
        # What has arrived until now is in the objects.
        lines.clear()
        await changed.until(shown)
    finally:
        lines.close()
