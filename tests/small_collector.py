"""A garbage collector of ConfigMaps in a few lines, as slow, dead or mistaken as a test wants."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from documents import Json, leaving
from fakes import FakeApi
from small_cluster import PACE, owners_of

MAPS = "configmaps"
POLICIES = ("Background", "Foreground", "Orphan")


@dataclass
class SmallCollector:
    """What becomes of the dependents of ConfigMaps that are deleted."""

    api: FakeApi
    working: set[str] = field(default_factory=lambda: set(POLICIES))
    """The propagation policies that it acts on."""
    most: int = 99
    """Dependents of each owner that it gets to."""
    mistaken: bool = False
    """Whether it deletes what should be orphaned, or an owner before its dependents."""

    def __post_init__(self) -> None:
        self._others = self.api.deleted
        self.api.deleted = self._deleted

    @property
    def maps(self) -> Mapping[str, Json]:
        """The ConfigMaps that there are."""
        return self.api.objects.get(MAPS, {})

    def dependents(self, owner: Json) -> list[Json]:
        """Return what names an owner."""
        return [item for item in self.maps.values() if owner["metadata"]["uid"] in owners_of(item)]

    def later(self, turns: int, call: Callable[..., object], *arguments: object) -> None:
        """Let something happen a few turns later."""
        asyncio.get_running_loop().call_later(turns * PACE, call, *arguments)

    def gone(self, name: str) -> None:
        """Remove a ConfigMap unless a finalizer keeps it."""
        item = self.maps.get(name)
        if item and item["metadata"].get("finalizers"):
            self.api.put(MAPS, leaving(item))
        elif item:
            self.api.remove(MAPS, name)

    def _deleted(self, resource: str, item: Json, options: Json) -> bool:
        if resource != MAPS:
            return self._others(resource, item, options)
        policy, again = options["propagationPolicy"], "deletionTimestamp" in item["metadata"]
        if item["metadata"].get("finalizers"):
            return False
        if policy in self.working and not again:
            self.later(1, self._act, policy, item)
        return again or policy == "Background"

    def _act(self, policy: str, owner: Json) -> None:
        name, found = owner["metadata"]["name"], self.dependents(owner)[: self.most]
        if policy == "Foreground" and self.mistaken:
            self.gone(name)
        for item in found:
            if policy == "Orphan" and not self.mistaken:
                self.api.put(MAPS, {**item, "metadata": {**item["metadata"], "ownerReferences": []}})
            elif policy != "Foreground" or not self.mistaken:
                self.gone(item["metadata"]["name"])
        if not self.dependents(owner):
            self.later(1, self.gone, name)
