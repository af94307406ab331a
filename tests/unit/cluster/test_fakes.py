"""The API server in memory keeps deadlines as the real client does."""

from collections.abc import Awaitable, Callable

import pytest
from fakes import FakeApi, hanging
from virtual_time import run, virtual_clock

from khealth_exporter.cluster.errors import Refused
from khealth_exporter.vocabulary.reason import Reason

Ask = Callable[[FakeApi, float], Awaitable[object]]


async def requested(api: FakeApi, deadline: float) -> object:
    """Send a request."""
    return await api.request("get", "pods", "/api/v1/namespaces/khealth/pods/a", deadline=deadline)


async def connected(api: FakeApi, deadline: float) -> object:
    """Make a new connection."""
    return await api.connect("/readyz", deadline)


async def watched(api: FakeApi, deadline: float) -> object:
    """Open a watch."""
    async with api.stream(
        "pods", "/", query={"resourceVersion": "100"}, connect_timeout=deadline - api.clock.now()
    ) as stream:
        return stream


@pytest.mark.parametrize("ask", [requested, connected, watched])
@pytest.mark.parametrize(("seconds", "expected"), [(0.0, Reason.PROBER_STARVED), (2.0, Reason.API_TIMEOUT)])
def test_every_way_of_asking_ends_at_its_deadline(ask: Ask, seconds: float, expected: Reason) -> None:
    """A deadline that has passed before is khealth's own; no answer until then is the API server's."""

    async def scenario() -> None:
        api = FakeApi(virtual_clock())
        api.faults.append(hanging("get", "connect", "watch"))
        began = api.clock.now()
        with pytest.raises(Refused) as caught:
            await ask(api, began + seconds)
        assert expected is caught.value.reason
        assert seconds == pytest.approx(api.clock.now() - began)

    run(scenario())
