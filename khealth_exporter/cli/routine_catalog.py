"""The catalog of modules and routines, taken from the classes: as data, as text and as JSON."""

import inspect
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from khealth_exporter.cluster.kinds import Kind
from khealth_exporter.config import Installed, Setting, off_because, settings_of
from khealth_exporter.core.routine import Routine
from khealth_exporter.modules import Module
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reading import Figure
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.step import Step


@dataclass(frozen=True, slots=True)
class RoutineDescription:
    """What a kind of routine does, measures, reports, takes and needs.

    `makes`, `watches` and `reads` are names of Kubernetes kinds. `off_because` says why the routine is off by default;
    it is empty for a routine that is on.
    """

    name: str
    meaning: str
    off_because: str
    steps: tuple[Step, ...]
    reasons: tuple[Reason, ...]
    figures: tuple[Figure, ...]
    settings: tuple[Setting, ...]
    permissions: tuple[Permission, ...]
    makes: tuple[str, ...]
    watches: tuple[str, ...]
    reads: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModuleDescription:
    """A module and its routines; one that is not the `default` runs only if it is configured or named."""

    name: str
    meaning: str
    default: bool
    routines: tuple[RoutineDescription, ...]


def describe(module: Module) -> ModuleDescription:
    """Return the description of a module."""
    routines = tuple(_routine(module, kind) for kind in module.routines)
    return ModuleDescription(module.name, module.meaning, module.default, routines)


def _routine(module: Module, kind: type[Routine[Any]]) -> RoutineDescription:
    return RoutineDescription(
        kind.name,
        (inspect.getdoc(kind) or "").partition("\n")[0],
        off_because(module, kind),
        kind.steps,
        kind.all_reasons(),
        kind.figures,
        settings_of(kind.Settings),
        kind.all_permissions(),
        _names(kind.makes),
        _names(kind.watches),
        _names(kind.reads),
    )


def _names(kinds: Iterable[Kind[Any]]) -> tuple[str, ...]:
    return tuple(kind.name for kind in kinds)


def as_json(modules: Sequence[Module], shared: Sequence[Permission], offered: Sequence[Installed] = ()) -> str:
    """Return the catalog as one JSON document; `shared` are the permissions that every routine needs.

    `offered` are modules of installed packages, which are off and not imported.
    """
    document = {
        "modules": [_module_document(describe(module)) for module in modules],
        "permissions": [asdict(permission) for permission in shared],
        "installed": [{"module": one.name, "package": one.package} for one in offered],
    }
    return json.dumps(document, indent=2)


def _module_document(module: ModuleDescription) -> dict[str, object]:
    return {
        "module": module.name,
        "meaning": module.meaning,
        "default": module.default,
        "routines": [_document(routine) for routine in module.routines],
    }


def _document(routine: RoutineDescription) -> dict[str, object]:
    return {
        "kind": routine.name,
        "meaning": routine.meaning,
        "default": not routine.off_because,
        "off_because": routine.off_because or None,
        "steps": [_step_document(step) for step in routine.steps],
        "reasons": [
            {"reason": reason.value, "component": reason.component, "result": reason.result.value}
            for reason in routine.reasons
        ],
        "figures": [{"metric": f"khealth_{figure.name}", "meaning": figure.meaning} for figure in routine.figures],
        "settings": [asdict(setting) for setting in routine.settings],
        "permissions": [asdict(permission) for permission in routine.permissions],
        "makes": routine.makes,
        "watches": routine.watches,
        "reads": routine.reads,
    }


def _step_document(step: Step) -> dict[str, object]:
    return {
        "step": step.name,
        "component": step.component.value,
        "meaning": step.meaning,
        "edges": step.edges,
        "objective": asdict(step.objective) if step.objective else None,
        "sli": step.sli,
    }


def as_text(modules: Sequence[Module], shared: Sequence[Permission], offered: Sequence[Installed] = ()) -> str:
    """Return the catalog for people; `shared` and `offered` are as for `as_json`."""
    lines = [line for module in modules for line in _module_lines(describe(module))]
    rights = _table("permissions that every routine needs", map(_permission, shared))
    rows = (_Row(one.name, f"package {one.package}", "off until the configuration names it") for one in offered)
    return "\n".join((*lines, *rights, *_table("modules of installed packages", rows)))


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    what: str
    meaning: str = ""


def _module_lines(module: ModuleDescription) -> Iterator[str]:
    yield f"{module.name}: {module.meaning}"
    for routine in module.routines:
        yield from ("", f"  {routine.name}: {routine.meaning}")
        if routine.off_because:
            yield f"    off by default: {routine.off_because}"
        yield ""
        yield from _table("steps", map(_step, routine.steps))
        yield from _table("reasons", map(_reason, routine.reasons))
        yield from _table("gauges", (_Row(f"khealth_{f.name}", f.meaning) for f in routine.figures))
        yield from _table("settings", map(_setting, routine.settings))
        yield from _table("permissions", map(_permission, routine.permissions))


def _table(title: str, rows: Iterator[_Row]) -> Iterator[str]:
    """Yield a table, with an empty line after it; nothing if it has no rows."""
    found = list(rows)
    if not found:
        return
    name, what = max(len(row.name) for row in found), max(len(row.what) for row in found)
    yield f"    {title}"
    yield from (f"      {row.name:{name}}  {row.what:{what}}  {row.meaning}".rstrip() for row in found)
    yield ""


def _step(step: Step) -> _Row:
    objective = step.objective
    target = (
        f"; objective: {100 * objective.share:.4g}% within {objective.seconds:g} s ({objective.source})"
        if objective
        else ""
    )
    return _Row(step.name, step.component.value, step.meaning + target)


def _reason(reason: Reason) -> _Row:
    return _Row(reason.value, reason.component or "as the step", reason.result.value)


def _setting(setting: Setting) -> _Row:
    if setting.required:
        return _Row(setting.name, f"{setting.type}, required", setting.meaning)
    default = setting.default if isinstance(setting.default, str) and setting.default else json.dumps(setting.default)
    return _Row(setting.name, f"{setting.type}, default {default}", setting.meaning)


def _permission(permission: Permission) -> _Row:
    marks = {
        "optional": permission.optional,
        "outside the cluster only": permission.outside,
        f"with {permission.when}: true": bool(permission.when),
    }
    where = ", ".join((permission.scope, *(mark for mark, true in marks.items() if true)))
    return _Row(str(permission), where, permission.why)
