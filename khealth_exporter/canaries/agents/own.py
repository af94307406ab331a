"""Agents that khealth runs itself: made before they are needed, replaced when they are lost, removed at the end."""

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import structlog

from khealth_exporter.canaries.agents.secret import fresh_data
from khealth_exporter.canaries.agents.template import count, manifest
from khealth_exporter.canaries.canary_spec import CanarySettings
from khealth_exporter.canaries.eligible_nodes import Nodes
from khealth_exporter.canaries.facts import list_nodes
from khealth_exporter.cluster.client.lookup import decoded
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.kinds import POD, SECRET, Kind
from khealth_exporter.cluster.objects import KubernetesObject, Pod, unix_time
from khealth_exporter.cluster.ownership import AGENT, COMPONENT, MAX_AGE, Ownership, key_of
from khealth_exporter.cluster.watch.watches import following
from khealth_exporter.vocabulary.verdict import Failed

NAME = "agents"
"""What labels name as module and routine."""
MAX_AGE_SECONDS = 600.0
"""Longest rightful life of an agent without renewal: a sweep takes it if khealth was killed."""
RENEWAL = 240.0
"""Seconds between two renewals."""
ENDING = 15.0
"""Seconds for the agents to end; after half of them, they are deleted without their kubelets."""
_TRYING = 10.0
_SHOWING = 30.0
"""Seconds after which an agent that the watch does not show counts as lost."""

_log = structlog.get_logger()


