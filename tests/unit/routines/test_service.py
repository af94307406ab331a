"""service, on a small network on virtual time."""

from typing import Any

import pytest
from canary_pods import censored, left, measured, note, ran, reasons
from documents import Json
from fakes import Asked
from small_cluster import PODS, Scene, scene
from small_services import BALANCER, SERVICES, SmallNetwork, put_denying_policy
from virtual_time import virtual

from khealth_exporter.core.snapshot import Attempt, RoutineStatus
from khealth_exporter.routines.service import ServiceRoutine
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.reason import Reason

MADE = (PODS, SERVICES)


async def service(here: Scene, seconds: float = 100.0, **chosen: Any) -> RoutineStatus:
    return await ran(here, ServiceRoutine, seconds, **chosen)


def remark(status: RoutineStatus, name: str) -> str:
    return next((one.text for one in status.remarks if one.name == name), "")


@virtual
async def test_a_service_is_published_programmed_and_unprogrammed() -> None:
    """Its steps, and nothing is left."""
    async with scene() as here:
        SmallNetwork(here)
        status = await service(here)
        (attempt,) = status.attempts
        steps = {"accept", "schedule", "sandbox", "start", "ready", "startup", "delete"}
        assert ([None], steps | {"publish", "program", "unprogram"}, []) == (
            reasons(status), set(measured(attempt)), left(here, MADE),
        )  # fmt: skip


@virtual
async def test_programming_counts_from_the_published_endpoints_to_the_last_agent() -> None:
    """The slowest node is what a user meets."""
    async with scene() as here:
        SmallNetwork(here, slow={"node-2": 3.0})
        (attempt,) = (await service(here)).attempts
        found = measured(attempt)
        assert 0.1 == pytest.approx(found["publish"], abs=0.05)
        assert 3.0 == pytest.approx(found["program"], abs=0.2)
        assert 3.0 == pytest.approx(found["unprogram"], abs=0.2)


@virtual
async def test_a_pod_that_ends_has_time_until_it_is_asked_to_be_gone() -> None:
    """It goes on answering while it must get no more requests, and is not waited for at the end."""
    async with scene() as here:
        SmallNetwork(here)
        (attempt,) = (await service(here)).attempts
        graces = [asked.body.get("gracePeriodSeconds") for asked in here.api.named("delete", PODS)]
        assert [20, 1, None] == graces
        assert measured(attempt)["delete"] < 1.0


@virtual
async def test_endpoints_that_do_not_come_are_the_controller_managers() -> None:
    """However well the network is."""
    async with scene() as here:
        SmallNetwork(here, publishing=False)
        status = await service(here)
        (attempt,) = status.attempts
        assert ([Reason.ENDPOINTS_NOT_PUBLISHED], ["publish"], []) == (
            reasons(status), censored(attempt), left(here, MADE),
        )  # fmt: skip
        assert component(attempt) is Component.CONTROLLER_MANAGER


def component(attempt: Attempt) -> Component | None:
    return attempt.verdict.component if attempt.verdict else None


@virtual
async def test_an_endpoint_that_does_not_go_is_the_controller_managers() -> None:
    """The pod is asked to end, and the controller manager has stopped."""
    async with scene() as here:
        network = SmallNetwork(here)

        async def stop(asked: Asked) -> None:
            if asked.verb == "delete":
                network.publishing = False

        here.api.faults.append(stop)
        status = await service(here)
        assert [Reason.ENDPOINTS_NOT_PUBLISHED] == reasons(status)
        assert "still published" in note(status.attempts[0])


@virtual
async def test_slices_without_labels_are_no_failure() -> None:
    """Khealth cannot follow them."""
    async with scene() as here:
        SmallNetwork(here, labelling=False)
        status = await service(here)
        assert ([Reason.WATCH_INTERRUPTED], True) == (reasons(status), "lack the labels" in note(status.attempts[0]))


@pytest.mark.parametrize(
    ("dead", "reason"),
    [
        ({"node-2"}, Reason.ONE_NODE),
        ({"node-2", "node-3"}, Reason.SERVICE_NOT_PROGRAMMED),
        ({"node-1", "node-2", "node-3"}, Reason.SERVICE_NOT_PROGRAMMED),
    ],
)
@virtual
async def test_a_service_that_is_not_programmed_is_the_networks_or_one_nodes(dead: set[str], reason: Reason) -> None:
    """One node's kube-proxy is that node's."""
    async with scene() as here:
        SmallNetwork(here, dead=dead)
        status = await service(here)
        (attempt,) = status.attempts
        assert ([reason], ["program"]) == (reasons(status), censored(attempt))
        assert all(f"agent-{node} on {node}" in note(attempt) for node in dead)


