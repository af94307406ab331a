"""A headless Service that is new: its addresses are khealth's to choose, so that a right answer is known exactly."""

import random
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

from khealth_exporter.canaries.cleaning import one_after_the_other
from khealth_exporter.canaries.dns.questions import PROPAGATE, Expected, Question
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.cluster.kinds import ENDPOINT_SLICE, SERVICE
from khealth_exporter.cluster.objects import EndpointSlice
from khealth_exporter.cluster.ownership import Ownership
from khealth_exporter.cluster.watch.subscription import Signal
from khealth_exporter.core.routine import Context
from khealth_exporter.measure.moments import Moment

Family = Literal["IPv4", "IPv6"]
_TYPES: Mapping[Family, Literal["A", "AAAA"]] = {"IPv4": "A", "IPv6": "AAAA"}
_HEADLESS = "service.kubernetes.io/headless"
"""With this label, no kube-proxy takes notice: a cluster has one on every node."""
_PORT = {"name": "discard", "port": 9, "protocol": "TCP"}
_EACH = 2
"""Addresses of each family."""


class NewService:
    """A headless Service without a selector, with an EndpointSlice for each family, which the attempt makes itself.

    So no controller is involved between the API server and the DNS. The addresses are of the ranges for documentation
    (RFC 5737, RFC 3849), others in each attempt: an old answer is a wrong one.
    """

    def __init__(self, ownership: Ownership, context: Context, changed: Signal) -> None:
        self._service = Owned(SERVICE, ownership, context, changed, watched=False)
        self._slices: dict[Family, Owned[EndpointSlice]] = {
            family: Owned(ENDPOINT_SLICE, ownership.part(family.lower()), context, changed, watched=False)
            for family in _TYPES
        }
        self._name, self._chance = f"{ownership.name}.{context.cluster.identity.namespace}.svc", context.chance
        self._addresses: dict[Family, list[str]] = {}

    async def create(self, families: Sequence[Family], deadline: float) -> Moment:
        """Create the Service and its EndpointSlices, and return when the last one was created; raise Refused."""
        await self._service.create(self._manifest(families), deadline, PROPAGATE)
        for family in families:
            addresses = self._addresses[family] = _chosen(family, self._chance)
            await self._slices[family].create(self._slice(family, addresses), deadline, PROPAGATE)
        return self._slices[families[-1]].answered

    def questions(self, domain: str, server: str = "", port: int = 53) -> list[Question]:
        """Return what a DNS server, or the pod's own ones, should know as soon as the EndpointSlices are there."""
        name = f"{self._name}.{domain}."
        return [
            Question(PROPAGATE, name, Expected.of(addresses, _TYPES[family]), server, _TYPES[family], port=port)
            for family, addresses in self._addresses.items()
        ]

    async def delete(self, deadline: float) -> None:
        """Delete what was created; raise ExceptionGroup of what was refused."""
        await one_after_the_other(*(partial(one.delete, deadline) for one in self._all if one.begun))

    def close(self) -> None:
        """Let a sweep take what is left."""
        for owned in self._all:
            owned.close()

    @property
    def _all(self) -> tuple[Owned[Any], ...]:
        return (*self._slices.values(), self._service)

    def _manifest(self, families: Sequence[Family]) -> Mapping[str, object]:
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _labelled(self._service.ownership, {_HEADLESS: ""}),
            "spec": {
                "clusterIP": "None",
                "ipFamilies": list(families),
                "ipFamilyPolicy": "SingleStack" if len(families) == 1 else "RequireDualStack",
                "ports": [_PORT],
            },
        }

    def _slice(self, family: Family, addresses: Sequence[str]) -> Mapping[str, object]:
        labels = {
            _HEADLESS: "",
            "kubernetes.io/service-name": self._service.ownership.name,
            "endpointslice.kubernetes.io/managed-by": "khealth",
        }
        return {
            "apiVersion": ENDPOINT_SLICE.api_version,
            "kind": "EndpointSlice",
            "metadata": _labelled(self._slices[family].ownership, labels),
            "addressType": family,
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
            "ports": [_PORT],
        }


def _chosen(family: Family, chance: random.Random) -> list[str]:
    if family == "IPv4":
        return [f"192.0.2.{last}" for last in chance.sample(range(1, 255), _EACH)]
    return [f"2001:db8::{last:x}" for last in chance.sample(range(1, 1 << 16), _EACH)]


def _labelled(ownership: Ownership, labels: Mapping[str, str]) -> Mapping[str, object]:
    return {**ownership.metadata(), "labels": {**ownership.labels, **labels}}
