"""Agents that khealth runs itself: made before they are needed, replaced when they are lost, removed at the end."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
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
        """Those of an earlier specification, by name."""
        self._secret: KubernetesObject | None = None
        self._data: Mapping[str, str] = {}
        """What their Secret holds, so that they accept it if it has to be made again."""
        self._renewed = 0.0
        self._prolonged: dict[str, float] = {}
        """When those were prolonged, by uid, since the last renewal that prolonged all."""

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
        return self.begun and (len(self._names()) != self.count or bool(self._old()))

    async def tend(self) -> None:
        """Renew what is there, remove what is too much, make what is missing; keep what the API server refused.

        What cannot be made, for want of quota for example, keeps nothing from being renewed or removed.
        """
        deadline = self._clock.now() + _TRYING
        renewed = await _first_failure([partial(self._renew, deadline)])
        prepared = await _first_failure([partial(self._prepare, deadline)])
        removed = await _first_failure([partial(self._remove_some, deadline)])
        made = prepared or await _first_failure([partial(self._make_some, deadline)])
        failed = made or removed or renewed  # The first one tells why there are too few.
        if failed and (self.trouble is None or self.trouble.reason is not failed.reason):
            what = "agents not created" if made else "agents not renewed or removed"
            _log.warning(what, reason=failed.reason, note=failed.note)
        self.trouble = failed

    async def stop(self) -> None:
        """Remove them all, and the Secret that they made; what cannot be removed is left to sweeps."""
        if not self.begun:
            return
        self.begun, deadline = False, self._clock.now() + ENDING
        removals = [partial(self._remove_all, deadline), partial(self._remove_secret, deadline)]
        try:
            failed = await _first_failure(removals)
        except asyncio.CancelledError:
            self.begun = True  # They are still to be removed.
            raise
        if failed:
            _log.warning("agents not deleted", reason=failed.reason, note=failed.note)
            self._cluster.suspects.add(SECRET)
        self._made.clear()
        self._prolonged.clear()
        self._secret, self._data = None, {}
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
        # Where nodes cannot be listed, there are no more agents than there were, and no fewer.
        self.count = count(usable, self._wanted) if nodes.known else self._wanted or max(2, self.count)
        await self._keep_secret(deadline)

    def _old(self) -> list[Pod]:
        """Return the agents that are of another specification."""
        return [pod for pod in self.living() if pod.name in self._outdated]

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
        self._data = self._data or fresh_data()
        metadata = self._ownership.metadata() | {"labels": {**self._ownership.labels, COMPONENT: AGENT}}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": self._data}
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

    async def _make_some(self, deadline: float) -> None:
        for node in self._lacking():
            await self._make(node, deadline)

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
        self._outdated &= self._names()
        over = [pod for pod in self._shown() if pod.ended and not pod.leaving] + self._old()
        await _all(partial(self._remove, pod, deadline) for pod in over or self._surplus())

    async def _remove(self, pod: Pod, deadline: float) -> None:
        await self._cluster.delete(POD, pod, deadline)
        self._outdated -= {pod.name}

    async def _remove_all(self, deadline: float) -> None:
        with following([self._cluster.watches.of(POD)]) as changed:
            seen = [partial(self._cluster.delete, POD, pod, deadline) for pod in self._shown()]
            unseen = [partial(self._remove_unseen, name, deadline) for name in self._made]
            asked = await _first_failure([*seen, *unseen])
            if asked and _gives_up(asked):
                raise asked
            await changed.until(lambda: not any(self._shown()), deadline - ENDING / 2)
            await _all(partial(self._cluster.delete, POD, pod, deadline, grace=0) for pod in self._shown())
            await changed.until(lambda: not any(self._shown()), deadline)
        if asked:
            raise asked

    async def _remove_unseen(self, name: str, deadline: float) -> None:
        pod = await self._cluster.get(POD, name, deadline)
        if pod and self.owns(pod):
            await self._cluster.delete(POD, pod, deadline)

    async def _renew(self, deadline: float) -> None:
        """Prolong all of them, if it is time; as long as one cannot be, the others are not prolonged each time."""
        now = self._clock.now()
        if now < self.due:
            return
        lately = {uid for uid, at in self._prolonged.items() if now - at < RENEWAL / 2}
        known = [self._secret] if self._secret and self._secret.uid not in lately else []
        secret = [partial(self._prolong_secret, found, deadline) for found in known]
        pods = [partial(self._prolong, POD, pod, deadline) for pod in self.living() if pod.uid not in lately]
        await _all([*secret, *pods])
        self._prolonged.clear()
        self._renewed = self._clock.now()

    async def _prolong_secret(self, secret: KubernetesObject, deadline: float) -> None:
        """Let the Secret live on, or forget it if it is gone, so that it is made again."""
        if not await self._prolong(SECRET, secret, deadline):
            self._secret = None

    async def _prolong(self, kind: Kind[Any], found: KubernetesObject, deadline: float) -> bool:
        """Let an object live on, and tell whether it is there: its rightful life counts from its creation."""
        now = self._cluster.server_time()
        age = now - (unix_time(found.metadata.creation_timestamp) or now)
        changes = {"metadata": {"annotations": {MAX_AGE: str(math.ceil(age + MAX_AGE_SECONDS))}}}
        try:
            await self._cluster.patch(kind, found.name, changes, deadline)
        except Refused as refused:
            if not refused.refusal.missing:
                raise
            return False
        self._prolonged[found.uid] = self._clock.now()
        return True


async def _first_failure(works: Iterable[Callable[[], Awaitable[object]]]) -> Failed | None:
    """Do all of it, and return what failed first: what one object is refused is not refused for all.

    An API server that does not answer is not asked for more.
    """
    first: Failed | None = None
    for work in works:
        try:
            await work()
        except Failed as failed:
            first = first or failed
            if _gives_up(failed):
                break
    return first


def _gives_up(failed: Failed) -> bool:
    """Tell whether the API server did not answer."""
    return isinstance(failed, Refused) and failed.unanswered


async def _all(works: Iterable[Callable[[], Awaitable[object]]]) -> None:
    """Do all of it; then raise Failed if something failed."""
    if failed := await _first_failure(works):
        raise failed
