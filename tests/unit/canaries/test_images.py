"""Which startup is cold: the first of an image on a node."""

import pytest
from pod_traces import started, way_of

from khealth_exporter.canaries.images import COLD_AFTER, SeenImages
from khealth_exporter.canaries.pod_steps import CREATE, READY, SCHEDULE, START, STARTUP
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.sample import Measurement, Quality


def graded(seen: SeenImages, way: Trace[Pod], image: str = "pause") -> Quality:
    return seen.graded(Measurement(STARTUP, 1.0, 0.0), way, image).quality


def test_the_first_start_of_an_image_on_a_node_is_cold() -> None:
    """The pull may be in it."""
    seen, way = SeenImages(), started(0.0, 2.0)
    seen.note([way], "pause")
    assert Quality.COLD is graded(seen, way)


def test_a_start_after_another_one_is_not_cold() -> None:
    """Once an image has started on a node, it is there."""
    seen, later = SeenImages(), started(60.0, 61.0)
    seen.note([started(0.0, 2.0)], "pause")
    seen.note([later], "pause")
    assert Quality.EXACT is graded(seen, later)


def test_pods_that_begin_before_the_first_start_are_all_cold() -> None:
    """Two pods on one node that wait for the same pull are both cold, in any order of their starts."""
    seen, ways = SeenImages(), [started(0.0, 2.0), started(1.9, 2.5), started(2.1, 2.6)]
    seen.note(ways, "pause")
    assert [Quality.COLD, Quality.COLD, Quality.EXACT] == [graded(seen, way) for way in ways]


@pytest.mark.parametrize(("node", "image"), [("node-2", "pause"), ("node-1", "other")])
def test_another_node_or_image_is_cold_by_itself(node: str, image: str) -> None:
    """Warmth is per node and per image."""
    seen, way = SeenImages(), started(60.0, 61.0, node=node)
    seen.note([started(0.0, 2.0)], "pause")
    seen.note([way], image)
    assert Quality.COLD is graded(seen, way, image)


@pytest.mark.parametrize(("pause", "quality"), [(COLD_AFTER, Quality.EXACT), (COLD_AFTER + 1.0, Quality.COLD)])
def test_an_image_is_forgotten_after_twelve_hours_without_a_start(pause: float, quality: Quality) -> None:
    """A node may have thrown away an image that it has not used for so long."""
    seen, way = SeenImages(), started(2.0 + pause - 1.0, 2.0 + pause)
    seen.note([started(0.0, 2.0)], "pause")
    seen.note([way], "pause")
    assert quality is graded(seen, way)


def test_an_image_that_is_used_stays_warm() -> None:
    """A start every hour keeps an image warm for days."""
    seen, qualities = SeenImages(), []
    for hour in range(48):
        way = started(hour * 3600.0, hour * 3600.0 + 2.0)
        seen.note([way], "pause")
        qualities.append(graded(seen, way))
    assert [Quality.COLD, *[Quality.EXACT] * 47] == qualities


def test_nodes_that_come_and_go_are_forgotten() -> None:
    """Node churn must not grow khealth's memory for good."""
    seen = SeenImages()
    for number in range(10_000):
        at = number * 60.0
        seen.note([started(at, at + 2.0, node=f"node-{number}")], "pause")
    assert len(seen) <= COLD_AFTER / 60.0 + 1


def test_only_startup_can_be_cold() -> None:
    """The steps themselves are what they are."""
    measured = [Measurement(step, 1.0, 0.0) for step in (CREATE, SCHEDULE, START, READY)]
    assert measured == [SeenImages().graded(m, started(0.0, 2.0), "pause") for m in measured]


def test_a_censored_startup_is_never_cold() -> None:
    """A pod that did not start at all is no matter of a cold image: it counts."""
    censored = Measurement(STARTUP, 20.0, 0.0, censored=True)
    assert censored == SeenImages().graded(censored, way_of(("scheduled", 1.0)), "pause")


def test_a_startup_without_a_node_is_not_cold() -> None:
    """Where nothing is known of the node, nothing is assumed."""
    way = way_of(("created", 1.0))
    assert Quality.EXACT is graded(SeenImages(), way)
