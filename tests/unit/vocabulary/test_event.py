"""The vocabulary: reasons, qualities, samples, failures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Measurement, Quality, Sample
from khealth_exporter.vocabulary.verdict import Evidence, Failed


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_component_and_a_result(reason: Reason) -> None:
    """A reason is a word that is its own label, and stands for a failure or for not knowing."""
    assert isinstance(reason.component, Component)
    assert reason.result in (Result.FAILURE, Result.INCONCLUSIVE)
    assert (reason.value, reason) == (str(reason), Reason(reason.value))  # type: ignore[call-arg]


def test_reasons_of_khealth_itself_are_never_failures_of_the_cluster() -> None:
    """What khealth could not find out is inconclusive."""
    assert {Result.INCONCLUSIVE} == {reason.result for reason in Reason if reason.component is Component.KHEALTH}


def test_qualities_have_an_order() -> None:
    """From best to worst."""
    assert [0, 1, 2, 3] == [quality.rank for quality in Quality]


def sample(*measurements: Measurement, node: str | None = None, **observed: float | None) -> Sample:
    return Sample("pod", "uid", node, measurements, observed)


@given(st.lists(st.sampled_from(list(Quality))))
def test_a_sample_is_as_good_as_its_worst_step(qualities: list[Quality]) -> None:
    """A sample without steps is exact: nothing is doubtful."""
    made = sample(*(Measurement("create", 1.0, 0.0, quality) for quality in qualities))
    assert max(qualities, key=list(Quality).index, default=Quality.EXACT) is made.quality


def test_a_samples_uncertainty_is_its_largest() -> None:
    """The one error bar that covers all of its steps."""
    assert 0.5 == sample(Measurement("a", 1.0, 0.25), Measurement("b", 1.0, 0.5)).uncertainty


def test_two_parts_of_a_sample_are_joined() -> None:
    """Steps add up, a milestone that was reached stays reached, and the node is known if it ever was."""
    first = sample(Measurement("create", 1.0, 0.0), node="node-1", created=1.0, deleted=None)
    second = sample(Measurement("delete", 2.0, 0.0), created=None, deleted=9.0)
    joined = first.joined(second)
    assert (("create", "delete"), "node-1") == (tuple(m.step for m in joined.measurements), joined.node)
    assert {"created": 1.0, "deleted": 9.0} == joined.observed


@pytest.mark.parametrize(("note", "text"), [("why", "api_error: why"), ("", "api_error")])
def test_a_failure_reads_as_reason_and_note(note: str, text: str) -> None:
    """What is raised can be shown to people."""
    assert text == str(Failed(Reason.API_ERROR, note))


def test_a_failure_carries_its_evidence() -> None:
    """What the canary looked like goes with the reason."""
    evidence = (Evidence("Pod", "pod", ("pending",)),)
    assert evidence == Failed(Reason.POD_LOST, "", evidence).evidence


def test_permissions_are_the_same_that_grant_the_same() -> None:
    """Whether one is optional, and why it is wanted, makes no other right."""
    assert 1 == len({Permission("list", "pods", why="a"), Permission("list", "pods", optional=True, why="b")})
