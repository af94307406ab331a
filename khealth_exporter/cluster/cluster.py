"""What khealth does in a cluster: the two shared watches, its few requests, and the namespace."""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import msgspec

from khealth_exporter.cluster.client.client import Answer, Client
from khealth_exporter.cluster.decoding import decode, decode_page
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.namespace import PERMISSIONS as NAMESPACE_PERMISSIONS
from khealth_exporter.cluster.namespace import NamespaceKeeper
from khealth_exporter.cluster.objects import (
    KubernetesEvent,
    KubernetesObject,
    Metadata,
    Node,
    Pod,
    ReplicationController,
)
from khealth_exporter.cluster.ownership import SELECTOR, Identity
from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.cluster.watch.watch import Watch
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.permission import Denied, Permission
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.telemetry import Telemetry
from khealth_exporter.vocabulary.verdict import Failed

T = TypeVar("T", bound=KubernetesObject)

EVENT_PAGES = 4
"""Pages of 500 that are read of a namespace's Events: evidence must not cost more than what it is for."""

PERMISSIONS = (
    *(Permission(verb, "pods", why="see the canaries' way") for verb in ("list", "watch")),
    *(Permission(verb, "replicationcontrollers", why="see what khealth made") for verb in ("list", "watch")),
    Permission("delete", "pods", why="take what dead runs left, and what a dead node keeps"),
    Permission("delete", "replicationcontrollers", why="take what dead runs left"),
    Permission("list", "nodes", scope="cluster", optional=True, why="tell no node is Ready from no room"),
    Permission("list", "events", optional=True, why="evidence of a failed attempt"),
)
"""What the core needs, whatever the routines do."""


