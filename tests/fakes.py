"""Stand-ins for what is outside of a unit: an API server in memory, and telemetry that can be read."""

from prometheus_client import CollectorRegistry

from khealth_exporter.clock import Clock
from khealth_exporter.metrics import Metrics


class Telemetered:
    """Metrics in a registry of their own, and a way to read them."""

    def __init__(self, clock: Clock) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry, clock)

    def value(self, name: str, **labels: str) -> float | None:
        """Return one series' value, None where it is absent."""
        return self.registry.get_sample_value(name, labels)

    def total(self, name: str) -> float:
        """Return the sum over all series of a name."""
        return sum(s.value for family in self.registry.collect() for s in family.samples if s.name == name)
