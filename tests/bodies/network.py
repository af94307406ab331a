"""What the routines of the network say of a healthy cluster, whose agents khealth runs itself."""

from bodies.attempts import repeated
from bodies.target import Target

WELL = {"dns", "latency", "service"}
STEPS = {
    "dns": {"resolve", "service", "tcp", "missing", "server", "propagate"},
    "latency": {"pod_pod", "pod_service", "pod_api", "large"},
    "service": {"publish", "program", "unprogram"},
}


def test_the_network_is_well_and_nothing_is_left(target: Target) -> None:
    """Agents are made, asked through the API server, and removed with their Secret; every step is timed."""
    found = target.every(target.network(), *(f"network/{name}" for name in sorted(WELL)))
    assert (0, WELL) == (found.code, found.well), found.told
    timed = {
        one["routine"]: {step for step, took in one["steps"].items() if took is not None} for one in found.attempts
    }
    assert {} == {name: steps - timed[name] for name, steps in STEPS.items() if steps - timed[name]}
    assert [] == target.objects()


def test_the_networks_of_nodes_are_measured_beside_that_of_pods(target: Target) -> None:
    """Pod Security must allow it; the second agents of the nodes are removed like the first ones."""
    privileged = {"pod-security.kubernetes.io/enforce": "privileged"}
    target.core.patch_namespace(target.namespace, {"metadata": {"labels": privileged}})
    settings = target.network(agents={"host_network": True})
    found = repeated(
        lambda: target.attempt(settings, "network/latency"),
        lambda found: found.spoiled or found.attempt["steps"]["host_host"] is None,
    )
    assert (0, {"latency"}) == (found.code, found.well), found.told
    assert found.attempt["steps"]["host_host"] is not None, found.attempt
    assert found.attempt["counts"]["host_host"] == found.attempt["counts"]["pod_pod"] * 2 / 3, found.attempt
    assert [] == target.objects()


def test_agents_that_pod_security_refuses_are_told_and_fail_nothing(target: Target) -> None:
    """The namespace is restricted: the network of pods is measured, and that of the nodes is not."""
    found = target.every(target.network(agents={"host_network": True}), "network/latency")
    assert (0, {"latency"}) == (found.code, found.well), found.told
    assert "violates PodSecurity" in found.attempt["remarks"]["outside the network of pods"], found.attempt
    assert [] == target.objects()
