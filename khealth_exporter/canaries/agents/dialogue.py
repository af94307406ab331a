"""One question to one agent: sealed, repeated once where that helps, and its answer checked."""

import asyncio
import re
from collections.abc import Container, Mapping
from dataclasses import replace
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import msgspec

from khealth_exporter.canaries.agents.blame import Outcome
from khealth_exporter.canaries.agents.channel import Channel, NoReply, Reply
from khealth_exporter.canaries.agents.inquiry import Unheard
from khealth_exporter.canaries.agents.seal import Seal
from khealth_exporter.canaries.agents.secret import Keyring
from khealth_exporter.canaries.asking import STARVED
from khealth_exporter.cluster.errors import clean
from khealth_exporter.cluster.status import TEXT
from khealth_exporter.core.agents import Agent, Told
from khealth_exporter.measure.clock import Clock
from khealth_exporter.vocabulary.verdict import Failed

LONGEST = 60.0
"""Seconds that an agent may take for a question."""
_MARGIN = 2.0
"""Seconds before the deadline at which an agent has to answer with what it has; half of the time if that is less."""
_LEAST = 0.1
"""Seconds that it gets in any case."""
_GRACE = 3.0
"""Seconds that an answer may come later than the agent has promised."""
_PAUSE = 1.0
"""Seconds before a question is repeated that was not answered: an agent that restarts is back by then."""
_NO_BOOT = "0"
"""What no process of an agent is called: its refusal tells what it is called."""
_MEANINGS = MappingProxyType(
    {
        "mac": "the agent has another secret",
        "secret": "the agent has no secret: its kubelet brings a new one within about two minutes",
        "boot": "the agent starts again and again",
        "replay": "the agent has seen the question before",
    }
)
_TRIES = 4
"""How often a question is sent until the agent accepts it."""


class Dialogue:
    """Asks agents over a channel; it learns when their processes restart, and when the secret changes."""

    def __init__(self, clock: Clock, keyring: Keyring, channel: Channel) -> None:
        self._clock, self._keyring = clock, keyring
        self.channel = channel
        self._boots: dict[str, str] = {}
        """By uid: what the agent's present process is called."""

    async def ask(self, agent: Agent, task: str, document: Mapping[str, Any], deadline: float) -> Told | Unheard:
        """Return what an agent answers; raise Failed if khealth has no secret.

        The question is repeated once if there is no answer, and as long as the agent is busy, if there is time.
        """
        outcome, repeats = await self._accepted(agent, task, document, deadline), 1
        while isinstance(outcome, Unheard) and not outcome.refused and outcome.outcome is not Outcome.REFUSED:
            busy = outcome.outcome is Outcome.BUSY
            if self._clock.now() + _PAUSE + _MARGIN >= deadline or not (busy or repeats):
                break
            repeats -= not busy
            await asyncio.sleep(_PAUSE)
            again = await self._accepted(agent, task, document, deadline)
            outcome = replace(again, since=outcome.since) if isinstance(again, Unheard) else again
        return outcome

    def forget(self, living: Container[str]) -> None:
        """Forget the processes of agents whose uids are not among these."""
        self._boots = {uid: boot for uid, boot in self._boots.items() if uid in living}

    async def _accepted(self, agent: Agent, task: str, document: Mapping[str, Any], deadline: float) -> Told | Unheard:
        """Ask until the agent accepts the question, and learn what that takes."""
        began, key = self._clock.now(), await self._keyring.key(deadline)
        reply, path = None, f"/v1/{task}"
        for _ in range(_TRIES):
            body, limit = self._worded(document, deadline)
            seal = Seal.fresh(key, self._boots.get(agent.uid, _NO_BOOT))
            header = seal.header("POST", path, body)
            try:
                reply = await self.channel.ask(agent, path, limit, seal=header, body=body)
            except NoReply as silent:
                awake = self._clock.now() - limit < STARVED
                return Unheard(agent, Outcome.NONE, silent.note, began, awake, silent.why)
            if reply.status != HTTPStatus.UNAUTHORIZED:
                return _taken(agent, reply, seal)
            error, boot = _refusal(reply.body)
            if error == "boot":
                self._boots[agent.uid] = boot
            elif error in {"mac", "secret"} and (other := await self._other_key(key, deadline)):
                key = other
            elif error != "replay":
                break
        return Unheard(agent, Outcome.REFUSED, _words(reply), began)

    def _worded(self, document: Mapping[str, Any], deadline: float) -> tuple[bytes, float]:
        """Return a question, and when its answer has to be there; without `within` it gets the time that is left."""
        now = self._clock.now()
        left = deadline - now
        within = document.get("within") or min(LONGEST, max(_LEAST, left - min(_MARGIN, left / 2)))
        return msgspec.json.encode({**document, "within": within}), min(deadline, now + within + _GRACE)

    async def _other_key(self, refused: bytes, deadline: float) -> bytes | None:
        """Return another secret than the one that was refused, if there is one."""
        try:
            key = await self._keyring.key(deadline, refused=refused)
        except Failed:
            return None
        return key if key != refused else None


def _taken(agent: Agent, reply: Reply, seal: Seal) -> Told | Unheard:
    """Return what a reply says that is no refusal; only an agent that knows the secret is believed."""
    sealed = seal.holds(reply.seal, reply.status, reply.body)
    if sealed and reply.status == HTTPStatus.OK:
        told = _decoded(reply.body)
        if told is not None:
            return Told(agent, told, reply.sent, reply.answered)
    if sealed and reply.status == HTTPStatus.TOO_MANY_REQUESTS:
        return Unheard(agent, Outcome.BUSY, _words(reply), reply.sent)
    words = _words(reply) if sealed or reply.status != HTTPStatus.OK else "its answer is not sealed with the secret"
    return Unheard(agent, Outcome.REFUSED, words, reply.sent)


def _refusal(body: bytes) -> tuple[str, str]:
    """Return what is wrong with a question, and what the agent's process is called."""
    told = _decoded(body) or {}
    boot = str(told.get("boot"))
    return str(told.get("error")), boot if re.fullmatch("[0-9a-f]{1,64}", boot) else _NO_BOOT


def _decoded(body: bytes) -> Mapping[str, Any] | None:
    try:
        told = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _words(reply: Reply | None) -> str:
    if reply is None:
        return "it was not asked"
    told = _decoded(reply.body) or {}
    error = told.get("error") or reply.body[:TEXT].decode(errors="replace")
    return clean(f"HTTP {reply.status}: {_MEANINGS.get(error, error)}")
