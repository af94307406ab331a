"""From a fault of the real cluster to exactly one page, from its end to the page's resolution, and ten minutes of silence."""

import time
from collections.abc import Callable, Iterator

import pytest
from alerting import PAGING, Way, way
from bodies.target import Target, wait_for

HEALTH = 600.0
"""Seconds of health that must bring nothing."""


@pytest.fixture(scope="module")
def watched(lasting_target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Way, float]]:
    """The whole way, well and at work; and since when."""
    with way(lasting_target, tmp_path_factory.mktemp("way")) as running:
        yield running, time.time()


@pytest.mark.timeout(HEALTH + PAGING)
def test_ten_minutes_of_health_bring_no_page_and_no_ticket(watched: tuple[Way, float]) -> None:
    """Nobody is told anything; the tests before this one have run within these minutes."""
    running, since = watched
    wait_for("ten minutes", lambda: time.time() >= since + HEALTH, HEALTH)
    told = [said.outline for said in (*running.pages(), *running.tickets())]
    assert ([], 0.0) == (told, running.failures())


@pytest.mark.timeout(4 * PAGING)
@pytest.mark.parametrize(
    ("fault", "alert", "component"),
    [
        ("scheduler-stalled", "KhealthSchedulerBroken", "scheduler"),
        ("controller-stalled", "KhealthControllerManagerBroken", "controller_manager"),
        ("kubelet-stalled", "KhealthNodesBroken", "node"),
        ("api-paused", "KhealthApiServerBroken", "api_server"),
    ],
)
def test_a_fault_is_one_page_that_names_it_and_its_end_resolves_it(
    watched: tuple[Way, float], record_property: Callable[[str, object], None], fault: str, alert: str, component: str
) -> None:
    """One notification of one alert, until a second one says that it is over; nothing else from the fault to that."""
    running, _ = watched
    running.wait_until_well()
    began = time.time()
    with running.target.broken(fault):
        (page,) = wait_for("a page", lambda: running.pages(began), PAGING)
        known = running.failures()
        wait_for("one more failure", lambda: running.failures() > known, PAGING)
    mended = time.time()
    wait_for("a resolution", lambda: running.pages(began)[-1].status == "resolved", PAGING)
    running.wait_until_well()
    record_property("from fault to page", f"{page.at - began:.1f} s")
    record_property("from mending to resolution", f"{running.pages(began)[-1].at - mended:.1f} s")
    told = [said.outline for said in running.pages(began)]
    assert [("firing", [(alert, component)]), ("resolved", [(alert, component)])] == told
