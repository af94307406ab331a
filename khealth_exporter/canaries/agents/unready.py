"""Why there are fewer agents than needed, and what is said of one whose silence nobody is blamed for."""

from collections.abc import Sequence

from khealth_exporter.canaries.agents.inquiry import Unheard, judged
from khealth_exporter.canaries.containers import trouble as trouble_of
from khealth_exporter.canaries.facts import list_nodes
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.errors import clean
from khealth_exporter.cluster.objects import Pod, unix_time
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

_LOOKING = 5.0
"""Seconds for the nodes."""
_STARTING = 60.0
"""Seconds that an agent may take from its creation until it is Ready, if nothing tells what is wrong."""
_UNTOLD = frozenset({
    Reason.POD_NOT_SCHEDULED, Reason.KUBELET_SILENT, Reason.SANDBOX_FAILED, Reason.POD_NOT_STARTED,
    Reason.POD_NOT_READY, Reason.IMAGE_PULL_FAILED,
})  # fmt: skip
"""What may pass by itself while a pod starts."""
_LEVEL = "the namespace needs the Pod Security level privileged"


async def too_few(cluster: Cluster, members: Sequence[Pod], count: str, *, own: bool) -> Failed:
    """Return why only so many agents are Ready: what is said of one that is not; `own` are those of khealth itself."""
    waiting = next((pod for pod in members if not (pod.leaving or pod.holds("Ready"))), None)
    count = f"{count} agents are Ready"
    if waiting is None:
        where = "khealth has made no agent yet" if own else "the chart runs no more agents"
        return Failed(Reason.AGENTS_NOT_READY, f"{count}: {where}")
    nodes = await list_nodes(cluster, cluster.clock.now() + _LOOKING)
    failed = await judged(cluster, waiting, nodes)
    age = cluster.server_time() - (unix_time(waiting.metadata.creation_timestamp) or 0.0)
    if age < _STARTING and failed.reason in _UNTOLD and trouble_of(waiting) is None:
        note = f"{count}: {failed.note}; it was created {age:.0f} s ago"
        return Failed(Reason.AGENTS_NOT_READY, note, failed.evidence)
    return failed


def no_host(members: Sequence[Pod], refused: Failed | None) -> Failed:
    """Return why there is no agent in the network of a node: that is told, and nobody is to blame for it."""
    if refused:
        return Failed(refused.reason, clean(refused.note, advice=_LEVEL if "PodSecurity" in refused.note else ""))
    told = "no agent in the network of a node is Ready"
    if not members:
        return Failed(Reason.AGENTS_NOT_READY, f"{told}: does Pod Security refuse their pods? {_LEVEL}")
    found = members[0]
    said = next((one.message for one in found.status.conditions if one.type == "PodScheduled"), "")
    return Failed(Reason.AGENTS_NOT_READY, clean(f"{told}: {found.name}: {said or found.status.phase}"))


def unexplained(one: Unheard) -> Failed:
    """Return that an agent does not answer."""
    return Failed(Reason.AGENT_UNREACHABLE, clean(f"agent {one.agent.name} on {one.agent.node}: {one.note}"))
