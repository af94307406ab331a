"""The secret that agents and khealth share: read from its Secret, and filled in where that is empty."""

import asyncio
import base64
import binascii
import secrets
from collections.abc import Mapping

from khealth_exporter.canaries.agents.template import KEY
from khealth_exporter.cluster.client.lookup import decoded
from khealth_exporter.cluster.cluster import Cluster
from khealth_exporter.cluster.errors import Refused
from khealth_exporter.cluster.kinds import Kind
from khealth_exporter.cluster.objects import KubernetesObject
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

_BYTES = 32
_AGAIN = 5.0
"""Seconds during which the secret is not read again, however many agents refuse it."""
_TRIES = 3
"""How often another khealth may come first in filling in the secret."""


class SharedSecret(KubernetesObject, frozen=True):
    """The Secret that khealth and agents share, the only one whose data khealth reads."""

    data: Mapping[str, str] = {}

    @property
    def key(self) -> bytes:
        """The shared secret; empty if it is not filled in, or is no base64."""
        try:
            return base64.b64decode(self.data.get(KEY, "")).strip()
        except (binascii.Error, ValueError):
            return b""


_KIND = Kind("Secret", "secrets", SharedSecret)


def fresh_data() -> dict[str, str]:
    """Return the data of a Secret with a new random key."""
    return {KEY: base64.b64encode(secrets.token_hex(_BYTES).encode()).decode()}


class Keyring:
    """Knows the shared secret of the agents, and reads it again when they do not accept it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._clock = cluster, cluster.clock
        self._name = ""
        self._key = b""
        self._read_at = -_AGAIN
        self._turn = asyncio.Lock()

    def use(self, name: str) -> None:
        """Read the secret from the Secret of this name from now on."""
        if name != self._name:
            self._name, self._key = name, b""

    async def key(self, deadline: float, *, refused: bytes | None = None) -> bytes:
        """Return the secret, read again if it is one that an agent has `refused`; raise Refused or Failed."""
        async with self._turn:
            stale = self._key == refused and self._clock.now() - self._read_at >= _AGAIN
            if not self._key or stale:
                self._key = await self._read(deadline)
                self._read_at = self._clock.now()
            return self._key

    async def _read(self, deadline: float) -> bytes:
        """Return what the Secret holds; of several that find it empty and fill it in, the first one counts."""
        for _ in range(_TRIES):
            found = await self._cluster.get(_KIND, self._name, deadline)
            if found is None:
                note = f"Secret {self._name} does not exist: it is installed with the agents"
                raise Failed(Reason.AGENTS_NOT_READY, note)
            if found.key:
                return found.key
            changes = {"metadata": {"resourceVersion": found.metadata.resource_version}, "data": fresh_data()}
            try:
                answer = await self._cluster.patch(_KIND, self._name, changes, deadline)
            except Refused as refused:
                if not refused.refusal.conflict:
                    raise
            else:
                return decoded(_KIND, answer).key
        raise Failed(Reason.AGENTS_NOT_READY, f"Secret {self._name} is changed again and again")
