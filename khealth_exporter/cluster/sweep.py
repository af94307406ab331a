"""Sweeping what a dead run left: seen on the watches, so without a request unless there is something to delete."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.objects import KubernetesObject, Pod, ReplicationController, unix_time
from khealth_exporter.cluster.ownership import ATTEMPT, ROUTINE, RUN
from khealth_exporter.vocabulary.verdict import Failed

PERIOD = 15.0
"""Seconds between two looks at what the watches hold."""
OVERDUE = 15.0
"""Seconds after a deletion was asked for at which it is done without the kubelet or the collector: they are dead."""
_AGAIN = 2.0
"""Seconds after which what is still there is looked at again."""
_TRYING = 10.0
"""Seconds for one deletion."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Leftover:
    """An object that is to be deleted, or was."""

    kind: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


class Sweeper:
    """Deletes what dead runs left in the namespace, and nothing else."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._asked: set[str] = set()
        """By uid, what was swept and is still there: to be counted once."""

    async def run(self) -> None:
        """Sweep again and again until cancelled; what one deletion meets does not end it."""
        while True:
            if self._cluster.live:
                await self.sweep()
            await asyncio.sleep(PERIOD)

    async def sweep(self) -> None:
        """Delete, once, what is left of dead runs; log what cannot be, if it is not for want of a right."""
        self._asked &= self._cluster.controllers.objects.keys() | self._cluster.pods.objects.keys()
        denied: set[type[KubernetesObject]] = set()
        for found in list(self.leftovers()):
            if type(found) in denied:
                continue  # The next one would be refused as well; that is told where all such refusals are.
            try:
                await self._delete(found, self._cluster.clock.now() + _TRYING)
            except Failed as failed:
                if isinstance(failed, Refused) and failed.refusal.denied:
                    denied.add(type(found))
                    continue
                _log.warning("a leftover could not be deleted", name=found.name, reason=failed.reason, note=failed.note)

    def found(self, *, everything: bool) -> tuple[Leftover, ...]:
        """Return what there is to delete."""
        items = self.leftovers(everything=everything)
        return tuple(Leftover(type(item).__name__, item.name, item.uid) for item in items)

    async def clear(self, wanted: tuple[Leftover, ...], deadline: float) -> tuple[Leftover, ...]:
        """Delete these, and return what of them is left at the deadline, a monotonic time; raise Refused.

        A pod whose node does not end it within some seconds is taken with grace 0.
        """
        uids = {leftover.uid for leftover in wanted}

        def left() -> dict[str, KubernetesObject]:
            known: dict[str, KubernetesObject] = {**self._cluster.controllers.objects, **self._cluster.pods.objects}
            return {uid: item for uid, item in known.items() if uid in uids or self._owned(item, uids)}

        while left() and self._cluster.clock.now() < deadline:
            for item in left().values():
                await self._delete(item, deadline)
            again = min(deadline, self._cluster.clock.now() + _AGAIN)
            await self._cluster.until(lambda: not left(), again)
        return tuple(Leftover(type(item).__name__, item.name, item.uid) for item in left().values())

    def _owned(self, item: KubernetesObject, uids: set[str]) -> bool:
        return any(reference.uid in uids for reference in item.metadata.owner_references)

    def leftovers(self, *, everything: bool = False) -> Iterator[KubernetesObject]:
        """Yield what dead runs left; everything of any khealth if asked for, a living run's too."""
        ours = (*self._cluster.controllers.objects.values(), *self._cluster.pods.objects.values())
        for found in ours:
            # What has not our run's label was never made by any khealth, whoever else may use the other label.
            if RUN in found.metadata.labels and found.name and (everything or self._dead(found)):
                yield found

    def _dead(self, found: KubernetesObject) -> bool:
        identity = self._cluster.identity
        if not identity.mine(found):
            return identity.dead(found, self._cluster.server_time())
        labels = found.metadata.labels
        number = labels.get(ATTEMPT, "")
        attempt = identity.name(labels.get(ROUTINE, ""), int(number)) if number.isdecimal() else ""
        return attempt not in self._cluster.active

    async def _delete(self, found: KubernetesObject, deadline: float) -> None:
        if isinstance(found, ReplicationController):
            if not found.leaving:
                await self._send("replicationcontrollers", found, deadline, policy="Foreground")
            elif self._overdue(found) and not self._pods_of(found):
                # Nobody takes its finalizer away: the controller manager is dead.
                await self._send("replicationcontrollers", found, deadline)
            return
        controller = self._controller_of(found)
        if self._overdue(found) or (controller and self._overdue(controller)):
            await self._send("pods", found, deadline, grace=0)
        elif not found.leaving and controller is None:  # With a controller it goes with it.
            await self._send("pods", found, deadline)

    async def _send(
        self,
        resource: str,
        found: KubernetesObject,
        deadline: float,
        *,
        policy: str = "Background",
        grace: int | None = None,
    ) -> None:
        deleted = await self._cluster.delete(resource, found, deadline, policy=policy, grace=grace)
        if deleted and found.uid not in self._asked:
            self._asked.add(found.uid)
            self._cluster.telemetry.swept(type(found).__name__)
            _log.info("swept", kind=type(found).__name__, name=found.name, run=found.metadata.labels.get(RUN))

    def _overdue(self, found: KubernetesObject) -> bool:
        since = unix_time(found.metadata.deletion_timestamp)
        return since is not None and self._cluster.server_time() - since > OVERDUE

    def _controller_of(self, pod: KubernetesObject) -> ReplicationController | None:
        known = self._cluster.controllers.objects
        return next((known[o.uid] for o in pod.metadata.owner_references if o.uid in known), None)

    def _pods_of(self, controller: ReplicationController) -> list[Pod]:
        return [pod for pod in self._cluster.pods.objects.values() if self._owned(pod, {controller.uid})]
