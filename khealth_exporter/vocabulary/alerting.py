"""How a user's own check reaches alerts."""

from dataclasses import dataclass
from enum import StrEnum

from khealth_exporter.vocabulary.component import Component


class Severity(StrEnum):
    """What a failed check means to its user: a page, a ticket, or a line on a dashboard."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Alerting:
    """How a check that fails is told: how much it matters, and the component that its user looks at first."""

    severity: Severity
    component: Component
