"""The table of contents: every module, and the routines in it."""

from dataclasses import dataclass
from typing import Any

from khealth_exporter.core.routine import Routine
from khealth_exporter.routines.admission import Admission
from khealth_exporter.routines.api import Api
from khealth_exporter.routines.check import Check
from khealth_exporter.routines.collect import Collect
from khealth_exporter.routines.config import Config
from khealth_exporter.routines.controllers import Controllers
from khealth_exporter.routines.deployment import DeploymentRoutine
from khealth_exporter.routines.disk import Disk
from khealth_exporter.routines.dns import Dns
from khealth_exporter.routines.egress import Egress
from khealth_exporter.routines.job import JobRoutine
from khealth_exporter.routines.latency import Latency
from khealth_exporter.routines.pod import PodRoutine
from khealth_exporter.routines.policy import Policy
from khealth_exporter.routines.rcscheduler import RcScheduler
from khealth_exporter.routines.service import ServiceRoutine
from khealth_exporter.routines.volume import Volume


@dataclass(frozen=True, slots=True)
class Module:
    """A named set of routines, which run under the names of their classes unless the configuration lists others.

    A module that is not the `default` runs only if the configuration mentions it or the command line names it, so that
    an upgrade never starts to create volumes. `opt_in` names the kinds that run only if they are listed.
    """

    name: str
    meaning: str
    routines: tuple[type[Routine[Any]], ...]
    default: bool = True
    opt_in: tuple[str, ...] = ()

    def off_because(self, kind: type[Routine[Any]]) -> str:
        """Return why a kind does not run by default, whatever is configured; empty if it does."""
        if not self.default:
            return f"module {self.name} is off by default"
        return "it runs only if the configuration lists it" if kind.name in self.opt_in else ""


MODULES: tuple[Module, ...] = (
    Module(
        "rcscheduler",
        "a ReplicationController's pods are created, scheduled, started, held and deleted",
        (RcScheduler,),
    ),
    Module(
        "control-plane",
        "the API server answers and shows what was written, admission runs, and controllers act",
        (Api, Admission, Controllers),
    ),
    Module(
        "workloads",
        "pods run on every node, Jobs compute, Deployments roll out; what belongs to deleted objects is collected",
        (PodRoutine, JobRoutine, DeploymentRoutine, Collect),
        opt_in=("deployment", "collect"),
    ),
    Module(
        "storage",
        "disks keep what is written, volumes are provisioned and deleted, mounted configuration follows its source",
        (Disk, Volume, Config),
        default=False,
    ),
    Module(
        "network",
        "what pods feel of the network: names, Services, latency, policies, and what is outside",
        (
            Dns,
            ServiceRoutine,
            Latency,
            Policy,
            Egress,
        ),
        default=False,
    ),
    Module(
        "custom",
        "checks of the user's own: any Pod or Job that says whether what it looked at is healthy",
        (Check,),
        default=False,
    ),
)
