"""Writes what follows from something else: of the chart what code, values and copies say; tables; the runbook."""

import copy
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from deploy import alert_tables, runbook, written
from khealth_exporter.canaries.agents.settings import AgentsSettings
from khealth_exporter.canaries.agents.template import PORT, agent_spec
from khealth_exporter.canaries.pod_spec import USER, PodSettings
from khealth_exporter.cluster import namespace
from khealth_exporter.cluster.ownership import AGENT, COMPONENT, MANAGED
from khealth_exporter.config import missing_in
from khealth_exporter.core.agents import DEPLOYMENT, SECRET, THROUGH_PROXY
from khealth_exporter.core.routine import Routine
from khealth_exporter.core.runner import OVERTIME
from khealth_exporter.modules import MODULES, Module
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.quantity import QUANTITY, quantity_text
from khealth_exporter.vocabulary.settings import (
    MOMENT,
    CanarySettings,
    Duration,
    KuberhealthySettings,
    MeasurementSettings,
    ModuleSettings,
    Moment,
    Name,
    Settings,
)
from khealth_exporter.web.security.web_config_schema import WebSettings

CHART = Path(__file__).parent / "chart"
ROOT = CHART.parent.parent
COPIES = {"alerts": "*.rules.yaml", "dashboards": "*.json"}
"""Folders of which the chart has copies: helm packs nothing from outside of it."""
SHARED = namespace.PERMISSIONS
"""Permissions that every routine needs."""
BEGIN, END = "<!-- values: written by `make generate` -->", "<!-- end of values -->"

DURATION = r"^([0-9]+h)?([0-9]+m)?([0-9]+(\.[0-9]+)?s)?([0-9]+ms)?$"
_MUTE = {"$defs", "$ref", "title", "default", "gt", "ge", "lt", "le"}
"""Words of a schema that check nothing: `gt` and its like are pydantic's own, not JSON Schema's."""


def catalogue(modules: Sequence[Module] = MODULES, shared: Sequence[Permission] = SHARED) -> dict[str, Any]:
    """Return what the chart has to know of khealth: what there is to run, and what follows from running it."""
    return {
        "permissions": _granted(shared),
        "overtime": OVERTIME,
        "user": USER,
        "agents": _agents(),
        "modules": {
            module.name: {
                "default": module.default,
                "routines": {kind.name: _kind(module, kind) for kind in module.routines},
            }
            for module in modules
        },
    }


def _agents() -> dict[str, Any]:
    """Return what agents are: the pod is that of khealth's own agents, without labels to spread it by."""
    settings = AgentsSettings().pod
    return {
        "workload": DEPLOYMENT,
        "secret": SECRET,
        "port": PORT,
        "labels": settings.labelled({MANAGED: "khealth", COMPONENT: AGENT}),
        "annotations": settings.marks,
        "spec": agent_spec(settings, {}, SECRET),
        "proxied": _granted([replace(permission, outside=False) for permission in THROUGH_PROXY]),
    }


def _kind(module: Module, kind: type[Routine[Any]]) -> dict[str, Any]:
    # Without validation: a kind may have required settings.
    defaults = kind.Settings.model_construct().model_dump(mode="json", by_alias=True)
    pods = "pod" in kind.Settings.model_fields
    return {
        "permissions": _granted(kind.all_permissions(), defaults),
        "default": not missing_in(kind.Settings),
        "opt_in": kind.name in module.opt_in,
        "canary": kind.needs_canary,
        "agents": kind.needs_agents,
        "hosts": kind.compares_hosts,
        "timeout": defaults["timeout"],
        "pod": pods,
        "replicas": defaults.get("replicas", int(pods)),
    }


def _granted(permissions: Sequence[Permission], defaults: Mapping[str, Any] = MappingProxyType({})) -> list[Any]:
    """Return the permissions that a pod in the cluster needs.

    A permission that depends on a setting has its key as `when`, and the setting's default as `default`; one for a
    single object has its `name`.
    """
    return [
        {"group": p.group, "resource": p.resource, "verb": p.verb, "scope": p.scope, "why": p.why}
        | ({"when": p.when, "default": bool(defaults.get(p.when))} if p.when else {})
        | ({"name": p.name} if p.name else {})
        for p in permissions
        if not p.outside
    ]


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the chart: its path, its default and the comment beside it."""

    path: tuple[str, ...]
    default: object
    meaning: str

    @property
    def row(self) -> str:
        """Its row of the table."""
        default = yaml.safe_dump(self.default, default_flow_style=True, width=sys.maxsize).removesuffix("...\n").strip()
        return f"| `{'.'.join(self.path)}` | `{default}` | {self.meaning.replace('|', '&#124;')} |"


def values(text: str) -> Iterator[Value]:
    """Yield every value of a values.yaml; ValueError with those that have no comment."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    found = list(_values(root, (), yaml.safe_load(text), text.splitlines()))
    if mute := [".".join(value.path) for value in found if not value.meaning]:
        raise ValueError(f"values.yaml: no comment that begins with `# -- ` stands above {', '.join(mute)}")
    yield from found


