"""A small Kubernetes API server in memory, with controllers, nodes and injectable faults."""

from khealth_exporter.simulator.faults import FAULTS
from khealth_exporter.simulator.request_log import RequestRecord
from khealth_exporter.simulator.settings import Delay, Delays, Denial, SimulatorSettings
from khealth_exporter.simulator.simulator import Simulator
from khealth_exporter.simulator.truth import PodTruth

__all__ = [
    "FAULTS",
    "Delay",
    "Delays",
    "Denial",
    "PodTruth",
    "RequestRecord",
    "Simulator",
    "SimulatorSettings",
]
