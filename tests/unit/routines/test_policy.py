"""policy, on a small network on virtual time."""

from typing import Any

import pytest
from canary_pods import censored, left, measured, note, ran, reasons
from fakes import Asked
from pydantic import ValidationError
from small_cluster import PODS, Scene, scene
from small_services import POLICIES, SmallNetwork, put_denying_policy
from virtual_time import virtual

from khealth_exporter.core.snapshot import RoutineStatus
from khealth_exporter.routines.policy import Policy, PolicySettings
from khealth_exporter.vocabulary.reason import Reason

MADE = (PODS, POLICIES)


async def policy(here: Scene, seconds: float = 100.0, **chosen: Any) -> RoutineStatus:
    return await ran(here, Policy, seconds, **chosen)


def enforcement(status: RoutineStatus) -> str:
    return next((one.text for one in status.remarks if one.name == "enforcement"), "")


@virtual
async def test_a_policy_denies_and_another_allows() -> None:
    """Both are timed, and nothing is left."""
    async with scene() as here:
        SmallNetwork(here)
        status = await policy(here)
        found = measured(status.attempts[0])
        assert ([None], []) == (reasons(status), left(here, MADE))
        assert (True, True) == (0 <= found["deny"] < 0.2, 0 <= found["allow"] < 0.7)
        assert "the cluster enforces NetworkPolicies" == enforcement(status)


@virtual
async def test_a_cluster_that_enforces_none_does_not_fail() -> None:
    """It is not applicable there, and says so."""
    async with scene() as here:
        SmallNetwork(here, enforcing=False)
        status = await policy(here)
        assert ([None], []) == (reasons(status), left(here, MADE))
        assert enforcement(status).startswith("not applicable")
        assert {"deny", "allow"}.isdisjoint(measured(status.attempts[0]))


@virtual
async def test_a_cluster_that_must_enforce_fails_if_it_does_not() -> None:
    """The setting says so."""
    async with scene() as here:
        SmallNetwork(here, enforcing=False)
        status = await policy(here, required=True)
        assert ([Reason.POLICY_NOT_ENFORCED], ["deny"]) == (reasons(status), censored(status.attempts[0]))


@virtual
async def test_a_cluster_that_has_enforced_must_go_on() -> None:
    """What was seen once is remembered as long as the process lives."""
    async with scene() as here:
        network = SmallNetwork(here)
        assert [None] == reasons(await policy(here, interval=1000.0))
        network.enforcing = False
        assert [Reason.POLICY_NOT_ENFORCED] == reasons(await policy(here, interval=1000.0))


@pytest.mark.parametrize(
    ("bypassing", "reason"),
    [
        ({"node-1"}, Reason.POLICY_NOT_ENFORCED),
        ({"node-2"}, Reason.ONE_NODE),
        ({"node-1", "node-3"}, Reason.POLICY_NOT_ENFORCED),
    ],
)
@virtual
async def test_a_policy_that_stops_only_some_agents_is_not_enforced(bypassing: set[str], reason: Reason) -> None:
    """The pods of the canary's own node may bypass it in every attempt: no policy was ever seen to stop all."""
    async with scene() as here:
        SmallNetwork(here, bypassing=bypassing)
        for _ in range(3):
            status = await policy(here, interval=1000.0)
            assert ([reason], ["deny"]) == (reasons(status), censored(status.attempts[0]))
            assert all(f"agent-{node}" in note(status.attempts[0]) for node in bypassing)
            assert "does not stop: " in note(status.attempts[0])
            assert [] == left(here, MADE)


@virtual
async def test_a_policy_that_stops_only_some_agents_is_seen_in_the_least_time() -> None:
    """There is time to look twice."""
    async with scene() as here:
        SmallNetwork(here, bypassing={"node-1"})
        status = await policy(here, timeout=30.0)
        assert [Reason.POLICY_NOT_ENFORCED] == reasons(status)


