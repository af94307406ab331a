"""The namespace that khealth works in: made if it is missing, waited for while it goes."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from khealth_exporter.cluster.client.client import Client
from khealth_exporter.cluster.client.lookup import get_or_none
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.kinds import NAMESPACE, SERVICE_ACCOUNT
from khealth_exporter.cluster.ownership import MANAGED
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

_needed = partial(Permission, optional=True, outside=True)  # A pod of the cluster has its namespace already.

PERMISSIONS = (
    _needed("get", "namespaces", scope="cluster", why="wait for one that is being deleted"),
    _needed("create", "namespaces", scope="cluster", why="make the namespace if it is missing"),
    _needed("delete", "namespaces", scope="cluster", why="`once` removes the one that it made"),
    _needed("get", "serviceaccounts", why="wait until a new namespace can hold pods"),
)
"""What a namespace that does not exist beforehand takes; none of it where it does."""

_POD_SECURITY = "pod-security.kubernetes.io"
ENFORCE = f"{_POD_SECURITY}/enforce"
"""Label of a namespace: the Pod Security Standard that its pods must meet."""
RESTRICTED = {f"{_POD_SECURITY}/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
"""Labels that keep everything in the namespace to the *restricted* Pod Security Standard."""

_LOOKING = 5.0
"""Seconds for one look."""
_LOOK_AGAIN = 0.25
"""Seconds between two looks at a namespace that comes or goes."""


class NamespaceKeeper:
    """Creates, awaits and deletes the namespace of the canaries."""

    def __init__(self, name: str, client: Client, clock: Clock) -> None:
        self.name, self._client, self._clock = name, client, clock
        self._path = f"/api/v1/namespaces/{name}"
        self.made = False
        """Whether this process made it."""

    async def make(self, deadline: float) -> None:
        """Create it, and wait until it can hold pods; raise Failed(forbidden) where that is not permitted."""
        labels = {**RESTRICTED, MANAGED: "khealth"}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name, "labels": labels}}
        try:
            await self._client.request("create", "namespaces", "/api/v1/namespaces", body=body, deadline=deadline)
            self.made = True
        except Refused as refused:
            if refused.reason is Reason.FORBIDDEN:
                note = f"namespace {self.name} does not exist, and khealth may not create it: {refused.note}"
                raise Failed(Reason.FORBIDDEN, note) from refused
            if not refused.refusal.exists:
                raise
            self.made = refused.unanswered  # by a try of ours whose answer never came
        await self.habitable(deadline)

    async def habitable(self, deadline: float) -> None:
        """Wait until it can hold pods: the API server refuses them until their service account exists.

        The controller manager creates it in every new namespace. Return at the deadline in any case; raise Refused.
        """
        await self._until(lambda: self._has_service_account(deadline), deadline)

    async def settled(self, deadline: float) -> None:
        """Wait, if it is being deleted, until it is gone; raise Failed(interrupted) at the deadline.

        Raise Refused soon where the API server does not say: to wait for that is an attempt's business.
        """

        async def gone_or_well() -> bool:
            found = await get_or_none(self._client, NAMESPACE, self._path, min(deadline, self._clock.now() + _LOOKING))
            return found is None or not found.leaving

        if not await self._until(gone_or_well, deadline):
            raise Failed(Reason.INTERRUPTED, f"namespace {self.name} is still terminating")

    async def remove(self, deadline: float) -> bool:
        """Delete the namespace if this process made it; tell whether nothing of it is left at the deadline."""
        if not self.made:
            return True

        async def gone() -> bool:
            return await get_or_none(self._client, NAMESPACE, self._path, deadline) is None

        try:
            await self._client.request("delete", "namespaces", self._path, deadline=deadline)
        except Refused as refused:
            if not refused.refusal.missing:
                return False
        try:
            return await self._until(gone, deadline)
        except Failed:
            return False  # The API server does not say.

    async def _has_service_account(self, deadline: float) -> bool:
        try:
            path = f"{self._path}/serviceaccounts/default"
            return await get_or_none(self._client, SERVICE_ACCOUNT, path, deadline) is not None
        except Refused as refused:
            return refused.reason is Reason.FORBIDDEN

    async def _until(self, true: Callable[[], Awaitable[bool]], deadline: float) -> bool:
        while not await true():
            if self._clock.now() + _LOOK_AGAIN > deadline:
                return False
            await asyncio.sleep(_LOOK_AGAIN)
        return True
