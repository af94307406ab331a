"""The steps and the reasons that the code knows: components in words, and the same colors in every panel."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from khealth_exporter.modules import MODULES
from khealth_exporter.routines.rcscheduler import RcScheduler
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.reason import Reason

PART: Mapping[str, str] = MappingProxyType(
    {component.value: component.value.replace("_", " ") for component in Component}
)
COLORS: Mapping[str, str] = MappingProxyType(
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
POD_STEPS = tuple(step for step in RcScheduler.steps if not step.sli)
"""The steps of a pod that a controller makes."""
START = tuple(step.name for step in RcScheduler.steps if not step.sli and not step.teardown)
"""What a start consists of, from our write on."""

SHADES: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "api_server": ("#F2495C", "#AD0317", "#FF7383", "#C4162A", "#FFA6B0", "#E02F44"),
        "controller_manager": ("#5794F2", "#1F60C4", "#8AB8FF"),
        "scheduler": ("#B877D9", "#DEB6F2"),
        "node": ("#FF9830", "#FADE2A", "#FA6400", "#FFCB7D", "#E0B400", "#FF780A", "#FFF899", "#B87700", "#FFB357"),
        "registry": ("#56A6B0",),
        "dns": ("#6ED0E0", "#0A437C"),
        "network": ("#447EBC", "#0A50A1", "#82B5D8"),
        "storage": ("#705DA0", "#614D93", "#D683CE"),
        "": ("#FFCC66",),
        "khealth": ("#8e8e8e", "#5f5f5f", "#b5b5b5", "#464646", "#d0d0d0", "#707070"),
    }
)
"""Of the reasons that belong to a component, or to none of their own, in turn: none is green."""


def reasons() -> Mapping[str, str]:
    """Return every reason's color."""
    found: dict[str, str] = {}
    for component, shades in SHADES.items():
        own = [reason.value for reason in Reason if (reason.component or "") == component]
        found |= {reason: shades[number % len(shades)] for number, reason in enumerate(own)}
    return found


def steps() -> Sequence[tuple[str, str]]:
    """Return the name of every step that a routine measures, with its components in words: of each routine its own."""
    found: dict[str, dict[str, None]] = {}
    for step in (step for module in MODULES for kind in module.routines for step in kind.steps if not step.sli):
        found.setdefault(step.name, {})[PART[step.component]] = None
    return [(name, " or ".join(components)) for name, components in found.items()]
