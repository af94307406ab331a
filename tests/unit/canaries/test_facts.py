"""What is asked before anyone is blamed, and what is done without an answer."""

import pytest
from canary_attempt import COUNT, Attempt
from documents import node, unschedulable
from fakes import FORBIDDEN, Asked, FakeApi, cluster_of, garbled, refusing
from small_cluster import scene
from virtual_time import BEGINNING, run, virtual, virtual_clock

from khealth_exporter.canaries.facts import EVENT_PAGES, list_events, list_nodes
from khealth_exporter.cluster.client.client import Answer
from khealth_exporter.vocabulary.reason import Reason

DEADLINE = BEGINNING + 20.0


@virtual
async def test_nodes_that_cannot_be_read_are_unknown() -> None:
    """As if they were forbidden: they only sharpen a verdict."""
    api = FakeApi(virtual_clock())
    api.faults.append(garbled)
    cluster = cluster_of(api)
    assert (None, []) == (await list_nodes(cluster, DEADLINE), await list_events(cluster, "", DEADLINE))


@virtual
async def test_events_are_read_up_to_a_bound() -> None:
    """Evidence must not cost more than what it is for."""
    api = FakeApi(virtual_clock(), page=1)
    for number in range(20):
        about = {"name": f"khealth-{'ab'[number % 2]}-{number}"}
        api.put("events", {"metadata": {"name": f"e{number}"}, "involvedObject": about})
    found = await list_events(cluster_of(api), "khealth-a", DEADLINE)
    assert 1 + EVENT_PAGES == len(api.asked)
    assert found
    assert all(event.involved_object.name.startswith("khealth-a-") for event in found)


@virtual
async def test_events_about_the_object_itself_are_found_in_a_busy_namespace() -> None:
    """They are sorted by name, and those about a Job come after a thousand others."""
    api = FakeApi(virtual_clock(), page=1)
    for number in range(20):
        about = {"name": f"khealth-workloads-{'job' if number == 19 else f'another-{number}'}"}
        api.put("events", {"metadata": {"name": f"e{number}"}, "involvedObject": about})
    (found,) = await list_events(cluster_of(api), "khealth-workloads-job", DEADLINE)
    assert "khealth-workloads-job" == found.involved_object.name


@pytest.mark.parametrize("resource", ["nodes", "events"])
def test_without_optional_rights_there_is_a_verdict_all_the_same(resource: str) -> None:
    """Nodes and Events only sharpen it."""

    async def scenario() -> None:
        async with scene() as here:
            here.small.stuck = dict.fromkeys(range(COUNT), "scheduled")
            here.api.faults.append(refusing("list", resource=resource, by=FORBIDDEN))
            assert Reason.KUBELET_SILENT is (await Attempt(here).failing()).reason

    run(scenario())


@virtual
async def test_what_is_garbled_on_the_failure_path_is_no_bug_of_khealth() -> None:
    """A proxy's page instead of the nodes: the verdict stands without them."""
    async with scene() as here:
        here.small.stuck = dict.fromkeys(range(COUNT), "scheduled")

        async def garbled(asked: Asked) -> Answer | None:
            return here.api.answer(asked, b"<html>\xff") if asked.resource in ("nodes", "events") else None

        here.api.faults.append(garbled)
        assert Reason.KUBELET_SILENT is (await Attempt(here).failing()).reason


@virtual
async def test_a_failure_has_evidence() -> None:
    """The failing pod, the controller, and the Events about them: the canary is gone when someone looks."""
    async with scene() as here:
        here.small.stuck = {0: "scheduled"}
        event = {"metadata": {"name": "e"}, "involvedObject": {"name": "khealth-a-run-1-0"}, "reason": "FailedMount"}
        here.api.put("events", event)
        failed = await Attempt(here).failing()
        assert ["Pod", "ReplicationController", "Events"] == [seen.kind for seen in failed.evidence]


@virtual
async def test_a_pull_that_goes_on_is_the_registrys_failure() -> None:
    """Events tell that the image is on its way; the container says nothing."""
    async with scene() as here:
        here.small.stuck = dict.fromkeys(range(COUNT), "sandboxed")
        for number in range(COUNT):
            about = {"involvedObject": {"name": f"khealth-a-run-1-{number}"}, "reason": "Pulling"}
            here.api.put("events", {"metadata": {"name": f"e{number}"}, **about})
        assert Reason.IMAGE_PULL_FAILED is (await Attempt(here).failing()).reason


@virtual
async def test_a_pull_that_follows_an_init_containers_is_the_registrys_failure() -> None:
    """Events name the container: the image of one that has come says nothing of the next one's."""
    async with scene() as here:
        here.small.stuck = dict.fromkeys(range(COUNT), "sandboxed")
        steps = (
            ("Pulling", "initContainers{init}"),
            ("Pulled", "initContainers{init}"),
            ("Pulling", "containers{pause}"),
        )
        for number in range(COUNT):
            for place, (reason, path) in enumerate(steps):
                about = {"name": f"khealth-a-run-1-{number}", "fieldPath": f"spec.{path}"}
                event = {"metadata": {"name": f"e{number}-{place}"}, "involvedObject": about, "reason": reason}
                here.api.put("events", event)
        failed = await Attempt(here).failing()
        assert (Reason.IMAGE_PULL_FAILED, True) == (
            failed.reason,
            "of container pause is still being pulled" in failed.note,
        )


@virtual
async def test_no_ready_node_is_told_from_no_room() -> None:
    """The nodes are listed once, on the failure path."""
    async with scene() as here:
        here.small.stuck = dict.fromkeys(range(COUNT), "created")
        here.small.change = dict.fromkeys(range(COUNT), unschedulable)
        for name in here.small.nodes:
            here.api.put("nodes", node(name, ready="Unknown"))
        failed = await Attempt(here).failing()
        assert (Reason.NODES_NOT_READY, 1) == (failed.reason, len(here.api.named("list", "nodes")))
