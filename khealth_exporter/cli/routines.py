"""`khealth routines`: what there is to run, taken from the classes themselves."""

import inspect
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from khealth_exporter.config import Setting, settings_of
from khealth_exporter.core.routine import Routine
from khealth_exporter.modules import Module
from khealth_exporter.vocabulary.permission import Permission


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table: a name, and what there is to say of it."""

    name: str
    what: str
    meaning: str = ""


def as_json(modules: tuple[Module, ...], shared: tuple[Permission, ...]) -> str:
    """Return every module and kind of routine as one JSON document; `shared` is what all of them need besides."""
    document = [
        {"module": m.name, "meaning": m.meaning, "routines": [_document(kind) for kind in m.routines]} for m in modules
    ]
    permissions = [asdict(permission) for permission in shared]
    return json.dumps({"modules": document, "permissions": permissions}, indent=2)


def _document(kind: type[Routine[Any]]) -> dict[str, object]:
    return {
        "kind": kind.name,
        "meaning": _meaning(kind),
        "steps": [{"step": s.name, "component": s.component.value, "meaning": s.meaning} for s in kind.steps],
        "reasons": [
            {"reason": r.value, "component": r.component and r.component.value, "result": r.result.value}
            for r in kind.all_reasons()
        ],
        "settings": [asdict(setting) for setting in settings_of(kind.Settings)],
        "permissions": [asdict(permission) for permission in kind.all_permissions()],
    }


def as_text(modules: tuple[Module, ...], shared: tuple[Permission, ...]) -> str:
    """Return every module and kind of routine for people; `shared` is what all of them need besides."""
    lines = [line for module in modules for line in _module(module)]
    return "\n".join((*lines, "", *_table("permissions that all of them need", [_permission(one) for one in shared])))


def _module(module: Module) -> Iterator[str]:
    yield f"{module.name}: {module.meaning}"
    for kind in module.routines:
        yield from ("", f"  {kind.name}: {_meaning(kind)}")
        yield ""
        yield from _table("steps", [Row(s.name, s.component.value, s.meaning) for s in kind.steps])
        yield ""
        yield from _table(
            "reasons",
            [Row(r.value, r.component or "-", r.result.value) for r in kind.all_reasons()],
        )
        yield ""
        yield from _table("settings", [_setting(setting) for setting in settings_of(kind.Settings)])
        yield ""
        yield from _table("permissions", [_permission(permission) for permission in kind.all_permissions()])


def _table(title: str, rows: list[Row]) -> Iterator[str]:
    yield f"    {title}"
    name = max((len(row.name) for row in rows), default=0)
    what = max((len(row.what) for row in rows), default=0)
    yield from (f"      {row.name:{name}}  {row.what:{what}}  {row.meaning}".rstrip() for row in rows)


def _setting(setting: Setting) -> Row:
    default = setting.default if isinstance(setting.default, str) and setting.default else json.dumps(setting.default)
    return Row(setting.name, f"{setting.type}, default {default}", setting.meaning)


def _permission(permission: Permission) -> Row:
    resource = f"{permission.resource}.{permission.group}" if permission.group else permission.resource
    said = {"optional": permission.optional, "outside of the cluster": permission.outside}
    where = ", ".join((permission.scope, *(word for word, true in said.items() if true)))
    return Row(f"{permission.verb} {resource}", where, permission.why)


def _meaning(kind: type[Routine[Any]]) -> str:
    return (inspect.getdoc(kind) or "").partition("\n")[0]
