"""Requests for any kind."""

import pytest
from fakes import FakeApi, cluster_of, garbled
from virtual_time import BEGINNING, virtual, virtual_clock

from khealth_exporter.cluster.kinds import POD, REPLICATION_CONTROLLER
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.verdict import Failed

DEADLINE = BEGINNING + 20.0


@virtual
async def test_a_controller_that_cannot_be_read_is_an_error_of_the_api() -> None:
    """And no bug of khealth's."""
    api = FakeApi(virtual_clock())
    api.faults.append(garbled)
    with pytest.raises(Failed) as raised:
        await cluster_of(api).get(REPLICATION_CONTROLLER, "c", DEADLINE)
    assert Reason.API_ERROR is raised.value.reason


@virtual
async def test_pods_that_cannot_be_read_are_an_error_of_the_api() -> None:
    """Nobody is blamed on such a list."""
    api = FakeApi(virtual_clock())
    api.faults.append(garbled)
    with pytest.raises(Failed) as raised:
        await cluster_of(api).list(POD, DEADLINE, labels="a=b")
    assert Reason.API_ERROR is raised.value.reason


@virtual
async def test_pods_are_listed_page_by_page() -> None:
    """All of them, however many."""
    api = FakeApi(virtual_clock(), page=2)
    for name in "abcde":
        api.put("pods", {"metadata": {"name": name}})
    assert list("abcde") == [pod.name for pod in await cluster_of(api).list(POD, DEADLINE)]
