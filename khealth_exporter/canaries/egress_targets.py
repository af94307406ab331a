"""What agents connect to outside the cluster, what became of it, and what that blames. Pure: no I/O, no clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, model_validator

from khealth_exporter.cluster.errors import clean
from khealth_exporter.core.agents import Agent
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.settings import Duration, Settings
from khealth_exporter.vocabulary.step import API_EDGES, Step
from khealth_exporter.vocabulary.verdict import Evidence, Failed


def _step(name: str, meaning: str) -> Step:
    return Step(name, Component.NETWORK, f"{meaning}, on the agent's clock", API_EDGES)


RESOLVE = _step("resolve", "the host name is looked up → its addresses are known")
CONNECT = _step("connect", "a TCP connection is begun → it is established")
TLS = _step("tls", "the TLS handshake begins → it is complete, and the certificate is valid")
RESPOND = _step("respond", "the request is sent → the status line of the answer is there")
STEPS = (RESOLVE, CONNECT, TLS, RESPOND)
_FIRST_BAD_STATUS = 400
_DNS_WORKS = frozenset({"answered", "nodata"})
"""What may come of the cluster's own name, of which there may be no IPv4 address."""
_LINES = 20
"""Failures that the evidence quotes."""


_HOST = r"([A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])"
_URL = rf"^(https?://{_HOST}(:[0-9]{{1,5}})?([/?][!-~]*)?)?$"
"""No more than agents take: they refuse a question of which one target is wrong."""


class Target(Settings):
    """What agents connect to: a URL, or an address with its port."""

    url: Annotated[str, StringConstraints(pattern=_URL, max_length=2000)] = ""
    """An http or https URL that agents get, without user and password. Its certificate must be valid."""
    address: Annotated[str, StringConstraints(pattern=rf"^({_HOST}:[0-9]{{1,5}})?$", max_length=300)] = ""
    """Host and port that agents connect to over TCP, as in db.example.com:5432; instead of a URL."""
    status: tuple[Annotated[int, Field(ge=100, le=599)], ...] = ()
    """The statuses that a URL may be answered with; empty, and any below 400 will do."""
    timeout: Annotated[Duration, Field(le=25)] = 5.0
    """How long an agent waits for the whole of it."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if bool(self.url) == bool(self.address):
            raise ValueError("set either url or address")
        try:
            port = urlsplit(self.url or f"//{self.address}").port
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error
        if port == 0:
            raise ValueError(f"{self.name}: nothing listens on port 0")
        return self

    @property
    def name(self) -> str:
        """The URL or the address."""
        return self.url.partition("?")[0] or self.address

    def question(self, number: int) -> Mapping[str, object]:
        """Return what an agent is asked for."""
        place = {"url": self.url} if self.url else {"address": self.address}
        return {"id": str(number), "timeout": self.timeout, **place}

    def accepts(self, status: int) -> bool:
        """Tell whether a URL may be answered so."""
        return status in self.status if self.status else status < _FIRST_BAD_STATUS


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a target at one agent; `trouble` is empty if it was well, and `step` is where it failed.

    `reason` is what that blames. A name that does not resolve is egress only if DNS knows the cluster's own name.
    """

    agent: Agent
    target: Target
    durations: Mapping[Step, float]
    uncertainty: float
    trouble: str = ""
    step: Step | None = None
    reason: Reason = Reason.EGRESS_FAILED

    @classmethod
    def of(cls, agent: Agent, target: Target, told: Mapping[str, Any]) -> "Outcome":
        """Return what an agent tells of a target."""
        times = told.get("durations", {})
        durations = {step: float(times[step.name]) for step in STEPS if step.name in times}
        uncertainty = float(told.get("uncertainty", 0.0))
        step = next((step for step in STEPS if step.name == told.get("failed")), None)
        trouble = "" if told.get("ok") else f"{told.get('failed') or 'failed'}: {told.get('error') or 'no answer'}"
        # Whether a status is well is for the user to say.
        if status := int(told.get("status") or 0):
            trouble, step = ("", None) if target.accepts(status) else (f"respond: status {status}", RESPOND)
        known = step is not RESOLVE or told.get("dns") in _DNS_WORKS
        reason = Reason.EGRESS_FAILED if known else Reason.NO_SINGLE_CAUSE
        return cls(agent, target, durations, uncertainty, trouble, (step or CONNECT) if trouble else None, reason)

    def __str__(self) -> str:
        return f"{self.agent.name} on {self.agent.node}: {self.target.name}: {self.trouble or 'well'}"


def judge(outcomes: Sequence[Outcome], asked: Sequence[Target]) -> Failed | None:
    """Return what the outcomes blame; None if every agent reached every target that it had the time for.

    What fails for want of DNS is left to network/dns, and judged only if nothing else fails. Where only the agents of
    one node fail, and others reach all that they do not, it is that node's.
    """
    trouble = [outcome for outcome in outcomes if outcome.trouble]
    if not trouble:
        tried = [outcome.target for outcome in outcomes]
        untried = [target.name for target in asked if target not in tried]
        note = clean(f"no agent had the time for {', '.join(untried)}")
        return Failed(Reason.PROBER_STARVED, note) if untried else None
    failing = [outcome for outcome in trouble if outcome.reason is Reason.EGRESS_FAILED] or trouble
    first = min(failing, key=lambda outcome: STEPS.index(outcome.step or CONNECT))
    shown = sorted(trouble, key=lambda outcome: outcome.reason is not first.reason)[:_LINES]
    evidence = (Evidence("Egress", "targets", tuple(map(str, shown))),)
    targets = {o.target.name for o in failing}
    nodes = {o.agent.node for o in trouble if o.target.name in targets}
    well = [{o.target.name for o in outcomes if not o.trouble and o.agent.node != node} for node in nodes]
    if len(nodes) == 1 and targets <= well[0]:
        note = f"{Reason.EGRESS_FAILED} on {first.agent.node}; agents on other nodes are answered: {first}"
        return Failed(Reason.ONE_NODE, note, evidence, step=first.step)
    agents = len({outcome.agent.uid for outcome in failing})
    count = f"{agents} of {len({outcome.agent.uid for outcome in outcomes})} agents fail"
    unknown = first.reason is Reason.NO_SINGLE_CAUSE
    why = "; DNS does not know the cluster's own name there either: see network/dns" if unknown else ""
    return Failed(first.reason, f"{count}: {first}{why}", evidence, step=first.step)
