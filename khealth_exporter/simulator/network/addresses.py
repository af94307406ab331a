"""The addresses of Services and pods: a loopback network of this machine that no other simulated cluster has."""

import ipaddress
import socket
import sys
from collections.abc import Container
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

Network = ipaddress.IPv4Network

SERVICES: Final = Network("127.64.0.0/24")
"""The addresses of Services where no cluster runs, such as in unit tests."""

_FIRST: Final = 64
_LAST: Final = 127
"""The second byte of the networks from which clusters choose: 127.64.0.0/10."""
_SUBNETS: Final = 255
_RESERVED: Final = f"{__name__}/127.%d"
"""The name of the abstract Unix socket that a cluster holds as long as it has the network."""


class Addresses:
    """A network 127.x.0.0/16 of one cluster, as a context manager: 127.x.0.0/24 for Services, a /24 for each node."""

    def __init__(self) -> None:
        self._held: socket.socket | None = None
        self._second = _FIRST
        self._subnets: dict[str, int] = {}
        self._last: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Take a network that no other cluster of this machine has. Raises `OSError` if all are taken."""
        if sys.platform != "linux":  # Others do not have these addresses.
            return self
        for self._second in range(_FIRST, _LAST + 1):
            self._held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            with suppress(OSError):
                # The leading zero makes it abstract: it is in no directory, and goes with the process.
                self._held.bind(f"\0{_RESERVED % self._second}")
                return self
            self._held.close()
        raise OSError(f"{_LAST + 1 - _FIRST} simulated clusters run on this machine; there is no network for another")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the network back."""
        if self._held is not None:
            self._held.close()

    @property
    def network(self) -> Network:
        """The network of this cluster."""
        return Network(f"127.{self._second}.0.0/16")

    @property
    def services(self) -> Network:
        """The addresses of Services."""
        return Network(f"127.{self._second}.0.0/24")

    def of_host(self, node: str) -> str:
        """Return the address at which pods in that node's own network listen: this machine does not have the node's."""
        return f"127.{self._second}.{self._subnet(node)}.1"

    def of_pod(self, node: str, taken: Container[str]) -> str:
        """Return an address for a pod on that node that is not taken: the next one, as a network plugin chooses it."""
        subnet = self._subnet(node)
        last = self._last.get(node, 1)
        for step in range(1, 254):
            number = (last - 2 + step) % 253 + 2
            address = f"127.{self._second}.{subnet}.{number}"
            if address not in taken:
                break
        self._last[node] = number
        return address

    def _subnet(self, node: str) -> int:
        return self._subnets.setdefault(node, len(self._subnets) % _SUBNETS + 1)


def service_address(services: Network, taken: Container[str], start: int) -> str | None:
    """Return an address for a Service that is not taken, from a random start on; None if there is none.

    The first sixteenth of the network is for addresses that are asked for by name, as in the real API server.
    """
    least, size = services.num_addresses // 16, services.num_addresses
    choices = [*range(least, size - 1), *range(1, least)]
    offset = start % (size - 1 - least)
    candidates = (str(services[number]) for number in choices[offset:] + choices[:offset])
    return next((address for address in candidates if address not in taken), None)
