"""What others have put into a canary, and which of its steps count all the same."""

from typing import Any

import pytest
from documents import Json, a_pod, bound, condition, containers, leaving, ready, running, sandboxed, status_of
from documents import pod as a_document
from pod_traces import EXACT, steps

from khealth_exporter.canaries.pod_spec import PodSettings, pod_spec
from khealth_exporter.canaries.pod_steps import DELETE, WAY, sample
from khealth_exporter.cluster.objects import Pod
from khealth_exporter.measure.clock import Clock
from khealth_exporter.measure.moments import Moment
from khealth_exporter.measure.trace import Trace
from khealth_exporter.vocabulary.sample import Measurement, Quality, Sample

OWN: Json = {"name": "pause", "image": "registry.k8s.io/pause:3.10.1"}
PROXY: Json = {"name": "istio-proxy", "image": "istio/proxyv2"}
INIT: Json = {"name": "istio-init", "image": "istio/proxyv2"}
SIDECAR: Json = {"name": "linkerd-proxy", "image": "linkerd/proxy", "restartPolicy": "Always"}
GATED = condition("PodScheduled", "False", "SchedulingGated")
RUNS = {"start", "startup", "ready", "delete"}


def changed(document: Json, **spec: Any) -> Json:
    return {**document, "spec": {**document["spec"], **spec}}


def whole(shown: Json) -> Json:
    """Return a pod in which every container is as far as khealth's own."""
    statuses = shown["status"].get("containerStatuses", [])
    return status_of(
        shown, *shown["status"].get("conditions", ()), containerStatuses=statuses * len(shown["spec"]["containers"])
    )


def measured(document: Json, *, gated: bool = False, deadline: float | None = None, upto: int = 5) -> Sample:
    """Return the sample of a pod that came so far on its way, one second a milestone, and is deleted if it ended."""
    trace: Trace[Pod] = Trace(WAY, a_pod(document))
    first = status_of(document, GATED) if gated else document
    way = [first, bound(document), sandboxed(document), running(document), ready(document)][:upto]
    for second, shown in enumerate(way):
        trace.take(a_pod(whole(shown)), Moment(float(second)), removed=False)
    found = steps(trace, deadline=deadline)
    if deadline is None:
        trace.take(a_pod(leaving(ready(document))), Moment(9.0), removed=True)
        found.append(EXACT.measure(DELETE, Moment(5.0), Moment(9.0)))
    return sample(trace, found, Clock())


def foreign(found: Sample) -> set[str]:
    return {m.step.name for m in found.measurements if m.quality is Quality.FOREIGN}


@pytest.mark.parametrize(
    ("spec", "expected", "names"),
    [
        ({"initContainers": [INIT]}, {"start", "startup"}, ("init container istio-init",)),
        ({"containers": [OWN, PROXY]}, RUNS, ("container istio-proxy",)),
        ({"containers": [PROXY, OWN]}, RUNS, ("container istio-proxy",)),
        ({"initContainers": [SIDECAR]}, RUNS, ("sidecar linkerd-proxy",)),
        ({"initContainers": [INIT, SIDECAR]}, RUNS, ("init container istio-init", "sidecar linkerd-proxy")),
        ({"readinessGates": [{"conditionType": "lb.example/ready"}]}, {"ready"}, ("readiness gate lb.example/ready",)),
        ({"containers": [{**OWN, "readinessProbe": {"exec": {}}}]}, {"ready"}, ("probe of container pause",)),
        (
            {"containers": [{**OWN, "readinessProbe": {"httpGet": {"path": "/app-health/canary/readyz"}}}]},
            {"ready"},
            ("probe of container pause",),
        ),
        ({"containers": [{**OWN, "startupProbe": {"exec": {}}}]}, {"ready"}, ("probe of container pause",)),
        (
            {"volumes": [{"name": "spiffe", "csi": {"driver": "csi.spiffe.io"}}]},
            {"sandbox", "startup"},
            ("volume spiffe",),
        ),
    ],
)
def test_steps_that_something_injected_makes_longer_are_foreign(
    spec: Json, expected: set[str], names: tuple[str, ...]
) -> None:
    """The SLI is one of them where one of its parts is."""
    found = measured(changed(a_document(), **spec))
    assert (expected, names, Quality.FOREIGN) == (foreign(found), found.injected, found.quality)


