"""The tests' own event loop."""

import asyncio

import pytest
from documents import pod
from small_cluster import PODS, scene
from virtual_time import run, virtual

from khealth_exporter.cluster.kinds import POD


def test_what_a_callback_raises_fails_the_test() -> None:
    """Nothing awaits a callback: asyncio only logs what it raises, and the test would pass."""

    async def scenario() -> None:
        asyncio.get_running_loop().call_later(1.0, {"a": 1}.__getitem__, "missing")
        await asyncio.sleep(2.0)

    with pytest.raises(ExceptionGroup) as raised:
        run(scenario())
    assert [KeyError] == [type(error) for error in raised.value.exceptions]


@virtual
async def test_a_pod_that_is_created_directly_has_a_status() -> None:
    """As the API server gives it one."""
    async with scene() as here:
        document = {key: value for key, value in pod("a").items() if key != "status"}
        await here.cluster.create(POD, document, here.clock.now() + 5.0)
        assert {"phase": "Pending"} == here.api.objects[PODS]["a"]["status"]