class Cluster:
    """One namespace of one cluster, seen by two label-selected watches that every routine shares."""

    def __init__(
        self, client: Client, identity: Identity, clock: Clock, telemetry: Telemetry, random: random.Random
    ) -> None:
        self.client, self.identity, self.clock, self.telemetry = client, identity, clock, telemetry
        self.changed = Signal()
        self.active: set[str] = set()
        """Names of the controllers that are being exercised now: not to be swept."""
        self.namespace = NamespaceKeeper(identity.namespace, client, clock)
        self._base = f"/api/v1/namespaces/{identity.namespace}"
        self.know(PERMISSIONS)
        self.know(NAMESPACE_PERMISSIONS)

        def watch(kind: type[T], resource: str) -> Watch[T]:
            return Watch(
                kind, resource, f"{self._base}/{resource}", SELECTOR,
                client=client, clock=clock, telemetry=telemetry, random=random, changed=self.changed,
            )  # fmt: skip

        self.pods = watch(Pod, "pods")
        self.controllers = watch(ReplicationController, "replicationcontrollers")

    @property
    def watches(self) -> tuple[Watch[Pod], Watch[ReplicationController]]:
        """Both watches."""
        return self.pods, self.controllers

    def know(self, permissions: Iterable[Permission]) -> None:
        """Take in what rights are needed for, so that one who lacks them can be told."""
        self.client.denials.know(permissions)

    def denied(self) -> tuple[Denied, ...]:
        """Return the rights that turned out to be lacking, the oldest first."""
        return self.client.denials.now()

    @property
    def live(self) -> bool:
        """Whether khealth sees."""
        return all(watch.live for watch in self.watches)

    @property
    def gaps(self) -> int:
        """How often changes may have gone unseen."""
        return sum(watch.gaps for watch in self.watches)

    def server_time(self) -> float:
        """Return the API server's own time, in Unix seconds."""
        return self.clock.now() + self.controllers.server_epoch

    async def until(self, true: Callable[[], bool], deadline: float = float("inf")) -> bool:
        """Wait until something holds, looking again at each change; tell whether it does when the deadline comes."""
        try:
            async with asyncio.timeout_at(deadline if deadline != float("inf") else None):
                await self.changed.until(true)
        except TimeoutError:
            return true()
        return True

    async def see(self, deadline: float) -> None:
        """Wait until both watches are live; raise what keeps them from it, at once where waiting mends nothing."""
        hopeless = (Reason.FORBIDDEN,)
        await self.until(
            lambda: self.live or any(w.trouble and w.trouble.reason in hopeless for w in self.watches), deadline
        )
        if not self.live:
            troubles = [watch.trouble for watch in self.watches if watch.trouble]
            raise troubles[0] if troubles else Failed(Reason.API_TIMEOUT, "no list and no watch was answered in time")

    async def check_removable(self, name: str, deadline: float) -> None:
        """Raise Refused where what is made under this name could not be removed again; nothing must have it yet.

        It is asked only after a deletion was refused: one of what does not exist shows whether the right is back.
        """
        if self.client.denials.holds("delete", "replicationcontrollers"):
            await self.delete("replicationcontrollers", KubernetesObject(Metadata(name=name)), deadline)

    async def create_controller(self, manifest: Mapping[str, object], deadline: float) -> Answer:
        """Create a ReplicationController, and the namespace with it where that is missing; raise Refused."""
        path = f"{self._base}/replicationcontrollers"
        try:
            return await self.client.request("create", "replicationcontrollers", path, body=manifest, deadline=deadline)
        except Refused as refused:
            if not refused.refusal.missing:
                raise
        await self.namespace.make(deadline)
        return await self.client.request("create", "replicationcontrollers", path, body=manifest, deadline=deadline)

    async def delete(
        self,
        resource: str,
        item: KubernetesObject,
        deadline: float,
        *,
        policy: str = "Background",
        grace: int | None = None,
    ) -> Answer | None:
        """Delete this very object (by uid) and what it owns; None where it is gone already; raise Refused."""
        options: dict[str, object] = {"propagationPolicy": policy, "preconditions": {"uid": item.uid}}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        try:
            return await self.client.request(
                "delete", resource, f"{self._base}/{resource}/{item.name}", body=options, deadline=deadline
            )
        except Refused as refused:
            if refused.refusal.missing or refused.refusal.conflict:  # Gone, or another object has its name by now.
                return None
            raise

    async def find_controller(self, name: str, deadline: float) -> ReplicationController | None:
        """Ask the API server itself for a ReplicationController; None where there is none; raise Refused."""
        path = f"{self._base}/replicationcontrollers/{name}"
        try:
            answer = await self.client.request("get", "replicationcontrollers", path, deadline=deadline)
        except Refused as refused:
            if refused.refusal.missing:
                return None
            raise
        try:
            return decode(ReplicationController, answer.body)
        except msgspec.MsgspecError as error:
            raise Failed(Reason.API_ERROR, f"an answer cannot be read: {error}") from error

    async def list_pods(self, selector: str, deadline: float) -> list[Pod]:
        """Ask the API server itself for pods; raise Refused."""
        return await self._list(Pod, "pods", f"{self._base}/pods", {"labelSelector": selector}, deadline)

    async def list_nodes(self, deadline: float) -> list[Node] | None:
        """List all nodes; None where that is not permitted or not answered."""
        try:
            return await self._list(Node, "nodes", "/api/v1/nodes", {}, deadline)
        except Failed:
            return None

    async def list_events(self, deadline: float) -> list[KubernetesEvent]:
        """List the namespace's Kubernetes Events; none where that is not permitted or not answered."""
        try:
            return await self._list(KubernetesEvent, "events", f"{self._base}/events", {}, deadline, pages=EVENT_PAGES)
        except Failed:
            return []

    async def _list(  # noqa: PLR0913 - what is asked, and how much of it
        self, kind: type[T], resource: str, path: str, query: Mapping[str, str], deadline: float, *, pages: int = 1000
    ) -> list[T]:
        found: list[T] = []
        asked = {**query, "limit": "500"}
        for _ in range(pages):
            answer = await self.client.request("list", resource, path, query=asked, deadline=deadline)
            try:
                page, items = decode_page(kind, answer.body)
            except msgspec.MsgspecError as error:
                raise Failed(Reason.API_ERROR, f"a list of {resource} cannot be read: {error}") from error
            found += items
            if not page.metadata.continue_:
                break
            asked["continue"] = page.metadata.continue_
        return found
