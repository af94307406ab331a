"""NetworkPolicies of others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from documents import Json, pod
from fake_agents import agent
from fakes import refusal, refusing
from small_cluster import PODS, Scene, scene
from small_services import POLICIES
from virtual_time import virtual

from khealth_exporter.canaries.pod_steps import WAY
from khealth_exporter.canaries.policies import meddling
from khealth_exporter.cluster.kinds import POD
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

AGENT = {"app.kubernetes.io/component": "agent"}
CHART = {
    **AGENT, "app.kubernetes.io/managed-by": "khealth", "app.kubernetes.io/name": "khealth-agent",
    "app.kubernetes.io/instance": "monitoring",
}  # fmt: skip
BOTH, OUT = ["Ingress", "Egress"], ["Egress"]


def policy(selector: Json, labels: Json | None = None, **spec: Any) -> Json:
    return {"metadata": {"name": "theirs", "labels": labels or {}}, "spec": {"podSelector": selector, **spec}}


@asynccontextmanager
async def canary(**more: str) -> AsyncIterator[tuple[Scene, Any]]:
    """Run a canary with more labels, and one of the chart's agents."""
    async with scene(kinds=(POD,)) as here:
        await here.cluster.watches.see((POD,), here.clock.now() + 5)
        own = here.cluster.identity.of_attempt("network", "service", 1, 60.0)
        here.api.put(PODS, pod("agent-1", labels=CHART, uid=agent(1).uid))
        here.api.put(PODS, pod("canary", labels={**own.labels, **more}))
        found = await here.cluster.get(POD, "canary", here.clock.now() + 5)
        assert found
        yield here, (own, Trace[Pod](WAY, found))


async def theirs(here: Scene, known: Any) -> Failed | None:
    """Return what the policies mean."""
    own, trace = known
    return await meddling(here.cluster, own, [trace, None], [agent(1), agent(2)], here.clock.now() + 5)


@pytest.mark.parametrize(
    ("item", "applies"),
    [
        (policy({}), True),
        (policy({}, policyTypes=OUT), True),
        (policy({"matchLabels": {"khealth.io/run": "run"}}), True),
        (policy({"matchLabels": {"khealth.io/run": "other"}}), False),
        (policy({"matchExpressions": [{"key": "khealth.io/run", "operator": "Exists"}]}), True),
        (policy({"matchExpressions": [{"key": "khealth.io/run", "operator": "DoesNotExist"}]}), False),
        # The labels of the settings, which every canary has too.
        (policy({"matchLabels": {"team": "platform"}}), True),
        (policy({"matchLabels": {"team": "platform", "khealth.io/run": "run"}}), True),
        (policy({"matchLabels": {"team": "other"}}), False),
        (policy({"matchExpressions": [{"key": "team", "operator": "In", "values": ["platform", "other"]}]}), True),
        (policy({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["platform"]}]}), False),
        (policy({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}), False),
        # Those of agents, the chart's among them.
        (policy({"matchLabels": AGENT}, policyTypes=OUT), True),
        (policy({"matchLabels": CHART}, policyTypes=OUT), True),
        (policy({"matchLabels": {"app.kubernetes.io/name": "khealth-agent"}}, policyTypes=BOTH), True),
        (policy({"matchLabels": {"app.kubernetes.io/managed-by": "khealth"}}, policyTypes=OUT), True),
        (policy({"matchLabels": {"app.kubernetes.io/instance": "other"}}, policyTypes=OUT), False),
        # What reaches agents is not what they try, nor is what canaries reach.
        (policy({"matchLabels": AGENT}, policyTypes=["Ingress"]), False),
        (policy({"matchLabels": {"team": "platform"}}, policyTypes=OUT), False),
        (policy({"matchLabels": {"app.kubernetes.io/name": "khealth"}}, policyTypes=BOTH), False),
        # It limits nothing on the way out, or something.
        (policy({"matchLabels": AGENT}, policyTypes=OUT, egress=[{}]), False),
        (policy({"matchLabels": AGENT}, policyTypes=OUT, egress=[{"ports": [{"port": 8079}]}]), True),
        (policy({"matchLabels": AGENT}, policyTypes=OUT, egress=[{"to": [{"podSelector": {}}]}]), True),
    ],
)
@virtual
async def test_a_policy_that_applies_to_canaries_or_agents_is_named(item: Json, *, applies: bool) -> None:
    """It may be the cause, and then nothing has failed."""
    async with canary(team="platform") as (here, known):
        here.api.put(POLICIES, item)
        found = await theirs(here, known)
        assert applies is (found is not None)
        if found:
            assert (Reason.NO_SINGLE_CAUSE, 1) == (found.reason, found.note.count("theirs"))


@virtual
async def test_a_policy_of_the_attempt_itself_is_nobody_elses() -> None:
    """It is known by its labels."""
    async with canary() as (here, (own, trace)):
        here.api.put(POLICIES, policy({}, dict(own.labels)))
        assert await theirs(here, (own, trace)) is None


@virtual
async def test_what_one_policy_opens_others_do_not_close() -> None:
    """The chart lets agents reach everything, so that what others deny looks like no broken network."""
    async with canary() as (here, known):
        opens = policy({"matchLabels": CHART}, policyTypes=BOTH, egress=[{}])
        here.api.put(POLICIES, {**opens, "metadata": {"name": "khealth-agent", "labels": AGENT}})
        assert await theirs(here, known) is None
        here.api.put(POLICIES, policy({"matchLabels": AGENT}, policyTypes=OUT))
        found = await theirs(here, known)
        # The watch does not show one of the agents: the chart's policy may not select it.
        assert found
        assert "NetworkPolicy theirs applies" in found.note
        here.api.put(PODS, pod("agent-2", labels=CHART, uid=agent(2).uid))
        await here.cluster.watches.see((POD,), here.clock.now() + 5)
        assert await theirs(here, known) is None


@virtual
async def test_policies_that_may_not_be_listed_explain_nothing() -> None:
    """The right is optional."""
    async with canary() as (here, known):
        here.api.put(POLICIES, policy({}))
        here.api.faults.append(refusing("list", resource=POLICIES, by=refusal(403, "forbidden", "Forbidden")))
        assert await theirs(here, known) is None
