"""Whether agents can connect to DNS pods that are silent: then the pods hang, and packets arrive."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec

from khealth_exporter.canaries.agents.round_trips import STARVED
from khealth_exporter.canaries.asking import ASKING
from khealth_exporter.canaries.dns.questions import REFUSED
from khealth_exporter.canaries.dns.servers import Server
from khealth_exporter.core.agents import Agent, Agents
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.verdict import Failed

_MOST = 10
"""Addresses of DNS pods to which each agent connects."""
_CLOSED = 9
"""A port (discard) at which no DNS pod listens: its kernel refuses, even if it takes no more connections for DNS."""
_COUNT, _SPACING, _TIMEOUT = 3, 0.2, 1.0
"""Connections to each, and seconds between two of them, and for one."""

_Count = Annotated[int, msgspec.Meta(ge=0)]


@dataclass(slots=True)
class Contact:
    """Whether an agent on another node was ever answered by a DNS pod; it lives as long as the process.

    Where that is not so, such as under a NetworkPolicy, it says nothing that agents cannot connect.
    """

    made: bool = False


class _Trips(msgspec.Struct, frozen=True):
    sent: _Count
    lost: _Count
    error: str = ""

    @property
    def reached(self) -> bool:
        """Whether there was an answer of any kind."""
        return self.lost < self.sent or REFUSED in self.error


class _Document(msgspec.Struct, frozen=True):
    results: tuple[_Trips, ...]
    waiting_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0


async def unreached(
    agents: Agents, members: Sequence[Agent], servers: Sequence[Server], port: int, clock: Clock
) -> bool:
    """Tell whether no agent can connect to any of the DNS pods; False if that is not known."""
    path = {"protocol": "tcp", "count": _COUNT, "spacing": _SPACING, "timeout": _TIMEOUT}
    places = [(server.address, number) for server in servers[:_MOST] for number in (port, _CLOSED)]
    probes = [{"id": f"{address} {number}", "address": address, "port": number, **path} for address, number in places]
    question = {"probes": probes, "edges": [_TIMEOUT], "within": ASKING - 1}
    try:
        heard = await agents.ask(members, "round_trips", lambda _: question, clock.now() + ASKING)
        told = [msgspec.convert(one.document, _Document) for one in heard.told]
    except (Failed, msgspec.ValidationError):
        return False
    found = [trips for one in told if one.waiting_seconds <= STARVED * _TIMEOUT for trips in one.results if trips.sent]
    return bool(found) and not any(trips.reached for trips in found)
