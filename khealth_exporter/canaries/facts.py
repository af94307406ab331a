"""What the API server reports before a component is blamed: nodes, Kubernetes Events, evidence."""

import asyncio
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from khealth_exporter.canaries.eligible_nodes import Nodes
from khealth_exporter.canaries.evidence import happened, of_events, of_owner, of_pod
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.canaries.pod_spec import Placement
from khealth_exporter.canaries.pod_steps import well
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.kinds import EVENT, NODE
from khealth_exporter.cluster.objects import KubernetesEvent, Node, Pod
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.verdict import Evidence, Failed

SHOWN = 10
"""Pods that evidence shows."""
EVENT_PAGES = 4
"""Pages of 500 that are read of a namespace's Events: evidence must not cost more than what it is for."""

_CREATING = re.compile(
    r"^(?:\(combined from similar events\): )?"
    r"(?:(?:Create|create) Pod [^ ]+ in StatefulSet [^ ]+ failed error|Error creating): "
)
"""What a controller says before the API server's own words; a StatefulSet or a Job has no condition that tells them."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found out; `pulling` names the pods whose image is being pulled, by their Events.

    `refusal` is how the API server refused the latest pod, in the words of an Event; empty if none tells of that.
    """

    nodes: Nodes
    pulling: frozenset[str]
    refusal: str
    evidence: tuple[Evidence, ...]
    events: tuple[KubernetesEvent, ...] = ()


async def list_nodes(cluster: Cluster, deadline: float) -> list[Node] | None:
    """List all nodes; None if that is not permitted or not answered."""
    try:
        return await cluster.list(NODE, deadline)
    except Failed:
        return None


async def list_events(cluster: Cluster, name: str, deadline: float) -> list[KubernetesEvent]:
    """List the Kubernetes Events about objects whose names begin so; those that were answered.

    A namespace may hold thousands of others, and many routines may ask at the same time.
    """
    found: list[KubernetesEvent] = []
    with suppress(Failed):
        async for page in cluster.pages(EVENT, deadline, most=EVENT_PAGES):
            found += (event for event in page if event.involved_object.name.startswith(name))
    return found


async def find_out(
    cluster: Cluster, owned: Owned[Any], traces: Iterable[Trace[Pod]], placement: Placement, deadline: float
) -> Facts:
    """Ask for what explains a failure, and keep the evidence: the canary is gone when an operator looks."""
    async with asyncio.TaskGroup() as group:
        nodes = group.create_task(list_nodes(cluster, deadline))
        events = group.create_task(list_events(cluster, owned.ownership.name, deadline))
    traces = list(traces)
    # All pods of an attempt are alike; an absurd one, which has no containers, says nothing.
    placement = next((placement.seen(t.item.spec) for t in traces if t.item.spec.containers), placement)
    unwell = [trace for trace in traces if not well(trace)]
    evidence = [of_pod(trace) for trace in unwell[:SHOWN]]
    if len(unwell) > SHOWN:
        evidence.append(Evidence("Pod", "others", (f"{len(unwell) - SHOWN} more are not Ready",)))
    evidence += of_owner(owned.item)
    evidence += of_events(events.result(), owned.ownership.name)
    return Facts(
        Nodes.of(nodes.result(), placement),
        pulling(events.result()),
        _refusal(events.result()),
        tuple(evidence),
        tuple(events.result()),
    )


def _refusal(events: Sequence[KubernetesEvent]) -> str:
    told = [event for event in events if event.reason == "FailedCreate"]
    return _CREATING.sub("", max(told, key=happened).message) if told else ""


def pulling(events: Sequence[KubernetesEvent]) -> frozenset[str]:
    """Return the names of the pods whose image is on its way, by their Events."""
    # An init container's image that has come says nothing of the other containers'.
    pulls = {
        reason: {(e.involved_object.name, e.involved_object.field_path) for e in events if e.reason == reason}
        for reason in ("Pulling", "Pulled")
    }
    return frozenset(name for name, _ in pulls["Pulling"] - pulls["Pulled"])
