"""policy: a NetworkPolicy that must block agents from a canary, and one that must let them through again."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from khealth_exporter.canaries.agents.template import PORT
from khealth_exporter.canaries.asking import ASKING
from khealth_exporter.canaries.bare_canary import BareCanary
from khealth_exporter.canaries.canary_spec import CanarySettings
from khealth_exporter.canaries.cleaning import one_after_the_other
from khealth_exporter.canaries.diagnosis import POD_REASONS
from khealth_exporter.canaries.one_shot import RUNNING
from khealth_exporter.canaries.owned import Owned
from khealth_exporter.canaries.pod_steps import ACCEPT, DELETE_POD, READY, SANDBOX, SCHEDULE, START, STARTUP
from khealth_exporter.canaries.policies import meddling
from khealth_exporter.canaries.serving import place, serving
from khealth_exporter.canaries.unseen import blamed
from khealth_exporter.canaries.until import TRANSIT, Check, Observed, measured, observe, ready_agents
from khealth_exporter.cluster.kinds import EVENT, NETWORK_POLICY, NODE, POD, Kind
from khealth_exporter.cluster.objects import NetworkPolicy
from khealth_exporter.cluster.ownership import AGENT, COMPONENT
from khealth_exporter.core.agents import Agent
from khealth_exporter.core.routine import AttemptId, Context, Routine, RoutineSettings
from khealth_exporter.measure.moments import Moment
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.reading import Remark
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.settings import Duration
from khealth_exporter.vocabulary.step import Step
from khealth_exporter.vocabulary.verdict import Failed

DENY = Step("deny", Component.NETWORK, "the policy that denies is created → no agent gets an answer")
ALLOW = Step("allow", Component.NETWORK, "the policy that allows is created → every agent gets an answer")

_STEPS = {Reason.NETWORK_UNREACHABLE: DENY, Reason.POLICY_NOT_ENFORCED: DENY, Reason.POLICY_OVERBLOCKS: ALLOW}
CALM, EVERY, PATIENCE = 60, 0.05, 0.5
"""Tries in a row that fail before silence counts; seconds from one try to the next; seconds that one waits."""
_LEAST = CALM * EVERY + PATIENCE + 4.0
"""Seconds in which a policy can take effect, and agents can be sure of it."""


class PolicySettings(RoutineSettings):
    """Settings of policy."""

    interval: Duration = 300.0
    """Attempts begin this often, on a fixed grid."""
    timeout: Duration = 60.0
    """Upper bound of init, and again of cleanup, at least 30 s. A quarter of it is for each policy to take effect, and
    for agents to be sure of that."""
    required: bool = False
    """Whether a cluster fails that has not enforced any policy since khealth started. By default, the routine does not
    apply to such a cluster, and succeeds."""
    pod: CanarySettings = CanarySettings()
    """The pod's specification."""

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        if self.timeout < 4 * _LEAST:
            raise ValueError(f"timeout is below {4 * _LEAST:g}s: agents could not be sure that a policy takes effect")
        return self


class Enforcement:
    """Whether the cluster was ever seen to enforce a NetworkPolicy; it lives as long as the process."""

    def __init__(self) -> None:
        self.seen = False
        self.partly = False
        """Whether the last attempt saw that policies stop some agents only: what happens once may be chance."""