def _values(node: yaml.Node | None, path: tuple[str, ...], content: Any, lines: Sequence[str]) -> Iterator[Value]:  # noqa: ANN401
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        inner, meaning = (*path, key.value), _comment(lines, key.start_mark.line)
        told = content[key.value]
        if meaning or not isinstance(told, dict) or not told:
            yield Value(inner, told, meaning)
        else:
            yield from _values(value, inner, told, lines)


def _comment(lines: Sequence[str], number: int) -> str:
    """Return the comment that stands directly above a line, as one text; "" where it does not begin with `-- `."""
    above: list[str] = []
    while number > 0 and lines[number - 1].lstrip().startswith("#"):
        number -= 1
        above.insert(0, lines[number].lstrip().removeprefix("#").strip())
        if above[0].startswith("-- "):
            return " ".join(above).removeprefix("-- ")
    return ""


def table(text: str, rows: Sequence[Value]) -> str:
    """Return a README with the table of all values between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = ["| value | default | meaning |", "|---|---|---|", *(value.row for value in rows)]
    return "\n".join((f"{before}{BEGIN}", *lines, f"{END}{after}"))


def schema(text: str, rows: Sequence[Value]) -> str:
    """Return a values.schema.json in which each value has its comment; ValueError with those that it does not know."""
    document = json.loads(text)
    missing = []
    for value in rows:
        part: Mapping[str, Any] = document
        for key in value.path:
            part = part.get("properties", {}).get(key, {})
        if not isinstance(part, dict) or not part:
            missing.append(".".join(value.path))
        else:
            part["description"] = value.meaning.replace("`", "")
    if missing:
        raise ValueError(f"values.schema.json: does not know {', '.join(missing)}")
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


class _Written(GenerateJsonSchema):
    """The schema of settings as a file has them, where durations are text."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        """Return what may be written, of which the code makes something else."""
        if schema["function"]["function"] is Duration.__metadata__[0].func:  # type: ignore[attr-defined]
            return {"type": "string", "pattern": DURATION, "minLength": 1}
        if schema["function"]["function"] is Moment.__metadata__[0].func:  # type: ignore[attr-defined]
            return {"type": "string", "pattern": MOMENT}
        if schema["function"]["function"] is quantity_text:
            return {"type": ["string", "number"], "pattern": QUANTITY, "minimum": 0}
        made = super().function_before_schema(schema)
        return {} if made.get("type") == "number" else made


def _settings(model: type[Settings]) -> dict[str, Any]:
    """Return the schema of a part of the configuration."""
    found = model.model_json_schema(schema_generator=_Written)
    told: dict[str, Any] = _plain(found, found.get("$defs", {}))
    return told


def _plain(part: Any, shared: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever a schema is made of
    """Return a part of a schema with what it refers to in its place, and without what checks nothing."""
    if isinstance(part, list):
        return [_plain(inner, shared) for inner in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        part = shared[part["$ref"].rpartition("/")[2]] | part
    if "anyOf" in part:
        # Of a choice helm could only say that nothing of it fits.
        (found,) = (choice for choice in part["anyOf"] if choice != {"type": "null"})
        rest = {key: value for key, value in part.items() if key != "anyOf"}
        return _or_null(_plain(found | rest, shared))
    told = {key: value for key, value in part.items() if key not in _MUTE}
    properties = {key: _plain(value, shared) for key, value in told.pop("properties", {}).items()}
    told = {key: _plain(value, shared) for key, value in told.items()}
    if "patternProperties" in told:
        # Or a key that fits no pattern could have any value.
        told["additionalProperties"] = False
    return told | ({"properties": properties} if properties else {})


def _or_null(part: dict[str, Any]) -> dict[str, Any]:
    return part | {"type": [part["type"], "null"]}


def configurable(document: dict[str, Any], modules: Sequence[Module] = MODULES) -> dict[str, Any]:
    """Return a values.schema.json that knows every key of khealth's configuration, and of its web configuration."""
    told = copy.deepcopy(document)
    values = told["properties"]
    config = values["config"]["properties"]
    config["measurement"] = _or_null(_settings(MeasurementSettings))
    config["canary"] = _or_null(_settings(CanarySettings))
    config["agents"] = _or_null(_without(_settings(AgentsSettings), "own", "scale", "pod"))
    config["kuberhealthy"] = _or_null(_settings(KuberhealthySettings))
    # Of a module that there is not, the template tells which there are.
    config["modules"] |= {
        "properties": {module.name: _module(module) for module in modules},
        "additionalProperties": {"type": ["object", "null"]},
    }
    web = _settings(WebSettings)
    sections = {key: part if "null" in part["type"] else _or_null(part) for key, part in web["properties"].items()}
    values["web"]["properties"]["config"] |= {"properties": sections, "additionalProperties": False}
    alerts = {"type": ["object", "null"], "properties": _TUNING, "additionalProperties": False}
    told_of = {
        "properties": {rule["alert"]: alerts for rule in alert_tables.alerts(ROOT / "alerts")},
        "additionalProperties": False,
    }
    values["prometheusRule"]["properties"]["alerts"] |= told_of
    pod = values["canaries"]["properties"]["pod"]["properties"]
    known = _settings(PodSettings)["properties"]
    for key in ("labels", "resources", "runAsUser"):
        pod[key] = known[key]
    values["canary"]["properties"]["resources"] = known["resources"]
    for key in ("labels", "resources"):
        values["agents"]["properties"][key] = known[key]
    for part in (pod, values["agents"]["properties"]):
        part["tolerations"] |= {"items": known["tolerations"]["items"]}
    for part in (pod, values, values["global"]["properties"]):
        part["imagePullSecrets"] |= {"items": _SECRET}
    return told


