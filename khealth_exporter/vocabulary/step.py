"""What a routine times."""

from dataclasses import dataclass

from khealth_exporter.vocabulary.component import Component


@dataclass(frozen=True, slots=True)
class Step:
    """A leg of the way that is timed, and the component that it measures."""

    name: str
    component: Component
    meaning: str