@pytest.mark.parametrize(
    ("dead", "reason"),
    [({"node-2"}, Reason.ONE_NODE), ({"node-1", "node-2", "node-3"}, Reason.SERVICE_NOT_PROGRAMMED)],
)
@virtual
async def test_a_pod_that_still_gets_requests_is_the_networks_or_one_nodes(dead: set[str], reason: Reason) -> None:
    """Programming stops once the Service answers."""
    async with scene() as here:
        network = SmallNetwork(here)

        async def stop(asked: Asked) -> None:
            if asked.verb == "delete":
                network.dead = dead

        here.api.faults.append(stop)
        status = await service(here)
        assert ([reason], ["unprogram"]) == (reasons(status), censored(status.attempts[0]))


@virtual
async def test_a_node_that_is_cut_off_is_not_blamed_on_services() -> None:
    """Its agent reaches no pod of another node at its own address either."""
    async with scene() as here:
        SmallNetwork(here, cut={"node-3"})
        status = await service(here)
        assert [Reason.ONE_NODE] == reasons(status)
        assert note(status.attempts[0]).startswith("network_unreachable on node-3 only")


@virtual
async def test_what_others_forbid_is_no_failure() -> None:
    """A NetworkPolicy of the namespace keeps everyone from every pod."""
    async with scene() as here:
        SmallNetwork(here)
        put_denying_policy(here, "deny-all")
        status = await service(here)
        assert ([Reason.NO_SINGLE_CAUSE], True) == (reasons(status), "deny-all" in note(status.attempts[0]))


@virtual
async def test_a_policy_of_others_for_the_labels_of_the_settings_is_named() -> None:
    """Canaries have these labels too."""
    async with scene() as here:
        SmallNetwork(here)
        put_denying_policy(here, "of-the-team", team="platform")
        status = await service(here, pod={"labels": {"team": "platform"}})
        assert ([Reason.NO_SINGLE_CAUSE], True) == (reasons(status), "of-the-team" in note(status.attempts[0]))


@virtual
async def test_a_service_that_another_client_deletes_is_no_failure() -> None:
    """Nobody is to blame."""
    async with scene() as here:
        SmallNetwork(here, publishing=False)

        def take() -> None:
            (name,) = here.api.objects[SERVICES]
            here.api.remove(SERVICES, name)

        here.small.later(2.0, take)
        assert [Reason.INTERRUPTED] == reasons(await service(here))


@virtual
async def test_a_pods_own_failure_keeps_its_reason() -> None:
    """There is no Service yet."""
    async with scene() as here:
        SmallNetwork(here)
        here.small.stuck = {0: "scheduled"}
        status = await service(here)
        assert ([Reason.KUBELET_SILENT], []) == (reasons(status), here.api.named("create", SERVICES))


@virtual
async def test_an_agent_that_is_silent_is_a_remark() -> None:
    """The others tell."""
    async with scene() as here:
        SmallNetwork(here, silent={"node-2"})
        status = await service(here)
        assert [None] == reasons(status)
        assert "2 of 3 answered; agent-node-2 on node-2: no answer" == remark(status, "agents")


@virtual
async def test_connections_that_fail_while_a_pod_ends_are_counted() -> None:
    """Here the pod that stays is on a node that is cut off at that moment: its half of the tries fails."""
    async with scene() as here:
        network = SmallNetwork(here, slow={"node-1": 2.0, "node-2": 2.0, "node-3": 2.0})

        async def lose(asked: Asked) -> None:
            if asked.verb == "delete" and asked.resource == PODS:
                network.cut = {"node-1"}
                here.small.later(1.5, network.cut.clear)

        here.api.faults.append(lose)
        status = await service(here)
        failed, _, tries = remark(status, "failed connections").split()[:3]
        assert ([None], True) == (reasons(status), 0 < int(failed) < int(tries))


@virtual
async def test_without_failed_connections_none_is_counted() -> None:
    """A pod that ends goes on answering until nobody asks it."""
    async with scene() as here:
        SmallNetwork(here)
        assert remark(await service(here), "failed connections").startswith("0 of ")


@virtual
async def test_each_node_port_is_tried_by_another_nodes_agent() -> None:
    """Each node's, once."""
    async with scene() as here:
        network = SmallNetwork(here)
        assert [None] == reasons(await service(here, node_port=True))
        ports = [one for one in network.asked if one["id"].startswith("port")]
        assert [("198.18.0.1", 30123), ("198.18.0.2", 30123), ("198.18.0.0", 30123)] == [
            (one["address"], one["port"]) for one in ports
        ]


