"""What khealth does in a cluster: generic requests for any kind, the shared watches, and the namespace."""

import random
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from khealth_exporter.cluster import lost_answer
from khealth_exporter.cluster.client.client import Answer, Client
from khealth_exporter.cluster.client.lookup import get_or_none, paged
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.kinds import Kind
from khealth_exporter.cluster.namespace import PERMISSIONS as NAMESPACE_PERMISSIONS
from khealth_exporter.cluster.namespace import NamespaceKeeper
from khealth_exporter.cluster.objects import KubernetesObject, Metadata
from khealth_exporter.cluster.ownership import SELECTOR, Identity, key_of
from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.cluster.watch.watch import Watch
from khealth_exporter.cluster.watch.watches import Watches
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.permission import Denied, Permission
from khealth_exporter.vocabulary.telemetry import Telemetry

T = TypeVar("T", bound=KubernetesObject)

PAGES = 1000
"""Pages that a list may have."""
_YOUNG = "error looking up service account"
"""Words with which the API server refuses pods in a namespace that was just made, by another routine perhaps."""


class Cluster:
    """One namespace of one cluster: requests for any kind, and label-selected watches that routines share."""

    def __init__(
        self, client: Client, identity: Identity, clock: Clock, telemetry: Telemetry, random: random.Random
    ) -> None:
        self.client, self.identity, self.clock, self.telemetry = client, identity, clock, telemetry
        self.active: set[tuple[str, ...]] = set()
        """Keys of the attempts that run now: what they own is not swept."""
        self.namespace = NamespaceKeeper(identity.namespace, client, clock)
        self.suspects: set[Kind[Any]] = set()
        """Kinds to list at the next sweep: a cleanup that failed may have left an object, or a list has failed."""
        self._server_epoch = clock.utc() - clock.now()
        changed = Signal()

        def watch(kind: Kind[T]) -> Watch[T]:
            return Watch(
                kind, identity.namespace, SELECTOR if kind.namespaced else "",
                client=client, clock=clock, telemetry=telemetry, random=random, key_of=key_of, changed=changed,
            )  # fmt: skip

        self.watches = Watches(watch, changed)
        client.denials.home = identity.namespace
        self.know(NAMESPACE_PERMISSIONS)

    def know(self, permissions: Iterable[Permission]) -> None:
        """Take in what rights are needed for, so that a log entry can say what a denied one costs."""
        self.client.denials.know(permissions)

    def denied(self) -> tuple[Denied, ...]:
        """Return the missing permissions, the oldest first."""
        return self.client.denials.now()

    def server_time(self) -> float:
        """Return the API server's own time, in Unix seconds."""
        epochs = [watch.server_epoch for watch in self.watches.all()]
        return self.clock.now() + max(epochs, default=self._server_epoch)

    def path(self, kind: Kind[Any], name: str = "", namespace: str | None = None) -> str:
        """Return the path of a kind in khealth's namespace (or another), or of one object."""
        return kind.path(namespace or self.identity.namespace, name)

    async def check_deletable(self, kind: Kind[Any], name: str, deadline: float) -> None:
        """Raise Refused if khealth could not delete what it would create under this name; nothing may have it yet.

        It asks only after a deletion was denied: deleting what does not exist tells whether the right is back.
        """
        if self.client.denials.holds("delete", kind.plural):
            await self.delete(kind, KubernetesObject(Metadata(name=name)), deadline)

    async def create(
        self, kind: Kind[Any], manifest: Mapping[str, object], deadline: float, *, trial: bool = False
    ) -> Answer:
        """Create an object, and the namespace with it if that is missing; raise Refused.

        On `trial`, the API server only tells whether it would create the object: admission runs, nothing is stored.
        """
        query = {"dryRun": "All"} if trial else None

        async def create() -> Answer:
            path = self.path(kind)
            return await self.client.request("create", kind.plural, path, query=query, body=manifest, deadline=deadline)

        try:
            return await create()
        except Refused as refused:
            if refused.refusal.missing:
                await self.namespace.make(deadline)
            elif _YOUNG in refused.refusal.note:
                await self.namespace.habitable(deadline)
            else:
                raise
        return await create()

    async def update(self, kind: Kind[Any], name: str, manifest: Mapping[str, object], deadline: float) -> Answer:
        """Replace an object; raise Refused, with a conflict if its resourceVersion is not the manifest's."""
        return await lost_answer.change(self.client, "update", kind, self.path(kind, name), manifest, deadline)

    async def patch(self, kind: Kind[Any], name: str, changes: Mapping[str, object], deadline: float) -> Answer:
        """Merge changes into an object; raise Refused."""
        return await lost_answer.change(self.client, "patch", kind, self.path(kind, name), changes, deadline)

    async def get(self, kind: Kind[T], name: str, deadline: float, *, namespace: str | None = None) -> T | None:
        """Ask the API server itself for an object; None if there is none; raise Refused."""
        return await get_or_none(self.client, kind, self.path(kind, name, namespace), deadline)

    async def delete(
        self, kind: Kind[T], item: KubernetesObject, deadline: float, *,
        policy: str | None = None, grace: int | None = None,
    ) -> Answer | None:  # fmt: skip
        """Delete this object (by uid) and what it owns; None if it is gone already; raise Refused.

        It is gone too if another object has its name by now. An answer that was lost counts as `lost_answer` says.

        `policy` is the kind's own unless given; `grace` is in seconds.
        """
        options: dict[str, object] = {"propagationPolicy": policy or kind.deletion, "preconditions": {"uid": item.uid}}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        return await lost_answer.removal(self.client, kind, self.path(kind, item.name), options, deadline)

    async def list(self, kind: Kind[T], deadline: float, *, labels: str = "", namespace: str | None = None) -> list[T]:
        """Ask the API server itself for objects; raise Refused."""
        found: list[T] = []
        async for page in self.pages(kind, deadline, labels=labels, namespace=namespace):
            found += page
        return found

    async def pages(  # noqa: PLR0913 - each is part of what is asked
        self, kind: Kind[T], deadline: float, *,
        labels: str = "", fields: str = "", namespace: str | None = None, most: int = PAGES,
    ) -> AsyncIterator[Sequence[T]]:  # fmt: skip
        """Ask for at most so many pages of objects, and hold no more than one in memory; raise Refused."""
        path = self.path(kind, namespace=namespace)

        async def ask(query: Mapping[str, str]) -> Answer:
            selected = {**query, "fieldSelector": fields} if fields else query
            return await self.client.request("list", kind.plural, path, query=selected, deadline=deadline)

        async for answer, _, items in paged(kind, labels, ask, most=most):
            if answer.date is not None:
                self._server_epoch = answer.date - answer.answered
            yield items
