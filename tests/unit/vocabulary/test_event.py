"""The vocabulary: reasons, qualities, samples, failures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khealth_exporter.canaries.pod_steps import CREATE, DELETE
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reading import Figure
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Measurement, Quality, Sample
from khealth_exporter.vocabulary.step import API_EDGES, DISK_EDGES, POD_EDGES, ROUND_TRIP_EDGES, Objective, Step
from khealth_exporter.vocabulary.verdict import Evidence, Failed


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_component_and_a_result(reason: Reason) -> None:
    """A word that is its own label, for a failure or for not knowing; a step tells that of `slow`, and of checks."""
    of_steps = {Reason.SLOW, Reason.CHECK_FAILED, Reason.CHECK_SILENT}
    assert (reason in of_steps) is (reason.component is None)
    assert isinstance(reason.component or Component.DNS, Component)
    assert reason.result in (Result.FAILURE, Result.INCONCLUSIVE)
    assert (reason.value, reason) == (str(reason), Reason(reason.value))  # type: ignore[call-arg]


def test_reasons_of_khealth_itself_are_never_failures_of_the_cluster() -> None:
    """What khealth could not find out is inconclusive."""
    assert {Result.INCONCLUSIVE} == {reason.result for reason in Reason if reason.component is Component.KHEALTH}


def test_qualities_have_an_order() -> None:
    """From best to worst."""
    assert [0, 1, 2, 3, 4] == [quality.rank for quality in Quality]


def sample(*measurements: Measurement, node: str | None = None, **observed: float | None) -> Sample:
    return Sample("pod", "uid", node, measurements, observed)


@given(st.lists(st.sampled_from(list(Quality))))
def test_a_sample_is_as_good_as_its_worst_step(qualities: list[Quality]) -> None:
    """A sample without steps is exact: nothing is doubtful."""
    made = sample(*(Measurement(CREATE, 1.0, 0.0, quality) for quality in qualities))
    assert max(qualities, key=list(Quality).index, default=Quality.EXACT) is made.quality


def test_a_samples_uncertainty_is_its_largest() -> None:
    """The one error bar that covers all of its steps."""
    assert 0.5 == sample(Measurement(CREATE, 1.0, 0.25), Measurement(DELETE, 1.0, 0.5)).uncertainty


def test_two_parts_of_a_sample_are_joined() -> None:
    """Steps add up, a milestone that was reached stays reached, and the node is known if it ever was."""
    first = sample(Measurement(CREATE, 1.0, 0.0), node="node-1", created=1.0, deleted=None)
    second = sample(Measurement(DELETE, 2.0, 0.0), created=None, deleted=9.0)
    joined = first.joined(second)
    assert ((CREATE, DELETE), "node-1") == (tuple(m.step for m in joined.measurements), joined.node)
    assert {"created": 1.0, "deleted": 9.0} == joined.observed


@pytest.mark.parametrize(("note", "text"), [("why", "api_error: why"), ("", "api_error")])
def test_a_failure_reads_as_reason_and_note(note: str, text: str) -> None:
    """What is raised can be shown to people."""
    assert text == str(Failed(Reason.API_ERROR, note))


def test_a_failure_carries_its_evidence() -> None:
    """What the canary looked like goes with the reason."""
    evidence = (Evidence("Pod", "pod", ("pending",)),)
    assert evidence == Failed(Reason.POD_LOST, "", evidence).evidence


@pytest.mark.parametrize(
    ("failed", "component"),
    [
        (Failed(Reason.POD_NOT_SCHEDULED, step=CREATE), Component.SCHEDULER),
        (Failed(Reason.SLOW, step=CREATE), Component.CONTROLLER_MANAGER),
        (Failed(Reason.SLOW, step=Step("write", Component.STORAGE, "")), Component.STORAGE),
    ],
)
def test_the_step_names_the_component_where_the_reason_does_not(failed: Failed, component: Component) -> None:
    """A reason that several components can cause carries none that is wrong for half of its users."""
    assert component is failed.component


def test_a_failure_without_a_component_is_refused() -> None:
    """It would be a failure of the cluster that is nowhere in it."""
    with pytest.raises(ValueError, match="slow has no component of its own: name the step that failed"):
        Failed(Reason.SLOW)


@pytest.mark.parametrize("edges", [API_EDGES, POD_EDGES, ROUND_TRIP_EDGES, DISK_EDGES])
def test_edges_rise(edges: tuple[float, ...]) -> None:
    """As the exposition format demands of buckets."""
    assert list(edges) == sorted(set(edges))


def test_a_step_whose_objective_is_no_edge_is_refused() -> None:
    """A share between two edges could only be guessed."""
    with pytest.raises(ValueError, match=r"step read: 0\.3 s is no bucket edge, so it cannot be judged"):
        Step("read", Component.API_SERVER, "", API_EDGES, Objective(0.99, 0.3, "us"))


@given(st.sampled_from(API_EDGES))
def test_a_step_may_have_any_edge_for_its_objective(edge: float) -> None:
    """The objective is kept as it is."""
    objective = Objective(0.99, edge, "us")
    assert objective == Step("read", Component.API_SERVER, "", API_EDGES, objective).objective


def test_permissions_are_the_same_that_grant_the_same() -> None:
    """Whether one is optional, and why it is wanted, makes no other right."""
    assert 1 == len({Permission("list", "pods", why="a"), Permission("list", "pods", optional=True, why="b")})


@pytest.mark.parametrize("name", ["", "nodes-failing", "Nodes", "nodes.failing", "1st"])
def test_a_figure_whose_name_is_no_metric_name_is_an_error(name: str) -> None:
    """Otherwise Prometheus would show it under another name."""
    with pytest.raises(ValueError, match=r"a name has lowercase letters, digits and _"):
        Figure(name, "Nodes.")