@virtual
async def test_an_agent_that_does_not_answer_khealth_is_not_stopped_by_a_policy() -> None:
    """It says nothing of the canary, and the others are not stopped."""
    async with scene() as here:
        network = SmallNetwork(here, enforcing=False)

        async def fall_silent(asked: Asked) -> None:
            if asked.verb == "create" and asked.resource == POLICIES:
                network.silent = {"node-2"}

        here.api.faults.append(fall_silent)
        status = await policy(here)
        assert ([None], True) == (reasons(status), enforcement(status).startswith("not applicable"))


@pytest.mark.parametrize(
    ("seconds", "reason"), [(5.0, None), (12.0, None), (1000.0, Reason.ONE_NODE)], ids=["short", "longer", "for good"]
)
@virtual
async def test_an_agent_that_is_cut_off_meanwhile_is_not_stopped_by_a_policy(
    seconds: float, reason: Reason | None
) -> None:
    """The cluster enforces none: the way to the node is back when another policy allows it, or is broken."""
    async with scene() as here:
        network = SmallNetwork(here, enforcing=False)

        async def lose(asked: Asked) -> None:
            if asked.verb == "create" and asked.body["metadata"]["name"].endswith("deny"):
                network.cut = {"node-2"}
                here.small.later(seconds, network.cut.clear)

        here.api.faults.append(lose)
        status = await policy(here, timeout=80.0)
        assert [reason] == reasons(status)


@virtual
async def test_an_agent_that_is_gone_before_it_is_let_in_was_not_stopped() -> None:
    """It had lost its way to the canary, and then does not answer khealth any more."""
    async with scene() as here:
        network = SmallNetwork(here, enforcing=False)

        async def lose(asked: Asked) -> None:
            if asked.verb == "create" and asked.body["metadata"]["name"].endswith("deny"):
                network.cut = {"node-2"}
            elif asked.verb == "create" and asked.resource == POLICIES:
                network.silent = {"node-2"}

        here.api.faults.append(lose)
        status = await policy(here, timeout=80.0)
        assert ([None], True) == (reasons(status), "no longer answer khealth" in enforcement(status))


@virtual
async def test_what_stops_some_agents_once_is_not_remembered() -> None:
    """An outage may begin with one policy and end with the other; the next attempt sees that nothing is enforced."""
    async with scene() as here:
        network = SmallNetwork(here, bypassing={"node-1"})
        assert [Reason.POLICY_NOT_ENFORCED] == reasons(await policy(here, interval=1000.0))
        network.enforcing = False
        assert [None] == reasons(await policy(here, interval=1000.0))


@virtual
async def test_what_stops_some_agents_again_and_again_is_remembered() -> None:
    """Then it must not stop none."""
    async with scene() as here:
        network = SmallNetwork(here, bypassing={"node-1"})
        for _ in range(2):
            assert [Reason.POLICY_NOT_ENFORCED] == reasons(await policy(here, interval=1000.0))
        network.enforcing = False
        assert [Reason.POLICY_NOT_ENFORCED] == reasons(await policy(here, interval=1000.0))


@pytest.mark.parametrize("limit", [60.0, 100.0])
@virtual
async def test_a_plugin_that_stops_some_agents_late_has_no_hole(limit: float) -> None:
    """It is as slow as one that stops all of them late."""
    async with scene() as here:
        network = SmallNetwork(here, bypassing={"node-1"})

        async def enforce(asked: Asked) -> None:
            if asked.verb == "create" and asked.resource == POLICIES:
                here.small.later(limit / 4 - 1, network.bypassing.clear)

        here.api.faults.append(enforce)
        status = await policy(here, timeout=limit)
        assert [None] == reasons(status)
        assert "took effect late" in enforcement(status)


@virtual
async def test_silence_alone_is_no_enforcement() -> None:
    """The canary's node was cut off meanwhile: nothing tells that a policy was in force."""
    async with scene() as here:
        network = SmallNetwork(here, enforcing=False)

        async def lose(asked: Asked) -> None:
            if asked.verb == "create" and asked.resource == POLICIES:
                network.cut = {"node-1"}

        here.small.nodes = ("node-1",)
        here.api.faults.append(lose)
        await policy(here, interval=1000.0)
        here.api.faults.clear()
        network.cut = set()
        assert [None] == reasons(await policy(here, interval=1000.0))


