"""Whether the rights that the chart grants are enough, on the simulator."""

from collections.abc import Collection
from dataclasses import replace

import pytest
from bodies.attempts import SPOILED, repeated_async
from bodies.everything import everything
from prometheus_client import CollectorRegistry

from deploy.generate import catalogue
from khealth_exporter.app import commands as app
from khealth_exporter.cluster.credentials.credentials import plain_credentials
from khealth_exporter.core.metrics import Metrics
from khealth_exporter.measure.clock import Clock
from khealth_exporter.modules import MODULES
from khealth_exporter.simulator import Simulator, SimulatorSettings
from khealth_exporter.simulator.resources import RESOURCES
from khealth_exporter.simulator.settings import Denial
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.verdict import Verdict

TIMEOUT = 15.0
"""Seconds that bound the attempt of a routine if the cluster has a fault."""
ALL = tuple(kind.name for module in MODULES for kind in module.routines)
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")


def denials() -> tuple[Denial, ...]:
    """Return all that the default roles do not grant."""
    told = catalogue()
    granted = {
        (permission["verb"], permission["resource"])
        for part in (told, *(kind for module in told["modules"].values() for kind in module["routines"].values()))
        for permission in part["permissions"]
    }
    return tuple(
        Denial("khealth", verb, resource.plural)
        for verb in VERBS
        for resource in RESOURCES
        if (verb, resource.plural) not in granted
    )


async def attempted(waiting: Collection[str], fault: str | None) -> tuple[dict[str, Verdict], set[str]]:
    """Return what one attempt of each routine found with these rights, and what was refused on the way."""
    settings = SimulatorSettings(
        namespaces=("khealth",), speed=10.0, tokens=(("khealths", "khealth"),), denials=denials()
    )
    async with Simulator(settings) as simulator:
        if fault:
            simulator.begin(fault)
        credentials = plain_credentials(simulator.url, token="khealths", namespace="khealth")
        metrics = Metrics(CollectorRegistry(), clock := Clock())
        options = app.Options(replace(everything(waiting, TIMEOUT), namespace="khealth"))
        found = await app.once(options, process=app.Process(clock, metrics), credentials=credentials)
        samples = [sample for family in metrics.registry.collect() for sample in family.samples]
        refused = {
            f"{sample.labels['verb']} {sample.labels['resource']}"
            for sample in samples
            if sample.labels.get("code") == "403" and sample.value
        }
    statuses = (status for snapshot in found.snapshots for status in snapshot.routines)
    return {status.routine: verdict for status in statuses if (verdict := status.attempts[0].verdict)}, refused


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (None, None),
        ("deletion-stuck", Reason.KUBELET_SILENT),
        ("controller-stalled", Reason.POD_NOT_CREATED),
        ("scheduler-stalled", Reason.POD_NOT_SCHEDULED),
    ],
)
async def test_the_rights_of_the_chart_are_enough(fault: str | None, reason: Reason | None) -> None:
    """For a good attempt, and for diagnosis and cleanup without a kubelet or the controller manager.

    Nothing is refused.
    """
    verdicts, refused = await repeated_async(
        lambda: attempted(ALL if fault else (), fault),
        # With a fault, how far the others come in their time depends on the machine.
        lambda made: any(made[0][name].reason in SPOILED for name in (["rcscheduler"] if fault else ALL)),
    )
    judged = verdicts["rcscheduler"]
    assert (reason, set()) == (judged.reason, refused), judged.note
    unknown = {verdict.reason for verdict in verdicts.values() if verdict.result is Result.INCONCLUSIVE}
    assert set() == (unknown & {Reason.FORBIDDEN, Reason.INTERNAL_ERROR} if fault else unknown)
