"""The StatefulSet controller: pods with numbers, created and updated in order."""

from collections.abc import Iterable
from typing import Final, Literal

from khealth_exporter.simulator.apps import PARALLEL, ROLLING
from khealth_exporter.simulator.controllers import revisions, rollout, workload
from khealth_exporter.simulator.controllers.controller import Controller
from khealth_exporter.simulator.controllers.revisions import Revisions
from khealth_exporter.simulator.deletion import DeleteOptions
from khealth_exporter.simulator.documents import (
    Document,
    has_condition,
    is_deleting,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    phase_of,
    spec_of,
    uid_of,
)
from khealth_exporter.simulator.errors import ApiError
from khealth_exporter.simulator.recorder import Occurrence, Source
from khealth_exporter.simulator.resources import PODS, STATEFUL_SETS
from khealth_exporter.simulator.store import Commit, Key, key_of

_SOURCE: Final = Source("statefulset-controller")


class StatefulSets(Controller):
    """Keeps the numbered pods of each StatefulSet; volumeClaimTemplates are ignored."""

    holding = ("controller-stalled",)

    def _listen(self, commit: Commit) -> None:
        if commit.resource is STATEFUL_SETS:
            self._queue.add(commit.key)
        elif commit.resource is PODS:
            owner = workload.owner_of(self.world, STATEFUL_SETS, commit.document)
            if owner is not None:
                self._queue.add(key_of(owner))

    async def _sync(self, key: Key) -> None:
        await self.pause(self.world.settings.delays.replicate)
        await self.turn()
        owner = self.world.store.get(STATEFUL_SETS, key)
        if owner is None:
            self._queue.forget(key)
            return
        try:
            found = revisions.find(self.world, owner)
        except ApiError:
            self._queue.add_failed(key)
            return
        try:
            if not is_deleting(owner):
                self._step(owner, found)
        except ApiError:
            self._queue.add_failed(key)
        else:
            self._queue.forget(key)
        self._report(owner, found)

    def _step(self, owner: Document, found: Revisions) -> None:
        """Take the next step: create or replace pods, then remove surplus ones, then update. Raises `ApiError`."""
        pods = {_ordinal(owner, pod): pod for pod in workload.owned(self.world, owner, PODS)}
        wanted = _ordinals(owner)
        ordered = spec_of(owner)["podManagementPolicy"] != PARALLEL
        waits = False
        for number in wanted:
            pod = pods.get(number)
            waits = self._fill(owner, found, number, pod) or waits
            if ordered and (pod is None or not self._is_well(owner, pod)):
                return
        surplus = [pods[number] for number in sorted(pods, reverse=True) if number not in wanted]
        self._remove(owner, surplus[:1] if ordered else surplus)
        if not waits and not surplus:
            self._update(owner, found, [pods[number] for number in wanted], ordered=ordered)

    def _fill(self, owner: Document, found: Revisions, number: int, pod: Document | None) -> bool:
        """Create the pod of that number if it is missing, or delete it if it has ended; tell whether so."""
        if pod is None:
            self._create(owner, found, number)
            return True
        if phase_of(pod) in {"Succeeded", "Failed"}:
            self._remove(owner, [pod])
            return True
        return False

    def _is_well(self, owner: Document, pod: Document) -> bool:
        return not is_deleting(pod) and phase_of(pod) == "Running" and workload.is_available(self.world, owner, pod)

    def _create(self, owner: Document, found: Revisions, number: int) -> None:
        strategy, first = spec_of(owner)["updateStrategy"], _ordinals(owner).start
        kept = first + int((strategy.get("rollingUpdate") or {}).get("partition", 0))
        revision = found.current if strategy["type"] == ROLLING and number < kept else found.update
        template, name = revisions.template_of(revision), f"{name_of(owner)}-{number}"
        labels = {
            **labels_of(template),
            "statefulset.kubernetes.io/pod-name": name,
            "apps.kubernetes.io/pod-index": str(number),
            revisions.HASH: name_of(revision),
        }
        pod = workload.pod_of(STATEFUL_SETS, owner, template, name=name, labels=labels)
        identity = {"hostname": name, "subdomain": spec_of(owner).get("serviceName") or ""}
        pod["spec"] = {**template["spec"], **{key: text for key, text in identity.items() if text}}
        try:
            self.world.registry.create(PODS, namespace_of(owner), pod)
        except ApiError as error:
            failed = f"create Pod {name} in StatefulSet {name_of(owner)} failed error: {error.message}"
            self._say(owner, "Warning", "FailedCreate", failed)
            raise
        self._say(owner, "Normal", "SuccessfulCreate", f"create Pod {name} in StatefulSet {name_of(owner)} successful")

    def _remove(self, owner: Document, pods: Iterable[Document]) -> None:
        """Delete the pods that are not being deleted."""
        for pod in pods:
            if not is_deleting(pod):
                self.world.deletion.delete(PODS, key_of(pod), DeleteOptions(uid=uid_of(pod)))
                removed = f"delete Pod {name_of(pod)} in StatefulSet {name_of(owner)} successful"
                self._say(owner, "Normal", "SuccessfulDelete", removed)

    def _update(self, owner: Document, found: Revisions, pods: list[Document], *, ordered: bool) -> None:
        """Delete pods of an earlier revision, from the last one on, as far as maxUnavailable allows."""
        strategy = spec_of(owner)["updateStrategy"]
        if strategy["type"] != ROLLING:
            return
        rolling = strategy.get("rollingUpdate") or {}
        budget = max(1, rollout.resolved(rolling.get("maxUnavailable", 1), len(pods), up=False))
        ill = [pod for pod in pods if not self._is_well(owner, pod)]
        outdated = [
            pod
            for pod in reversed(pods[int(rolling.get("partition", 0)) :])
            if labels_of(pod).get(revisions.HASH) != name_of(found.update) and not is_deleting(pod)
        ]
        if not ordered:
            self._remove(owner, [pod for pod in outdated if pod in ill])
            outdated = [pod for pod in outdated if pod not in ill]
        self._remove(owner, outdated[: max(0, budget - len(ill))])

    def _report(self, owner: Document, found: Revisions) -> None:
        pods = workload.owned(self.world, owner, PODS)
        staying = [labels_of(pod).get(revisions.HASH) for pod in pods if not is_deleting(pod)]
        ready = [pod for pod in pods if phase_of(pod) == "Running" and has_condition(pod, "Ready")]
        available = [pod for pod in ready if workload.is_available(self.world, owner, pod)]
        current, update, wanted = name_of(found.current), name_of(found.update), int(spec_of(owner)["replicas"])
        updated = staying.count(update)
        if {len(pods), len(ready), updated} == {wanted} and spec_of(owner)["updateStrategy"]["type"] == ROLLING:
            current = update
        counts = {
            "readyReplicas": len(ready),
            "currentReplicas": staying.count(current),
            "updatedReplicas": updated,
        }
        status = {
            "observedGeneration": metadata(owner)["generation"],
            "replicas": len(pods),
            "availableReplicas": len(available),
            **{name: count for name, count in counts.items() if count},
            "currentRevision": current,
            "updateRevision": update,
            "collisionCount": 0,
        }
        about = {key: value for key, value in metadata(owner).items() if key != "resourceVersion"}
        document = {**owner, "metadata": about, "status": status}
        self.world.registry.update(STATEFUL_SETS, key_of(owner), document, subresource="status")
        revisions.forget_old(self.world, owner, found, pods)
        if len(available) < len(ready):
            self._queue.add_after(key_of(owner), float(spec_of(owner)["minReadySeconds"]))

    def _say(self, owner: Document, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        self.world.recorder.record(_SOURCE, STATEFUL_SETS, owner, Occurrence(kind, reason, message))


def _ordinals(owner: Document) -> range:
    """Return the numbers of the pods that the StatefulSet wants."""
    first = int((spec_of(owner).get("ordinals") or {}).get("start", 0))
    return range(first, first + int(spec_of(owner)["replicas"]))


def _ordinal(owner: Document, pod: Document) -> int:
    """Return the number of the StatefulSet's pod."""
    return int(name_of(pod).removeprefix(f"{name_of(owner)}-"))