@virtual
async def test_agents_that_a_policy_allows_and_that_stay_blocked_are_overblocked() -> None:
    """The canary is well, and was reached before."""
    async with scene() as here:
        SmallNetwork(here, overblocking=True)
        status = await policy(here)
        assert ([Reason.POLICY_OVERBLOCKS], ["allow"]) == (reasons(status), censored(status.attempts[0]))


@pytest.mark.parametrize(
    ("cut", "reason"),
    [({"node-2"}, Reason.ONE_NODE), ({"node-1", "node-2", "node-3"}, Reason.NETWORK_UNREACHABLE)],
)
@virtual
async def test_a_canary_that_was_never_reached_is_no_policys_fault(cut: set[str], reason: Reason) -> None:
    """No policy is written then."""
    async with scene() as here:
        SmallNetwork(here, cut=cut)
        status = await policy(here)
        assert ([reason], []) == (reasons(status), here.api.named("create", POLICIES))


@virtual
async def test_of_two_nodes_none_is_to_blame_for_the_way_between_them() -> None:
    """The agent on the canary's own node reaches it, which says nothing of the other one."""
    async with scene() as here:
        here.small.nodes = ("node-1", "node-2")
        SmallNetwork(here, cut={"node-2"})
        assert [Reason.NETWORK_UNREACHABLE] == reasons(await policy(here))


@virtual
async def test_a_policy_of_others_explains_what_agents_do_not_reach() -> None:
    """It is no fault of the network."""
    async with scene() as here:
        SmallNetwork(here)
        put_denying_policy(here, "deny-all")
        status = await policy(here)
        assert ([Reason.NO_SINGLE_CAUSE], True) == (reasons(status), "deny-all" in note(status.attempts[0]))


@virtual
async def test_a_policy_of_others_for_the_labels_of_the_settings_is_named() -> None:
    """Canaries have these labels too."""
    async with scene() as here:
        SmallNetwork(here)
        put_denying_policy(here, "of-the-team", team="platform")
        status = await policy(here, pod={"labels": {"team": "platform"}})
        assert ([Reason.NO_SINGLE_CAUSE], True) == (reasons(status), "of-the-team" in note(status.attempts[0]))


@virtual
async def test_a_canary_that_is_no_longer_ready_is_not_overblocked() -> None:
    """It is its node's."""
    async with scene() as here:
        SmallNetwork(here, overblocking=True)

        async def break_it(asked: Asked) -> None:
            if asked.verb == "create" and asked.body["metadata"]["name"].endswith("allow"):
                here.say(0, "Ready", "False")

        here.api.faults.append(break_it)
        assert [Reason.POD_NOT_READY] == reasons(await policy(here))


@virtual
async def test_the_policies_are_about_the_canary_alone() -> None:
    """And the second one allows agents."""
    async with scene() as here:
        SmallNetwork(here)
        await policy(here)
        deny, allow = (asked.body for asked in here.api.named("create", POLICIES))
        (pod,) = (asked.body for asked in here.api.named("create", PODS))
        chosen = deny["spec"]["podSelector"]["matchLabels"]
        assert ("khealth.io/attempt" in chosen, True) == (True, chosen.items() <= pod["metadata"]["labels"].items())
        assert ([], chosen) == (deny["spec"]["ingress"], allow["spec"]["podSelector"]["matchLabels"])
        (peer,) = allow["spec"]["ingress"][0]["from"]
        assert {"podSelector": {"matchLabels": {"app.kubernetes.io/component": "agent"}}} == peer


def test_time_in_which_no_policy_is_seen_to_take_effect_is_refused() -> None:
    """Every cluster would look like one that enforces none."""
    assert 30.0 == PolicySettings(timeout=30.0).timeout
    with pytest.raises(
        ValidationError, match="timeout is below 30s: agents could not be sure that a policy takes effect"
    ):
        PolicySettings(timeout=29.0)
