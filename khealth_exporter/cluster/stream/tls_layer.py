"""TLS between memory buffers, so that the socket below stays khealth's own."""

import ssl

_READ = 16 << 10
"""Bytes that one call decrypts at most: a TLS record."""


class TlsLayer:
    """One side of a TLS connection, apart from what carries its bytes."""

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self.ended = False
        """Whether the other side has said that nothing more comes."""

    def handshake(self, data: bytes) -> bool:
        """Take what came (at first nothing), and tell whether the handshake is complete; raise ssl.SSLError."""
        if data:
            self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def encrypt(self, data: bytes) -> bytes:
        """Return what to send for these bytes."""
        self._tls.write(data)
        return self._outgoing.read()

    def decrypt(self, data: bytes) -> bytes:
        """Return what these bytes contain; they may end within a record. Raise ssl.SSLError."""
        self._incoming.write(data)
        parts: list[bytes] = []
        try:
            while self._incoming.pending or self._tls.pending():
                if not (part := self._tls.read(_READ)):
                    self.ended = True
                    break
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def outgoing(self) -> bytes:
        """Return what TLS itself has to send: its part of the handshake, or the answer to a change of keys."""
        return self._outgoing.read() if self._outgoing.pending else b""