class Policy(Routine[PolicySettings]):
    """Deny all traffic to a canary by a NetworkPolicy, then allow the agents' by another, and time both.

    Where no policy is enforced, the attempt succeeds, and a remark says so. A policy that stops only some agents is
    enforced in part, which is a failure.
    """

    name: ClassVar[str] = "policy"
    steps: ClassVar[tuple[Step, ...]] = (
        ACCEPT, SCHEDULE, SANDBOX, START, READY, STARTUP, DENY, ALLOW, DELETE_POD,
    )  # fmt: skip
    reasons: ClassVar[tuple[Reason, ...]] = (
        *POD_REASONS,
        Reason.CANARY_FAILED,
        Reason.NETWORK_UNREACHABLE,
        Reason.POLICY_NOT_ENFORCED,
        Reason.POLICY_OVERBLOCKS,
    )
    makes: ClassVar[tuple[Kind[Any], ...]] = (POD, NETWORK_POLICY)
    watches: ClassVar[tuple[Kind[Any], ...]] = (POD,)
    reads: ClassVar[tuple[Kind[Any], ...]] = (NODE, EVENT)
    writes: ClassVar[int] = 6
    needs_canary: ClassVar[bool] = True
    needs_agents: ClassVar[bool] = True
    Settings: ClassVar[type[PolicySettings]] = PolicySettings

    def __init__(self, attempt: AttemptId, settings: PolicySettings, context: Context) -> None:
        super().__init__(attempt, settings, context)
        self._target = BareCanary(settings.pod, self.ownership, context, self.changed, self.steps)
        self._deny, self._allow = (
            Owned(NETWORK_POLICY, self.ownership.part(word), context, self.changed, watched=False)
            for word in ("deny", "allow")
        )
        self._enforcement = context.memory.of(Enforcement)
        self._share = settings.timeout / 4
        """Seconds for the canary to be Ready, for the agents to reach it, and for each policy."""

    async def init(self) -> None:
        """Start the canary, block it and unblock it, and ask the agents when each takes effect."""
        await self.context.cluster.watches.see(self.watches, self.deadline)
        due = self.context.clock.now() + self._share
        agents = await ready_agents(self.context, due)
        self.record(await self._target.create(serving(self.ownership.name), due))
        await self._target.at(RUNNING, due, self.record)
        before = await self._observe(agents, "answer")
        self.record(before.remark())
        if before.failing:
            raise await self._judged(before, Reason.NETWORK_UNREACHABLE, "the canary does not answer")
        if denied := await self._denied(before.agents):
            await self._allowed(before.agents, denied)

    async def cleanup(self) -> None:
        """Delete both policies and the canary."""
        await one_after_the_other(
            *(partial(policy.delete, self.deadline) for policy in (self._deny, self._allow) if policy.begun),
            partial(self._target.remove, self.deadline, self.settings.timeout, self.record),
        )

    def close(self) -> None:
        """Let a sweep take what is left."""
        for owned in (self._deny, self._allow, self._target):
            owned.close()

    async def _denied(self, agents: Sequence[Agent]) -> Observed | None:
        """Create the policy that denies all, and return what agents see; raise Failed if it must take effect.

        It is None if the policy stops none of the agents, which had answers before.
        """
        await self._create(self._deny, [])
        after = await self._observe(agents, "silence")
        if not after.failing:
            self.record(measured(DENY, self._deny.answered, after.seen, self._target.ruler))
            return after
        if self._enforcement.seen or self.settings.required:
            self._stuck(DENY, self._deny)
            raise await self._leaking(after)
        late = f"one that denies all traffic does not stop agents within {self._share:g} s"
        why = f"the cluster seems to enforce no NetworkPolicies: {late}"
        if len(after.failing) < len(after.seen):
            if again := await self._partly(after):
                return again
            why = f"not all agents stay without answers, or with them, as if a policy took effect late: {late}"
        self._enforcement.partly = False
        self.record(Remark("enforcement", f"not applicable: {why}"))
        return None

    async def _partly(self, first: Observed) -> Observed | None:
        """Look again, and return what agents see if the policy still stops some that it stopped, and others never."""
        if self.context.clock.now() + _LEAST + TRANSIT > self.deadline:
            return None
        again = await self._observe(first.agents, "silence", _LEAST)
        stopped = {one.agent.uid for one in first.seen if one.reached}
        held = any(one.reached for one in again.seen if one.agent.uid in stopped)
        others = any(one.outcome.answers and one.agent.uid not in stopped for one in again.failing)
        return again if held and others else None

    async def _allowed(self, agents: Sequence[Agent], denied: Observed) -> None:
        """Create the policy that allows the agents, and wait until it takes effect; raise Failed if either does not."""
        await self._create(self._allow, [{"from": [{"podSelector": {"matchLabels": {COMPONENT: AGENT}}}]}])
        after = await self._observe(agents, "answer")
        if denied.failing:
            if why := await self._halfway(denied, after):
                raise why
            return
        if after.failing:
            self._stuck(ALLOW, self._allow)
            note = "a policy that allows agents to reach the canary does not let in"
            raise await self._judged(after, Reason.POLICY_OVERBLOCKS, note)
        # Silence alone may have had another cause.
        self._enforcement.seen = True
        self.record(Remark("enforcement", "the cluster enforces NetworkPolicies"))
        self.record(measured(ALLOW, self._allow.answered, after.seen, self._target.ruler))

    async def _halfway(self, denied: Observed, allowed: Observed) -> Failed | None:
        """Return what it means that the first policy has stopped some agents only; None if that is not known.

        If these get no answer now, no policy has stopped them: the way to the canary is broken, or they have gone.
        """
        stopped = {one.agent.uid for one in denied.seen if one.reached}
        if not any(one.reached for one in allowed.seen if one.agent.uid in stopped):
            self._enforcement.partly = False
            note = "the canary no longer answers, though a policy allows it"
            if allowed.failing:
                return await self._judged(allowed, Reason.NETWORK_UNREACHABLE, note)
            self.record(Remark("enforcement", "not applicable: the agents that were stopped no longer answer khealth"))
            return None
        self._enforcement.seen, self._enforcement.partly = self._enforcement.partly, True
        self._stuck(DENY, self._deny)
        return await self._leaking(denied)

    async def _leaking(self, observed: Observed) -> Failed:
        note = "a policy that denies all traffic to the canary does not stop"
        return await self._judged(observed, Reason.POLICY_NOT_ENFORCED, note)

    async def _observe(
        self, agents: Sequence[Agent], want: Literal["answer", "silence"], within: float | None = None
    ) -> Observed:
        address, node = place(self._target.trace)
        # The kernel alone accepts connections: a canary that has no CPU looks open, as it is.
        check = Check(want, address, PORT, want, calm=CALM, every=EVERY, timeout=PATIENCE, node=node, protocol="tcp")
        return await observe(self.context, agents, lambda _: (check,), within or self._share)

    async def _judged(self, observed: Observed, reason: Reason, note: str) -> Failed:
        """Return what it means that agents did not see what they should: what others did explains it first."""
        asked = self.context.clock.now() + ASKING
        await self._target.verify(asked)
        _, node = place(self._target.trace)
        failed = blamed(observed, reason, _STEPS[reason], f"canary on {node}: {note}")
        why = await meddling(self.context.cluster, self.ownership, [self._target.trace], observed.agents, asked)
        return Failed(why.reason, f"{failed.note}; {why.note}", why.evidence) if why else failed

    def _stuck(self, step: Step, policy: Owned[NetworkPolicy]) -> None:
        now = Moment(self.context.clock.now())
        self.record(self._target.ruler.measure(step, policy.answered, now, censored=True))

    async def _create(self, policy: Owned[NetworkPolicy], ingress: Sequence[object]) -> None:
        metadata = policy.ownership.metadata()
        metadata["labels"] = self.settings.pod.labels | dict(self.ownership.labels)
        spec = {"podSelector": {"matchLabels": dict(self.ownership.labels)}, "policyTypes": ["Ingress"]}
        kind = {"apiVersion": NETWORK_POLICY.api_version, "kind": NETWORK_POLICY.name}
        manifest = {**kind, "metadata": metadata, "spec": {**spec, "ingress": ingress}}
        self.record(await policy.create(manifest, self.deadline, ACCEPT))
