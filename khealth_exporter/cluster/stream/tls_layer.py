"""TLS between memory buffers, so that the socket below stays khealth's own."""

import ssl

_READ = 16 << 10
"""Bytes that one call decrypts at most: a TLS record."""

_HEADER = 5
"""Bytes before a record's content; the last two are its length."""


class TlsLayer:
    """One side of a TLS connection, apart from what carries its bytes."""

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self.ended = False
        """Whether the other side has said that nothing more comes."""
        self._left = 0
        """Bytes that are missing of the latest record."""
        self._header = b""
        """The beginning of a header."""

    def handshake(self, data: bytes) -> bool:
        """Take what came (at first nothing), and tell whether the handshake is complete; raise ssl.SSLError."""
        self._take(data)
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
        self._take(data)
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

    @property
    def partial(self) -> bool:
        """Whether the latest record has not come whole."""
        return self._left > 0 or bool(self._header)

    def _take(self, data: bytes) -> None:
        self._incoming.write(data)
        data, at = self._header + data, self._left
        while at + _HEADER <= len(data):
            at += _HEADER + int.from_bytes(data[at + _HEADER - 2 : at + _HEADER])
        self._left, self._header = max(0, at - len(data)), data[at:]

    def outgoing(self) -> bytes:
        """Return what TLS itself has to send: its part of the handshake, or the answer to a change of keys."""
        return self._outgoing.read() if self._outgoing.pending else b""
