"""NetworkPolicies of others."""

from typing import Any

import pytest
from documents import Json
from fakes import refusal, refusing
from small_cluster import scene
from small_services import POLICIES
from virtual_time import virtual

from khealth_exporter.canaries.policies import meddling
from khealth_exporter.vocabulary.reason import Reason

OWN = {"khealth.io/run": "run", "khealth.io/attempt": "1"}
BOTH = ["Ingress", "Egress"]


def policy(selector: Json, labels: Json | None = None, **spec: Any) -> Json:
    return {"metadata": {"name": "theirs", "labels": labels or {}}, "spec": {"podSelector": selector, **spec}}


@pytest.mark.parametrize(
    ("item", "applies"),
    [
        (policy({}), True),
        (policy({}, policyTypes=["Egress"]), True),
        (policy({"matchLabels": {"khealth.io/run": "run"}}), True),
        (policy({"matchLabels": {"khealth.io/run": "other"}}), False),
        (policy({"matchExpressions": [{"key": "khealth.io/run", "operator": "Exists"}]}), True),
        (policy({"matchExpressions": [{"key": "khealth.io/run", "operator": "DoesNotExist"}]}), False),
        (policy({"matchLabels": {"app.kubernetes.io/component": "agent"}}, policyTypes=["Egress"]), True),
        # What reaches agents is not what they try.
        (policy({"matchLabels": {"app.kubernetes.io/component": "agent"}}, policyTypes=["Ingress"]), False),
        (policy({"matchLabels": {"app.kubernetes.io/name": "khealth"}}, policyTypes=BOTH), False),
        # The attempt's own.
        (policy({}, OWN), False),
    ],
)
@virtual
async def test_a_policy_that_applies_to_canaries_or_agents_is_named(item: Json, *, applies: bool) -> None:
    """It may be the cause, and then nothing has failed."""
    async with scene() as here:
        here.api.put(POLICIES, item)
        found = await meddling(here.cluster, OWN, here.clock.now() + 5)
        assert applies is (found is not None)
        if found:
            assert (Reason.NO_SINGLE_CAUSE, True) == (found.reason, "theirs" in found.note)


@virtual
async def test_policies_that_may_not_be_listed_explain_nothing() -> None:
    """The right is optional."""
    async with scene() as here:
        here.api.put(POLICIES, policy({}))
        here.api.faults.append(refusing("list", resource=POLICIES, by=refusal(403, "forbidden", "Forbidden")))
        assert await meddling(here.cluster, OWN, here.clock.now() + 5) is None
