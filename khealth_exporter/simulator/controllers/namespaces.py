"""The namespace controller: creates the service account of a new namespace, and empties a deleted one."""

import asyncio
from typing import Final

from khealth_exporter.simulator.deletion import DeleteOptions
from khealth_exporter.simulator.documents import is_deleting, name_of
from khealth_exporter.simulator.resources import (
    CONFIG_MAPS,
    EVENTS,
    NAMESPACES,
    RESOURCES,
    SERVICE_ACCOUNTS,
)
from khealth_exporter.simulator.selection import Selector
from khealth_exporter.simulator.store import Commit
from khealth_exporter.simulator.world import Component, World

_LOOK_AGAIN: Final = 0.5
_ROOT_CERTIFICATE: Final = "kube-root-ca.crt"


class Namespaces(Component):
    """Furnishes new namespaces and finalizes deleted ones."""

    holding = ("controller-stalled",)

    def __init__(self, world: World) -> None:
        """Listen to namespaces."""
        super().__init__(world)
        self._ending: set[str] = set()
        world.store.listen(self._listen)

    def _listen(self, commit: Commit) -> None:
        if commit.resource is not NAMESPACES:
            return
        name = name_of(commit.document)
        if commit.kind == "ADDED":
            self.spawn(self._furnish, name)
        elif commit.kind == "MODIFIED" and is_deleting(commit.document) and name not in self._ending:
            self._ending.add(name)
            self.spawn(self._end, name)

    async def _furnish(self, namespace: str) -> None:
        await self.pause(self.world.settings.delays.service_account)
        await self.turn()
        self.furnish(namespace)

    def furnish(self, namespace: str) -> None:
        """Create the objects that every namespace has, if they are missing."""
        for resource, name in ((SERVICE_ACCOUNTS, "default"), (CONFIG_MAPS, _ROOT_CERTIFICATE)):
            if self.world.store.get(resource, (namespace, name)) is None:
                self.world.registry.create(resource, namespace, {"metadata": {"name": name}})

    async def _end(self, namespace: str) -> None:
        try:
            await self.pause(self.world.settings.delays.end_namespace)
            await self.turn()
            while not self._empty(namespace):
                await asyncio.sleep(self.world.scaled(_LOOK_AGAIN))
                await self.turn()
            found = self.world.store.get(NAMESPACES, ("", namespace))
            if found is not None:
                self.world.deletion.finish_namespace(found)
        finally:
            self._ending.discard(namespace)

    def _empty(self, namespace: str) -> bool:
        """Delete everything in the namespace, Events last; tell whether nothing is left."""
        left = False
        for resource in sorted(RESOURCES, key=lambda resource: resource is EVENTS):
            if not resource.namespaced:
                continue
            for key, record in self.world.store.records(resource, Selector(namespace)):
                if not is_deleting(record.document):
                    _, gone = self.world.deletion.delete(resource, key, DeleteOptions(policy="Background"))
                    left = left or not gone
                else:
                    left = True
        return not left