def test_a_readiness_probe_of_khealths_own_makes_nothing_foreign() -> None:
    """A canary that answers others is Ready once it does."""
    own = {**OWN, "readinessProbe": {"httpGet": {"path": "/ready", "port": 8079, "scheme": "HTTP"}}}
    assert Quality.EXACT is measured(changed(a_document(), containers=[own])).quality


@pytest.mark.parametrize(
    "document",
    [
        a_document(),
        a_document(annotations={"sidecar.istio.io/status": "{}"}, labels={"team": "a"}),
        changed(a_document(), initContainers=[], readinessGates=None, volumes=[]),
        changed(a_document(), volumes=[{"name": "ca", "configMap": {"name": "ca"}}, {"name": "tmp", "emptyDir": {}}]),
        changed(
            a_document(), containers=[{**OWN, "image": "mirror.example/pause", "env": [{"name": "A", "value": "b"}]}]
        ),
        changed(a_document(), ephemeralContainers=[{"name": "debugger", "image": "busybox"}]),
        changed(a_document(), schedulerName="other", tolerations=[{"operator": "Exists"}]),
    ],
)
def test_what_makes_no_step_longer_changes_no_grade(document: Json) -> None:
    """Annotations, labels, an image's mirror, variables, and the volumes that a stateless pod may have."""
    found = measured(document)
    assert (set(), (), Quality.EXACT) == (foreign(found), found.injected, found.quality)


def test_what_khealth_asks_for_is_not_injected() -> None:
    """Its own specification, as it is sent."""
    assert () == measured(changed(a_document(), **pod_spec(PodSettings(), {"a": "b"}))).injected


def test_a_scheduling_gate_that_is_gone_is_remembered() -> None:
    """The controller that removes it decides how long the pod waits, not the scheduler."""
    found = measured(a_document(), gated=True)
    assert ({"schedule", "startup"}, ("scheduling gate",)) == (foreign(found), found.injected)


@pytest.mark.parametrize(
    ("upto", "expected"),
    [(1, set()), (2, set()), (3, {"start", "startup"}), (4, {"start", "startup", "ready"})],
)
def test_a_stuck_pods_startup_counts_until_it_comes_to_what_was_injected(upto: int, expected: set[str]) -> None:
    """A scheduler or a sandbox that hangs is the cluster's, whatever containers would have come later."""
    found = measured(changed(a_document(), containers=[OWN, PROXY]), upto=upto, deadline=20.0)
    assert expected == foreign(found)


def test_a_gated_pod_that_is_never_scheduled_breaks_no_objective() -> None:
    """It is not schedulable in the sense of the SLI."""
    assert {"schedule", "startup"} == foreign(measured(a_document(), gated=True, upto=1, deadline=20.0))


def test_a_volume_counts_as_part_of_the_start_where_no_sandbox_is_shown() -> None:
    """Kubelets before Kubernetes 1.29 do not tell when a sandbox is ready."""
    document = changed(a_document(), volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}])
    trace: Trace[Pod] = Trace(WAY, a_pod(document))
    bare = [
        document,
        bound(document),
        status_of(containers(document, running(document)["status"]["containerStatuses"][0])),
    ]
    bare[2]["status"]["conditions"] = []
    for second, shown in enumerate(bare):
        trace.take(a_pod(shown), Moment(float(second)), removed=False)
    assert {"start", "startup"} == foreign(sample(trace, steps(trace), Clock()))


def test_both_parts_of_a_sample_name_what_was_injected_once() -> None:
    """What init and cleanup measured of one pod is one sample."""
    found = measured(changed(a_document(), initContainers=[INIT]))
    assert ("init container istio-init",) == found.joined(found).injected


def test_a_degraded_sample_stays_degraded_beside_foreign_steps() -> None:
    """KhealthBlind must see that khealth is late, although a mesh injects everywhere."""
    trace: Trace[Pod] = Trace(WAY, a_pod(changed(a_document(), initContainers=[INIT])))
    trace.take(trace.item, Moment(0.0), removed=False)
    found = [Measurement(step, 1.0, 0.0, Quality.DEGRADED) for step in (span.step for span in WAY.spans)]
    assert Quality.DEGRADED is sample(trace, found, Clock()).quality
