"""Whether agents can connect to DNS pods that are silent: a pod that hangs lets its kernel accept connections."""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from khealth_exporter.canaries.asking import ASKING
from khealth_exporter.canaries.dns.servers import Server
from khealth_exporter.core.agents import Agent, Agents
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.verdict import Failed

_MOST = 10
"""DNS pods to which each agent connects."""
_COUNT, _SPACING, _TIMEOUT = 3, 0.2, 1.0
"""Connections to each, and seconds between two of them, and for one."""
_REFUSED = "ECONNREFUSED"
"""Of a connection that the pod's kernel refuses: it was reached."""

_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Trips(msgspec.Struct, frozen=True):
    sent: _Count
    lost: _Count
    error: str = ""

    @property
    def reached(self) -> bool:
        """Whether there was an answer of any kind, or nothing is known."""
        return self.lost < self.sent or not self.sent or _REFUSED in self.error


class _Document(msgspec.Struct, frozen=True):
    results: tuple[_Trips, ...]


async def unreached(
    agents: Agents, members: Sequence[Agent], servers: Sequence[Server], port: int, clock: Clock
) -> bool:
    """Tell whether no agent can connect to any of the DNS pods; False if that is not known."""
    path = {"protocol": "tcp", "port": port, "count": _COUNT, "spacing": _SPACING, "timeout": _TIMEOUT}
    probes = [{"id": server.address, "address": server.address, **path} for server in servers[:_MOST]]
    question = {"probes": probes, "edges": [_TIMEOUT], "within": ASKING - 1}
    try:
        heard = await agents.ask(members, "round_trips", lambda _: question, clock.now() + ASKING)
        found = [one for told in heard.told for one in msgspec.convert(told.document, _Document).results]
    except (Failed, msgspec.ValidationError):
        return False
    return bool(found) and not any(one.reached for one in found)
