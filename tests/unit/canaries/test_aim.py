"""Which pods are where an attempt wants them, and which promise is broken."""

from documents import a_pod, leaving, pod, ready
from pod_traces import way_of

from khealth_exporter.canaries.aim import READY, Aim, Tally
from khealth_exporter.canaries.pod_steps import WAY
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.trace import Trace


def new(trace: Trace[Pod]) -> bool:
    """Tell whether a pod is one that replaces others."""
    return trace.item.name.startswith("new")


ROLLOUT = Aim(concerns=new, floor=2)


def named(name: str) -> Trace[Pod]:
    """Return the trace of a pod that is Ready."""
    trace = Trace(WAY, a_pod(pod(name)))
    trace.take(a_pod(ready(pod(name))), Moment(1.0), removed=False)
    return trace


def asked_to_go(trace: Trace[Pod]) -> Trace[Pod]:
    """Let a pod be asked to end."""
    trace.take(a_pod(leaving(ready(pod(trace.item.name)))), Moment(2.0), removed=False)
    return trace


def test_ready_pods_complete_the_aim() -> None:
    """As many as are wanted."""
    tally = Tally(READY, [named("a"), named("b")])
    assert (True, False) == (tally.complete(2), tally.complete(3))


def test_a_pod_that_goes_is_lost() -> None:
    """Also when enough others are Ready."""
    tally = Tally(READY, [named("a"), asked_to_go(named("b"))])
    assert (True, False) == (tally.failed, tally.complete(1))


def test_pods_that_are_replaced_are_not_lost() -> None:
    """They go rightfully, as long as enough pods are Ready."""
    olds, news = [named("old-1"), named("old-2")], [named("new-1"), named("new-2")]
    tally = Tally(ROLLOUT, [*olds, *news])
    assert not tally.complete(2)
    for old in olds:
        tally.take(asked_to_go(old))
    assert (False, True) == (tally.failed, tally.complete(2))


def test_the_pod_that_breaks_the_promise_is_kept_as_it_was() -> None:
    """Later pods, and its own end, do not change what is said of it."""
    olds = [named("old-1"), named("old-2")]
    tally = Tally(ROLLOUT, olds)
    for old in olds:
        tally.take(asked_to_go(old))
    olds[0].take(olds[0].item, Moment(3.0), removed=True)
    assert tally.fallen is not None
    assert ("old-1", False, True) == (tally.fallen.item.name, tally.fallen.gone, tally.failed)


def test_pods_that_were_never_ready_break_no_promise() -> None:
    """A rollout begins with as many as there are."""
    assert None is Tally(ROLLOUT, [way_of(("created", 1.0))]).fallen
