"""Missing permissions: a record of those that were refused, each logged once when it begins and ends."""

from collections.abc import Iterable
from dataclasses import replace

import structlog

from khealth_exporter.cluster.errors import Refusal
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.permission import Denied, Permission, right

_Key = tuple[str, str, str]
"""Verb, resource and namespace: so many as khealth's own code asks for, and no more."""

_CREDENTIALS: _Key = "authenticate", "", ""
"""What is missing where the API server does not accept khealth's credentials, or there are none."""

_log = structlog.get_logger()


class Denials:
    """The permissions that were refused, each until the API server has let the same request pass."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.home = ""
        """The canaries' namespace: a permission of a namespace is one of this; empty, and it is one of any."""
        self._known: dict[tuple[str, str, str], Permission] = {}
        self.know([Permission(*_CREDENTIALS[:2], why="every request")])
        self._now: dict[_Key, Denied] = {}

    def know(self, permissions: Iterable[Permission]) -> None:
        """Take in what rights are needed for, before any is refused."""
        self._known.update({(needed.verb, needed.resource, needed.why): needed for needed in permissions})

    def now(self) -> tuple[Denied, ...]:
        """Return what is refused now, the oldest first."""
        return tuple(self._now.values())

    def holds(self, verb: str, resource: str) -> bool:
        """Tell whether this is refused now."""
        return any((found.verb, found.resource) == (verb, resource) for found in self._now.values())

    def take(self, verb: str, resource: str, namespace: str, outcome: object) -> None:
        """Take in what became of a request: a Refusal, or anything else where it was done."""
        key = verb, resource, namespace
        if isinstance(outcome, Refusal) and outcome.denied:
            self._refused(key, outcome.note)
        elif key in self._now and not (isinstance(outcome, Refusal) and not outcome.permitted):
            del self._now[key]
            _log.warning(f"khealth may {right(*key)} again")

    def authenticate(self, outcome: object) -> None:
        """Take in what became of a request after its last try: whether the API server accepts the credentials."""
        if isinstance(outcome, Refusal) and outcome.unauthenticated:
            self._refused(_CREDENTIALS, outcome.note)
        elif _CREDENTIALS in self._now and not (isinstance(outcome, Refusal) and not outcome.authenticated):
            del self._now[_CREDENTIALS]
            _log.warning("the API server accepts khealth's credentials again")

    def _refused(self, key: _Key, note: str) -> None:
        now = self._clock.utc()
        if before := self._now.get(key):
            self._now[key] = replace(before, last=now, note=note)
            return
        away = key[2] not in {"", self.home} and bool(self.home)
        known = (needed for needed in self._known.values() if (needed.verb, needed.resource) == key[:2])
        needs = [needed for needed in known if needed.scope == "cluster" or not away]
        why = "; ".join(sorted({needed.why for needed in needs}))
        optional = bool(needs) and all(needed.optional for needed in needs)
        denied = self._now[key] = Denied(*key, now, now, optional, why, note)
        if key == _CREDENTIALS:
            _log.error(str(denied), note=note)
        elif optional:
            _log.warning(f"{denied}: optional permission missing: diagnosis less precise", why=why, note=note)
        else:
            _log.error(f"{denied}: `khealth routines` lists the permissions that it needs", why=why, note=note)