@virtual
async def test_a_load_balancer_must_get_an_address_and_answer() -> None:
    """The assignment is a step of its own."""
    async with scene() as here:
        SmallNetwork(here)
        status = await service(here, load_balancer=True)
        assert [None] == reasons(status)
        assert 1.0 == pytest.approx(measured(status.attempts[0])["assign"], abs=0.1)


@virtual
async def test_a_load_balancer_without_an_address_is_the_networks() -> None:
    """A provider or an add-on brings it, and not the controller manager."""
    async with scene() as here:
        SmallNetwork(here, balancing=False)
        status = await service(here, load_balancer=True)
        assert [Reason.SERVICE_NOT_PROGRAMMED] == reasons(status)
        assert component(status.attempts[0]) is Component.NETWORK


NAME = "khealth-1.elb.example.com"


def balancers(network: SmallNetwork) -> set[str]:
    """Return where agents have tried load balancers."""
    return {one["address"] for one in network.asked if one["id"] == "balancer"}


@pytest.mark.parametrize(
    ("ingress", "expected"),
    [
        (({"hostname": NAME},), NAME),
        (({"ip": BALANCER, "hostname": NAME},), BALANCER),
        (({"ipMode": "VIP"}, {"hostname": NAME}), NAME),
        (({"ip": "2001:db8::7"},), "2001:db8::7"),
    ],
)
@virtual
async def test_a_load_balancer_may_have_a_host_name(ingress: tuple[Json, ...], expected: str) -> None:
    """AWS gives no address. The agents look it up."""
    async with scene() as here:
        network = SmallNetwork(here, ingress=ingress)
        assert ([None], {expected}) == (reasons(await service(here, load_balancer=True)), balancers(network))


@virtual
async def test_a_load_balancer_may_take_longer_than_agents_try_at_once() -> None:
    """They are asked again, until its share of the timeout is over."""
    async with scene() as here:
        network = SmallNetwork(here, ingress=({"hostname": NAME},), answering_after=170.0)
        status = await service(here, 600.0, load_balancer=True, interval=2400.0, timeout=1200.0)
        asked = [one for one in network.asked if one["id"] == "balancer"]
        assert ([None], 12) == (reasons(status), len(asked))


@virtual
async def test_a_load_balancer_that_does_not_answer_in_its_time_is_the_networks() -> None:
    async with scene() as here:
        SmallNetwork(here, answering_after=250.0)
        status = await service(here, 600.0, load_balancer=True, interval=2400.0, timeout=1200.0)
        assert [Reason.SERVICE_NOT_PROGRAMMED] == reasons(status)
        assert component(status.attempts[0]) is Component.NETWORK


@virtual
async def test_a_load_balancer_with_a_name_is_not_blamed_before_it_had_minutes() -> None:
    """Its name and its targets take that long, on a healthy network too."""
    async with scene() as here:
        SmallNetwork(here, ingress=({"hostname": NAME},), answering_after=250.0)
        status = await service(here, load_balancer=True)
        assert [Reason.NO_SINGLE_CAUSE] == reasons(status)
        assert "may take minutes: raise timeout" in note(status.attempts[0])


@virtual
async def test_a_load_balancer_whose_name_cannot_be_looked_up_is_not_blamed() -> None:
    """That is for network/dns to tell."""
    async with scene() as here:
        SmallNetwork(here, ingress=({"hostname": NAME},), answering_after=250.0, looking_up=False)
        status = await service(here, load_balancer=True)
        assert [Reason.NO_SINGLE_CAUSE] == reasons(status)
        assert f"cannot look up the load balancer's name {NAME}" in note(status.attempts[0])


@pytest.mark.parametrize(
    ("addressless", "tried", "expected"),
    [
        (set(), 3, "tried on 3 nodes"),
        ({"node-2"}, 2, "tried on 2 nodes; not on node-2, without an InternalIP"),
        ({"node-1", "node-2", "node-3"}, 0, "tried on 0 nodes; not on node-1, node-2, node-3, without an InternalIP"),
    ],
)
@virtual
async def test_the_port_of_a_node_without_an_address_is_not_tried(
    addressless: set[str], tried: int, expected: str
) -> None:
    """An agent would refuse the whole question; the routine says what it leaves out."""
    async with scene() as here:
        network = SmallNetwork(here, addressless=addressless)
        status = await service(here, node_port=True)
        ports = [one["address"] for one in network.asked if one["id"].startswith("port")]
        assert ([None], tried, False) == (reasons(status), len(ports), "" in ports)
        assert expected == remark(status, "node ports")
