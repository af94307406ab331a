"""The configuration that khealth runs with."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from khealth_exporter.canaries.agents.settings import AgentsSettings
from khealth_exporter.core.routine import Routine, RoutineConfig
from khealth_exporter.modules import Module
from khealth_exporter.vocabulary.settings import (
    NEVER,
    CanarySettings,
    KuberhealthySettings,
    MeasurementSettings,
    ModuleSettings,
)

MASK = "**********"
"""In place of what must not be shown."""
CANARY_IMAGE = "canary.image"
"""The path of a key that some routines need, and that is none of their own."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The namespace of a running khealth, and the default that it uses if the configuration names none."""

    namespace: str
    chosen: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A routine that does not run because settings without a default are `missing`; `missing` holds their keys.

    CANARY_IMAGE stands for the image of canaries.
    """

    module: str
    label: str
    missing: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the routine as `module/routine`."""
        return f"{self.module}/{self.label}"

    @property
    def problems(self) -> tuple[str, ...]:
        """Return one message for each missing key, with the path of the key in the file."""
        inside = f"modules.{self.module}.{self.label}."
        image = f"{CANARY_IMAGE} is missing: say --config FILE with khealth's own image in it"
        return tuple(image if key == CANARY_IMAGE else f"{inside}{key} is missing" for key in self.missing)


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration; `namespace` is None if khealth chooses it, `file` is "" if there is no file.

    `left_out` lists routines of modules that are configured or named, which lack a required setting. `digest`
    identifies the content of the file.
    """

    namespace: str | None
    measurement: MeasurementSettings
    routines: tuple[RoutineConfig, ...]
    file: str
    digest: str = field(default="", compare=False)
    left_out: tuple[LeftOut, ...] = field(default=(), compare=False)
    canary: CanarySettings = field(default_factory=CanarySettings)
    agents: AgentsSettings = field(default_factory=AgentsSettings)
    kuberhealthy: KuberhealthySettings = field(default_factory=KuberhealthySettings)
    installed: tuple[Module, ...] = field(default=(), compare=False)
    """Modules of installed packages that the file names."""

    def without_suspended(self, named: Collection[str], now: float) -> tuple["Config", tuple[RoutineConfig, ...]]:
        """Return the configuration without routines suspended `now`, in Unix seconds, and the routines removed.

        A suspended routine whose name, ROUTINE or MODULE/ROUTINE, is in `named` is kept and runs.
        """
        removed = tuple(
            routine
            for routine in self.routines
            if routine.settings.suspended_at(now) and named_by(routine.module, routine.label).isdisjoint(named)
        )
        kept = tuple(_resumed(routine) for routine in self.routines if routine not in removed)
        return replace(self, routines=kept), removed

    def as_yaml(self) -> str:
        """Return a configuration file with the same content and with all defaults filled in.

        Durations are written as strings; a setting of pydantic's type `SecretStr` is masked.
        """
        modules: dict[str, dict[str, object]] = {}
        for routine in self.routines:
            kind = {} if routine.label == routine.kind.name else {"kind": routine.kind.name}
            settings = routine.settings.model_dump(mode="json", by_alias=True)
            modules.setdefault(routine.module, {})[routine.label] = {**kind, **settings}
        document = {
            "namespace": self.namespace,
            "measurement": self.measurement.model_dump(mode="json", by_alias=True),
            "canary": self.canary.model_dump(mode="json", by_alias=True),
            "agents": self.agents.model_dump(mode="json", by_alias=True),
            "kuberhealthy": self.kuberhealthy.model_dump(mode="json", by_alias=True),
            "modules": modules,
        }
        return yaml.safe_dump(_masked(document), sort_keys=False, allow_unicode=True, width=120)


def _masked(part: Any) -> Any:  # noqa: ANN401 - whatever a document is made of
    """Return a part of a document without values of environment variables, and without the queries of URLs."""
    if isinstance(part, list):
        return [_masked(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    inner = {key: _masked(value) for key, value in part.items()}
    if isinstance(env := inner.get("env"), list):
        inner["env"] = [{**one, "value": MASK} if isinstance(one, dict) and "value" in one else one for one in env]
    if isinstance(url := inner.get("url"), str) and "?" in url:
        inner["url"] = f"{url.partition('?')[0]}?{MASK}"
    return inner


def lacks_image(kind: type[Routine[Any]], image: str, agents: AgentsSettings) -> bool:
    """Tell whether a kind of routine cannot run with this image of canaries, or without: agents need it too."""
    return (kind.needs_canary and not image) or (kind.needs_agents and not agents.can_run(image))


def named_by(module: str, label: str) -> frozenset[str]:
    """Return the names that select this one routine on the command line; the module's name selects more."""
    return frozenset({label, f"{module}/{label}"})


def suspended_with(routine: RoutineConfig, module: ModuleSettings) -> RoutineConfig:
    """Return the routine, suspended as long as itself or its module says."""
    own = routine.settings
    suspend = own.suspend or module.suspend  # Without an end: then another end does not matter.
    until = NEVER if suspend else max(own.suspend_until, module.suspend_until)
    return _with(routine, suspend=suspend, suspend_until=until)


def _resumed(routine: RoutineConfig) -> RoutineConfig:
    return _with(routine, suspend=False, suspend_until=NEVER)


def _with(routine: RoutineConfig, **settings: object) -> RoutineConfig:
    return replace(routine, settings=routine.settings.model_copy(update=settings))
