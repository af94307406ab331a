"""Who may ask: one shared secret, and each request once."""

import os
import re
from collections import deque

from khealth_exporter.canary.agent.digest import digest, equal, mac

HEADER = "Khealth-Auth"
_NONCES = 10_000
"""Requests that are remembered."""
_LONGEST_SECRET = 4096
_PROOF = re.compile(r"v1; ?boot=([0-9a-f]{1,64}); ?nonce=([0-9a-f]{32}); ?mac=([0-9a-f]{64})")


class Denied(Exception):  # noqa: N818 - it reads as what happened
    """The request proves nothing: `secret`, `mac`, `boot` or `replay` says what is wrong."""


class Accepted:
    """A request that proved to be khealth's; its answer is proved with the same secret."""

    __slots__ = ("_nonce", "_secret")

    def __init__(self, secret: bytes, nonce: str) -> None:
        self._secret = secret
        self._nonce = nonce

    def proof(self, status: int, body: bytes) -> str:
        """Return the header of the answer."""
        return f"v1;mac={_mac(self._secret, 'answer', self._nonce, str(status), digest(body).hex()).hex()}"


class Guard:
    """Checks requests. `boot` names this process: no request to an earlier one is accepted."""

    def __init__(self, secret_file: str) -> None:
        self.boot = os.urandom(16).hex()
        self._secret_file = secret_file
        self._nonces: set[bytes] = set()
        self._order: deque[bytes] = deque()

    def check(self, method: str, path: str, proof: str, body: bytes) -> Accepted:
        """Accept a request once; raise Denied."""
        secret = self._secret()
        if not secret:
            raise Denied("secret")
        found = _PROOF.fullmatch(proof)
        if not found:
            raise Denied("mac")
        boot, nonce, given = found.groups()
        expected = _mac(secret, method, path, boot, nonce, digest(body).hex())
        if not equal(expected, bytes.fromhex(given)):
            raise Denied("mac")
        if boot != self.boot:
            raise Denied("boot")
        self._remember(bytes.fromhex(nonce))
        return Accepted(secret, nonce)

    def _remember(self, nonce: bytes) -> None:
        if nonce in self._nonces:
            raise Denied("replay")
        if len(self._order) >= _NONCES:
            self._nonces.discard(self._order.popleft())
        self._nonces.add(nonce)
        self._order.append(nonce)

    def _secret(self) -> bytes:
        """Return the secret of this moment: the kubelet replaces the file when the Secret changes."""
        try:
            with open(self._secret_file, "rb") as file:
                return file.read(_LONGEST_SECRET).strip()
        except OSError:
            return b""


def _mac(secret: bytes, *parts: str) -> bytes:
    """Return the code that proves that one who knows the secret said the parts."""
    return mac(secret, "\n".join(("v1", *parts)).encode())
