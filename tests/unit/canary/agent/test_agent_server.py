"""The sockets that an agent listens with."""

import errno
import socket

import pytest

from khealth_exporter.canary.agent import server

ADDRESS = "127.0.0.1"


class Taken(socket.socket):
    """A socket that gets any port, but not the first ones by number: others have them."""

    left = 0

    def bind(self, address: tuple[str, int]) -> None:  # type: ignore[override]
        """Fail so many times."""
        if address[1] and Taken.left:
            Taken.left -= 1
            raise OSError(errno.EADDRINUSE, "Address already in use")
        super().bind(address)


@pytest.fixture(autouse=True)
def _taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", Taken)
    monkeypatch.setattr(server, "_TAKEN", 5)


def test_any_port_is_one_that_is_free_for_tcp_and_udp() -> None:
    """The kernel gives one for TCP; a client that sends datagrams may have it."""
    Taken.left = 5
    stream, datagrams = server.bound(ADDRESS, 0)
    with stream, datagrams:
        assert stream.getsockname() == datagrams.getsockname()


@pytest.mark.parametrize(("port", "tries"), [(0, 6), (1024, 1)])
def test_a_port_that_is_taken_is_told(port: int, tries: int) -> None:
    """The one that was asked for is tried once."""
    Taken.left = 10
    with pytest.raises(OSError, match="already in use"):
        server.bound(ADDRESS, port)
    assert 10 - tries == Taken.left
