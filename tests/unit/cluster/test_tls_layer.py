"""TLS in memory."""

import ssl
from contextlib import suppress

import pytest
import trustme

from khealth_exporter.cluster.stream.tls_layer import TlsLayer


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000, 1 << 20])
def test_a_record_that_has_not_come_whole_is_known(size: int) -> None:
    """However its bytes are cut; what is whole is not held back."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("kubernetes").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server, layer = context.wrap_bio(incoming, outgoing, server_side=True), TlsLayer(trusting, "kubernetes")
    complete, said = layer.handshake(b""), b""
    for _ in range(4):
        incoming.write(layer.outgoing())
        with suppress(ssl.SSLWantReadError):
            server.do_handshake()
        for part in pieces(outgoing.read(), size):
            said += layer.decrypt(part) if complete else b""
            complete = complete or layer.handshake(part)
    said += layer.decrypt(b"")
    assert complete
    assert not layer.partial
    server.write(b"first")
    first = len(outgoing_bytes := outgoing.read())
    server.write(b"second" * 5000)
    outgoing_bytes += outgoing.read()
    done = 0
    for part in pieces(outgoing_bytes, size):
        said += layer.decrypt(part)
        done += len(part)
        assert said.startswith(b"first") == (done >= first)
        assert layer.partial == (done not in ends(outgoing_bytes))
    assert b"first" + b"second" * 5000 == said


def pieces(data: bytes, size: int) -> list[bytes]:
    """Cut bytes into pieces."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def ends(data: bytes) -> set[int]:
    """Return where the records of these bytes end."""
    found, at = set[int](), 0
    while at < len(data):
        at += 5 + int.from_bytes(data[at + 3 : at + 5])
        found.add(at)
    return found