def _without(part: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Return the schema of settings without those that are the chart's to make."""
    return part | {"properties": {key: told for key, told in part["properties"].items() if key not in keys}}


_SECRET = {
    "type": ["object", "string"],
    "minLength": 1,
    "properties": {"name": {"type": "string", "minLength": 1}},
    "required": ["name"],
    "additionalProperties": False,
}
"""A pull secret, by an object with its name or, as in many charts, by its name alone."""
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_LASTING = {"type": "string", "pattern": r"^([0-9]+(ms|[smhdwy]))+$"}
_TUNING = {
    "enabled": {"type": "boolean"},
    "expr": {"type": "string", "minLength": 1},
    "for": _LASTING,
    "keepFiringFor": _LASTING,
    "severity": {"type": "string", "minLength": 1},
    "labels": _TEXTS,
    "annotations": _TEXTS,
}
"""What can be said of an alert."""


def _module(module: Module) -> dict[str, Any]:
    """Return the schema of what a module is told: a routine with a kind's name has that kind, any other says its."""
    kinds = {kind.name: _routine(kind) for kind in module.routines}
    chosen = [
        {"if": {"required": ["kind"], "properties": {"kind": {"const": name}}}, "then": routine}
        for name, routine in kinds.items()
    ]
    name = TypeAdapter(Name).json_schema()
    own = "|".join(ModuleSettings.model_fields)
    return {
        "type": ["object", "null"],
        "propertyNames": name | {"pattern": f"^({own}|{name['pattern'].strip('^$')})$"},
        "properties": _settings(ModuleSettings)["properties"] | kinds,
        "additionalProperties": {"type": ["object", "null"], "allOf": chosen},
    }


def _routine(kind: type[Routine[Any]]) -> dict[str, Any]:
    told = _settings(kind.Settings)
    properties = {"kind": {"type": "string", "enum": [kind.name]}, **told["properties"]}
    if "pod" in properties:
        properties["pod"] = _or_null(properties["pod"])
    found = told | {"properties": properties}
    return found if missing_in(kind.Settings) else _or_null(found)


def generated() -> dict[Path, str]:
    """Return every file that follows from something else, as it should be."""
    rows = list(values((CHART / "values.yaml").read_text()))
    readme, schemas, docs = CHART / "README.md", CHART / "values.schema.json", ROOT / "docs" / "alerts.md"
    return {
        CHART / "files" / "catalogue.json": json.dumps(catalogue(), indent=2) + "\n",
        readme: table(readme.read_text(), rows),
        schemas: schema(json.dumps(configurable(json.loads(schemas.read_text()))), rows),
        docs: alert_tables.page(docs.read_text(), ROOT / "alerts"),
        **runbook.generated(),
        **copies(),
    }


def copies(root: Path = ROOT, files: Path = CHART / "files") -> dict[Path, str]:
    """Return the chart's copies of what is kept elsewhere; one whose original is gone is empty."""
    stale = {path: "" for folder, pattern in COPIES.items() for path in (files / folder).glob(pattern)}
    return stale | {
        files / folder / path.name: path.read_text()
        for folder, pattern in COPIES.items()
        for path in sorted((root / folder).glob(pattern))
    }


if __name__ == "__main__":
    sys.exit(written.main(generated, __doc__))
