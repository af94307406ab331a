"""The steps of a pod's way, as the code knows them: their components in words, and their colours."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from khealth_exporter.event import Component
from khealth_exporter.modules import MODULES

PART: Mapping[str, str] = MappingProxyType(
    {component.value: component.value.replace("_", " ") for component in Component}
)
COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "accept": "#8f8f8f",
        "create": "#5794F2",
        "schedule": "#B877D9",
        "sandbox": "#FADE2A",
        "start": "#FF9830",
        "ready": "#73BF69",
        "delete": "#56A6B0",
    }
)
"""Of a pod's steps, in the order in which it goes through them; those of other routines get what is free."""
START = tuple(name for name in COLOURS if name != "delete")
"""What a start consists of, from our write on."""


def steps() -> Sequence[tuple[str, str]]:
    """Return every step that a routine measures, with its component in words."""
    found = {
        step.name: PART[step.component.value] for module in MODULES for kind in module.routines for step in kind.steps
    }
    return [(name, component) for name, component in found.items() if name != "startup"]
