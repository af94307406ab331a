"""Each address of the API server, as the EndpointSlice `kubernetes` lists them."""

import asyncio
from dataclasses import dataclass

from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.kinds import ENDPOINT_SLICE
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.verdict import Evidence, Failed

_OF_THE_API = "kubernetes.io/service-name=kubernetes"
_EACH = 5.0
"""Seconds for one address."""
_AT_ONCE = 8
"""Addresses that are connected to at the same time."""


@dataclass(frozen=True, slots=True)
class Connected:
    """What the addresses of the API server answered."""

    addresses: int
    answered: int
    ends: tuple[float, ...]
    """When the certificates end, in Unix seconds; only those that are known."""
    failed: tuple[tuple[str, Refused], ...]
    """Each address that did not answer as hoped for, with the reason."""

    def judge(self) -> None:
        """Raise Failed(one_api_server) if some answer and some do not; Refused if none answers as hoped for."""
        dead = [(address, refused) for address, refused in self.failed if refused.reason.result is Result.FAILURE]
        if dead and self.answered:
            lines = tuple(f"{address}: {refused.note}" for address, refused in dead)
            names = ", ".join(address for address, _ in dead)
            note = f"{len(dead)} of {self.addresses} API server addresses do not answer: {names}"
            raise Failed(Reason.ONE_API_SERVER, note, (Evidence("EndpointSlice", "default/kubernetes", lines),))
        for _, refused in sorted(self.failed, key=lambda entry: entry in dead):
            raise refused


async def addresses_of(cluster: Cluster, deadline: float) -> list[tuple[str, int]]:
    """Return the addresses and ports of the API server that take traffic; raise Refused."""
    slices = await cluster.list(ENDPOINT_SLICE, deadline, labels=_OF_THE_API, namespace="default")
    return [
        (address, next((port.port for port in found.ports if port.name == "https"), 0))
        for found in slices
        for endpoint in found.endpoints
        if endpoint.conditions.ready
        for address in endpoint.addresses
    ]


async def connect_to_each(cluster: Cluster, deadline: float) -> Connected:
    """Connect to every address at the same time; raise Refused if the list of them is refused."""
    addresses = await addresses_of(cluster, deadline)
    ends: list[float | None] = []
    failed: list[tuple[str, Refused]] = []
    untried: list[tuple[str, Refused]] = []
    turn = asyncio.Semaphore(_AT_ONCE)

    async def ask(address: str, port: int) -> None:
        async with turn:
            seconds = min(deadline - cluster.clock.now(), _EACH)
            try:
                answer = await cluster.client.connect("/readyz", cluster.clock.now() + seconds, host=address, port=port)
                ends.append(answer.certificate_end)
            except Refused as refused:
                # What khealth could not even begin says nothing of the address.
                found = untried if refused.reason is Reason.PROBER_STARVED else failed
                found.append((f"{address}:{port}", refused))

    async with asyncio.TaskGroup() as group:
        for address, port in addresses:
            group.create_task(ask(address, port))
    return Connected(
        len(addresses),
        len(ends),
        tuple(end for end in ends if end is not None),
        tuple(sorted(failed if failed or ends else untried, key=lambda entry: entry[0])),
    )