class OwnAgents:
    """Agents that khealth runs itself, under names and labels by which sweeps find them."""

    attempt: ClassVar[int] = 1
    """What labels say of them as the number of an attempt."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._clock = cluster, cluster.clock
        self._ownership = cluster.identity.of_attempt(NAME, NAME, self.attempt, MAX_AGE_SECONDS)
        self._pod = CanarySettings()
        self._wanted = 0
        """How many agents the configuration asks for; 0 for as many as fit."""
        self.count = 0
        """How many there should be."""
        self.begun = False
        """Whether they are needed."""
        self.trouble: Failed | None = None
        """Why there are fewer than there should be, as far as the API server said so."""
        self._made: dict[str, float] = {}
        """When those were made that the watch has not shown yet."""
        self._number = 0
        self._outdated: frozenset[str] = frozenset()
        self._secret: KubernetesObject | None = None
        self._renewed = 0.0

    def want(self, pod: CanarySettings, wanted: int) -> None:
        """Run agents of this specification from now on."""
        if pod != self._pod and self.begun:
            self._outdated = frozenset(self._names())
        self._pod, self._wanted = pod, wanted

    def begin(self) -> None:
        """Run them from now on, if they do not run yet."""
        if not self.begun:
            self.begun, self.count, self._renewed = True, self._wanted or 1, self._clock.now()
            self._cluster.active.add(self._ownership.key)

    @property
    def secret(self) -> str:
        """The name of their Secret."""
        return self._ownership.name

    def owns(self, pod: Pod) -> bool:
        """Tell whether an agent is one of these."""
        return key_of(pod) == self._ownership.key

    def living(self) -> list[Pod]:
        """Return the agents that the watch shows, and that are there to stay."""
        return [pod for pod in self._shown() if not (pod.leaving or pod.ended)]

    @property
    def due(self) -> float:
        """When they have to be looked after at the latest, in monotonic seconds."""
        return self._renewed + RENEWAL

    def unsettled(self) -> bool:
        """Tell whether there are more or fewer agents than there should be."""
        return self.begun and (len(self._names()) != self.count or bool(self._outdated))

    async def tend(self) -> None:
        """Make what is missing, renew what is there, remove what is too much; keep what the API server refused."""
        deadline = self._clock.now() + _TRYING
        try:
            await self._prepare(deadline)
            for node in self._lacking():
                await self._make(node, deadline)
            await self._remove_some(deadline)
            await self._renew(deadline)
            self.trouble = None
        except Failed as failed:
            if self.trouble is None or self.trouble.reason is not failed.reason:
                _log.warning("agents not created", reason=failed.reason, note=failed.note)
            self.trouble = failed

    async def stop(self) -> None:
        """Remove them all, and the Secret that they made; what cannot be removed is left to sweeps."""
        if not self.begun:
            return
        self.begun, deadline = False, self._clock.now() + ENDING
        try:
            await self._remove_all(deadline)
            await self._remove_secret(deadline)
        except Failed as failed:
            _log.warning("agents not deleted", reason=failed.reason, note=failed.note)
            self._cluster.suspects.add(SECRET)
        except asyncio.CancelledError:
            self.begun = True  # They are still to be removed.
            raise
        self._made.clear()
        self._secret = None
        if not self.begun:  # They may be wanted again by now.
            self._cluster.active.discard(self._ownership.key)

    def _shown(self) -> Iterator[Pod]:
        for pod in tuple(self._cluster.watches.of(POD).objects.values()):
            if self.owns(pod):
                self._made.pop(pod.name, None)
                yield pod

    def _names(self) -> set[str]:
        """Return the names of the agents that are there, or on their way."""
        now = self._clock.now()
        living = {pod.name for pod in self.living()}
        return living | {name for name, made in self._made.items() if now - made < _SHOWING}

    async def _prepare(self, deadline: float) -> None:
        """Find out how many there should be, and make what they need."""
        nodes = Nodes.of(await list_nodes(self._cluster, deadline), self._pod.placement)
        usable = [node for node in nodes.eligible if node.name in nodes.usable]
        self.count = count(usable, self._wanted) if nodes.known else self._wanted or 2
        await self._keep_secret(deadline)

    def _lacking(self) -> Sequence[str]:
        """Return the node of each agent that is missing; empty for any node."""
        return [""] * (self.count - len(self._names()))

    def _surplus(self) -> Sequence[Pod]:
        """Return the agents that are too many."""
        return self.living()[self.count :]

    def _manifest(self, ownership: Ownership, _node: str) -> Mapping[str, object]:
        return manifest(self._pod, ownership, self.secret)

    async def _keep_secret(self, deadline: float) -> None:
        if self._secret is not None:
            return
        metadata = self._ownership.metadata() | {"labels": {**self._ownership.labels, COMPONENT: AGENT}}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": fresh_data()}
        try:
            self._secret = decoded(SECRET, await self._cluster.create(SECRET, body, deadline))
        except Refused as refused:
            if not refused.refusal.exists:
                raise
            # An earlier try made it, whose answer was lost.
            self._secret = await self._cluster.get(SECRET, self.secret, deadline)

    async def _remove_secret(self, deadline: float) -> None:
        # One whose creation was cut short may be there too.
        if secret := self._secret or await self._cluster.get(SECRET, self.secret, deadline):
            await self._cluster.delete(SECRET, secret, deadline)

    async def _make(self, node: str, deadline: float) -> None:
        self._number += 1
        ownership = self._ownership.part(str(self._number))
        self._made[ownership.name] = self._clock.now()
        try:
            await self._cluster.create(POD, self._manifest(ownership, node), deadline)
        except Refused as refused:
            if not refused.unanswered:
                del self._made[ownership.name]
            raise

    async def _remove_some(self, deadline: float) -> None:
        """Delete the agents that have ended or are of another specification, and those that are too many."""
        living = self.living()
        over = [pod for pod in self._shown() if pod.ended and not pod.leaving]
        over += [pod for pod in living if pod.name in self._outdated]
        self._outdated = frozenset()
        for pod in over or self._surplus():
            await self._cluster.delete(POD, pod, deadline)

    async def _remove_all(self, deadline: float) -> None:
        with following([self._cluster.watches.of(POD)]) as changed:
            found = list(self._shown())
            unseen = [await self._cluster.get(POD, name, deadline) for name in self._made]
            for pod in [*found, *(pod for pod in unseen if pod and self.owns(pod))]:
                await self._cluster.delete(POD, pod, deadline)
            await changed.until(lambda: not any(self._shown()), deadline - ENDING / 2)
            for pod in self._shown():
                await self._cluster.delete(POD, pod, deadline, grace=0)
            await changed.until(lambda: not any(self._shown()), deadline)

    async def _renew(self, deadline: float) -> None:
        if self._clock.now() < self.due:
            return
        for pod in self.living():
            await self._prolong(POD, pod, deadline)
        if self._secret:
            await self._prolong(SECRET, self._secret, deadline)
        self._renewed = self._clock.now()

    async def _prolong(self, kind: Kind[Any], found: KubernetesObject, deadline: float) -> None:
        """Let an object live on: its rightful life counts from its creation."""
        now = self._cluster.server_time()
        age = now - (unix_time(found.metadata.creation_timestamp) or now)
        changes = {"metadata": {"annotations": {MAX_AGE: str(math.ceil(age + MAX_AGE_SECONDS))}}}
        try:
            await self._cluster.patch(kind, found.name, changes, deadline)
        except Refused as refused:
            if not refused.refusal.missing:
                raise
