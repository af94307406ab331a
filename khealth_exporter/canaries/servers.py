"""Each address of the API server, as the EndpointSlice `kubernetes` lists them."""

from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.kinds import ENDPOINT_SLICE
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.verdict import Evidence, Failed

_OF_THE_API = "kubernetes.io/service-name=kubernetes"
_EACH = 5.0
"""Seconds for one address, so that a dead one does not use up the time of the others."""


async def connect_to_each(cluster: Cluster, deadline: float) -> list[float | None]:
    """Connect to every address; return when each one's certificate ends, in Unix seconds, if that is known.

    Raise Failed(one_api_server) if some answer and some do not; Refused if none does, or the list is refused.
    """
    slices = await cluster.list(ENDPOINT_SLICE, deadline, labels=_OF_THE_API, namespace="default")
    addresses = [
        (address, next((port.port for port in found.ports if port.name == "https"), 0))
        for found in slices
        for endpoint in found.endpoints
        if endpoint.conditions.ready
        for address in endpoint.addresses
    ]
    ends: list[float | None] = []
    failed: dict[str, Refused] = {}
    for address, port in addresses:
        by = min(deadline, cluster.clock.now() + _EACH)
        try:
            await cluster.client.connect("/readyz", by, host=address, port=port)
            ends.append(cluster.client.certificate_end)
        except Refused as refused:
            failed[f"{address}:{port}"] = refused
    if not failed:
        return ends
    first = next(iter(failed.values()))
    if not ends or first.reason.result is not Result.FAILURE:
        raise first
    lines = tuple(f"{address}: {refused.note}" for address, refused in failed.items())
    note = f"{len(failed)} of {len(addresses)} API server addresses do not answer: {', '.join(failed)}"
    raise Failed(Reason.ONE_API_SERVER, note, (Evidence("EndpointSlice", "default/kubernetes", lines),))
