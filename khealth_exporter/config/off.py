"""The routines that do not run, and why."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from khealth_exporter.canaries.agents.settings import AgentsSettings
from khealth_exporter.config.config import CANARY_IMAGE, Config, lacks_image
from khealth_exporter.config.schema import missing_in
from khealth_exporter.core.routine import Routine
from khealth_exporter.modules import MODULES, Module

_OTHERS = "the configuration or the command line names others"


@dataclass(frozen=True, slots=True)
class Off:
    """A kind of routine that does not run; `why` is a text without a full stop."""

    module: str
    routine: str
    why: str


def off_routines(config: Config, modules: Sequence[Module] = MODULES) -> Iterator[Off]:
    """Yield the kinds that run under no name with a configuration, in the order of their modules."""
    running = {(routine.module, routine.kind.name) for routine in config.routines}
    for module in (*modules, *config.installed):
        for kind in module.routines:
            if (module.name, kind.name) not in running:
                yield Off(
                    module.name, kind.name, off_because(module, kind, config.canary.image, config.agents) or _OTHERS
                )


def off_because(module: Module, kind: type[Routine[Any]], image: str = "", agents: AgentsSettings | None = None) -> str:
    """Return why a kind of routine is off by default, given the canaries' image; an empty text if it is on."""
    if missing := missing_in(kind.Settings):
        settings = "a required setting" if len(missing) == 1 else "required settings"
        return f"it has {settings}: {', '.join(missing)}"
    without = ", and no agents of the chart run (agents.own: false)" if kind.needs_agents else ""
    lacking = f"{CANARY_IMAGE} is not set{without}" if lacks_image(kind, image, agents or AgentsSettings()) else ""
    return ", and ".join(filter(None, (lacking, module.off_because(kind))))
