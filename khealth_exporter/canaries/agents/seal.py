"""Seals: the header by which an agent knows a question of khealth's, and khealth an answer of the agent's."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

HEADER = "Khealth-Auth"
_ANSWER = re.compile(r"v1;mac=([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Seal:
    """What seals one question and its answer; `boot` names the start of the agent's process that it is for."""

    secret: bytes
    boot: str
    nonce: str

    @classmethod
    def fresh(cls, secret: bytes, boot: str) -> "Seal":
        """Return a seal that no other question has."""
        return cls(secret.strip(), boot, secrets.token_hex(16))

    def header(self, method: str, path: str, body: bytes) -> str:
        """Return the header of a question."""
        mac = self._mac("v1", method, path, self.boot, self.nonce, _digest(body))
        return f"v1;boot={self.boot};nonce={self.nonce};mac={mac}"

    def holds(self, header: str, status: int, body: bytes) -> bool:
        """Tell whether an answer with this header was written by an agent that knows the secret, to this question."""
        found = _ANSWER.fullmatch(header.strip())
        mac = self._mac("v1", "answer", self.nonce, str(status), _digest(body))
        return found is not None and hmac.compare_digest(found[1], mac)

    def _mac(self, *parts: str) -> str:
        return hmac.new(self.secret, "\n".join(parts).encode(), hashlib.sha256).hexdigest()

    def __repr__(self) -> str:
        return f"Seal(boot={self.boot!r}, nonce={self.nonce!r})"


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
