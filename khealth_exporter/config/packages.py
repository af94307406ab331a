"""Routines from installed packages: found by their entry points, imported only if the configuration names them."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import TypeAdapter

from khealth_exporter.config.problem import Problem
from khealth_exporter.config.schema import Found, settings_of
from khealth_exporter.core.routine import Routine, RoutineConfig, RoutineSettings
from khealth_exporter.modules import Module
from khealth_exporter.vocabulary.settings import ModuleSettings, Name
from khealth_exporter.vocabulary.step import Step

GROUP = "khealth.routines"
"""The group of the entry points: each has a module's name, and leads to a Module or to a class of Routine."""
_NAME: TypeAdapter[str] = TypeAdapter(Name)
_LONGEST = 300
"""Characters that are kept of what went wrong."""


class UnusableError(Exception):
    """A package cannot be used; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A module that an installed package offers; `package` is the package's name with its version."""

    name: str
    package: str
    point: EntryPoint

    def load(self) -> Module:
        """Import the module, and return it; raise UnusableError. It runs the package's code."""
        try:
            return _checked(self.name, self.point.load())
        except UnusableError as error:
            raise UnusableError(f"package {self.package}: {error}") from error
        except (Exception, SystemExit) as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]
            raise UnusableError(f"package {self.package} cannot be imported: {said}") from error


def installed() -> tuple[Installed, ...]:
    """Return what installed packages offer, by name; nothing is imported."""
    found = (Installed(point.name, _package(point), point) for point in entry_points(group=GROUP))
    # A package that is installed twice in the path is one: the first counts when it is imported.
    return tuple(sorted(dict.fromkeys(found), key=lambda one: (one.name, one.package)))


def named(found: Found | None, own: Sequence[Module]) -> tuple[tuple[Module, ...], tuple[Problem, ...]]:
    """Return the modules of packages that a file names under `modules`, and an error for each that cannot be used."""
    if found is None or not found.value.entries:
        return (), ()
    offered = installed()
    modules: list[Module] = []
    problems: list[Problem] = []
    for name, value in found.value.entries.items():
        try:
            modules += _named(name, offered, own)
        except UnusableError as error:
            problems.append(found.problem(str(error), value.key, name))
    return tuple(modules), tuple(problems)


def _named(name: str, offered: Sequence[Installed], own: Sequence[Module]) -> Iterator[Module]:
    """Yield the module of this name, imported, if a package offers it; raise UnusableError.

    A name that khealth itself or several packages have is refused: nobody could tell what runs.
    """
    found = [one for one in offered if one.name == name]
    if not found:
        return
    packages = ", ".join(one.package for one in found)
    if name in {module.name for module in own}:
        raise UnusableError(f"package {packages} offers a module that khealth itself has: uninstall the package")
    if len(found) > 1:
        raise UnusableError(f"several packages offer this module: {packages}")
    yield found[0].load()


def unusable(routine: RoutineConfig, found: Found) -> Iterator[Problem]:
    """Yield an error if a routine cannot say what it is with its settings."""
    try:
        _check_steps(routine.steps)
        routine.kind.watched(routine.settings)
        routine.kind.alerting(routine.settings)
    except Exception as error:  # noqa: BLE001 - whatever a package's code raises
        yield found.problem(f"the routine cannot be used with these settings: {type(error).__name__}: {error}")


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "of unknown name"


def _checked(name: str, offered: object) -> Module:
    _NAME.validate_python(name)
    if isinstance(offered, type) and issubclass(offered, Routine):
        meaning = (inspect.getdoc(offered) or "").partition("\n")[0]
        offered = Module(name, meaning, (offered,), default=False)
    if not isinstance(offered, Module):
        raise UnusableError(f"{offered!r} is neither a Module nor a class of Routine"[:_LONGEST])
    if offered.name != name:
        raise UnusableError(f"its module is called {offered.name}, and its entry point {name}")
    if not offered.routines or len({kind.name for kind in offered.routines}) < len(offered.routines):
        raise UnusableError("its module has no routines, or several of one name")
    for kind in offered.routines:
        _check(name, kind)
    return offered


def _check(name: str, kind: type[Routine[Any]]) -> None:
    """Raise UnusableError, or whatever the class raises, if khealth could not run a routine."""
    if not issubclass(kind, Routine) or inspect.isabstract(kind):
        raise UnusableError(f"{kind!r} is no class of Routine, or an abstract one")
    if kind.name in ModuleSettings.model_fields:
        raise UnusableError(f"a routine cannot be called {kind.name}")
    _NAME.validate_python(kind.name)
    if not issubclass(kind.Settings, RoutineSettings):
        raise UnusableError(f"Settings of {kind.name} is no class of RoutineSettings")
    settings_of(kind.Settings)
    _check_steps(kind.steps)
    prefix = f"{name.replace('-', '_')}_"
    for figure in kind.figures:
        if not figure.name.startswith(prefix):
            raise UnusableError(f"figure {figure.name} must begin with {prefix}, so that it is no one else's metric")
    kind.all_reasons(), kind.all_permissions(), kind.sweeps(), int(kind.writes)


def _check_steps(steps: Sequence[Step]) -> None:
    names = [step.name for step in steps if isinstance(step, Step)]
    if len(set(names)) < len(steps):
        raise UnusableError("steps must be Steps, each with a name of its own")
