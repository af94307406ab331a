"""What the routines of the network say of a healthy cluster, whose agents khealth runs itself."""

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
