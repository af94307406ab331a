"""What the chart says of itself, without helm: values, their comments, the schema, what is generated."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import charts
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from deploy.generate import CHART, DURATION, catalogue, configurable, generated, schema, values
from khealth_exporter import __version__
from khealth_exporter.canaries.pod_spec import PodSettings
from khealth_exporter.cluster.kinds import Kind
from khealth_exporter.config import ConfigError, load
from khealth_exporter.core.routine import RoutineSettings
from khealth_exporter.modules import MODULES, Module
from khealth_exporter.routines.rcscheduler import RcScheduler
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.settings import Duration, parse_duration

VALUES = (CHART / "values.yaml").read_text()
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
NOT_OURS = {"enabled"}
"""What a chart above this one may say to it."""


def paths(part: dict[str, Any], known: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield what the schema knows, as far down as there are values."""
    for key, inner in part.get("properties", {}).items():
        if isinstance(known.get(key), dict) and "properties" in inner and known[key]:
            yield from paths(inner, known[key], (*path, key))
        else:
            yield ".".join((*path, key))


def test_generated_files_are_up_to_date() -> None:
    """`make generate` would change nothing."""
    assert [] == [path.name for path, wanted in generated().items() if path.read_text() != wanted]


def test_the_chart_installs_this_khealth() -> None:
    """The image's tag follows the chart's appVersion."""
    assert __version__ == yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]


def test_a_value_without_a_comment_is_told() -> None:
    """A comment belongs to a value only if it begins with `# -- `, and stands directly above."""
    with pytest.raises(ValueError, match=r"`# -- ` stands above b\.c, d$"):
        list(values("# -- what a is\na: 1\nb:\n  # no meaning\n  c: {}\n# -- too far\n\nd: 1\n"))


def test_a_comment_is_read_to_its_end() -> None:
    """It may have several lines; only its own count."""
    (value,) = values("# What is here.\n\n# -- One line,\n# and another | one.\na: {b: 1}\n")
    assert "| `a` | `{b: 1}` | One line, and another &#124; one. |" == value.row


def test_a_value_that_the_schema_does_not_know_is_told() -> None:
    """Or nobody could set it."""
    with pytest.raises(ValueError, match=r"does not know b\.c$"):
        schema('{"properties": {"b": {"properties": {}}}}', list(values("b:\n  # -- text\n  c: 1\n")))


def test_the_schema_is_one() -> None:
    """Every keyword in it is used as it should be."""
    Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", charts.SETS)
def test_the_schema_takes_what_is_right(name: str) -> None:
    """The defaults, and every set of values that other tests use."""
    Draft7Validator(SCHEMA).validate(yaml.safe_load(VALUES))
    Draft7Validator(SCHEMA).validate(charts.SETS[name])


def test_the_schema_knows_no_value_that_is_none() -> None:
    """Every one that can be set is in values.yaml, with its comment."""
    known = {".".join(value.path) for value in values(VALUES)}
    assert known | NOT_OURS == set(paths(SCHEMA, yaml.safe_load(VALUES)))


@given(st.lists(st.tuples(st.integers(0, 99).map(str) | st.just("1.5"), st.sampled_from(["h", "m", "s", "ms", ""]))))
def test_the_schema_takes_the_durations_that_khealth_takes(parts: list[tuple[str, str]]) -> None:
    """In any order of any units, those that it reads; the longest and the shortest are khealth's own to judge."""
    text = "".join(number + unit for number, unit in parts)
    try:
        known = parse_duration(text) >= 0
    except ValueError:
        known = False
    assert known is bool(text and re.fullmatch(DURATION, text))


def told(kinds: tuple[Any, ...], **routines: Any) -> list[str]:
    """Return what the schema of a khealth with these kinds says of a module that is told this."""
    document = configurable(SCHEMA, (Module("more", "", kinds),))
    found = Draft7Validator(document).iter_errors({"config": {"modules": {"more": routines}}})
    return sorted(error.message for error in found)


def test_the_schema_follows_from_the_classes() -> None:
    """A kind that makes no pods cannot be told of any, whatever the routine's name."""
    pods = {"pod": {"image": "a"}, "replicas": 2}
    assert [] == told((Quiet, RcScheduler), rcscheduler=pods, other={"kind": "rcscheduler", **pods})
    refused = "Additional properties are not allowed ('pod', 'replicas' were unexpected)"
    assert [refused] * 2 == told((Quiet, RcScheduler), quiet=pods, other={"kind": "quiet", **pods})


def test_the_schema_knows_every_setting() -> None:
    """With the defaults of all of them, and beside them the module's own key and the routine's kind."""
    settings = RcScheduler.Settings().model_dump(mode="json", by_alias=True)
    assert [] == told((RcScheduler,), suspend=True, rcscheduler={"kind": "rcscheduler", **settings})
    assert [] == told((RcScheduler,), suspend=False, rcscheduler=None)


def test_canaries_can_be_what_routines_can_make_them() -> None:
    """`canaries.pod` has the very keys of a routine's `pod`."""
    assert set(PodSettings.model_fields) == set(yaml.safe_load(VALUES)["canaries"]["pod"])


def test_the_configuration_has_the_keys_that_khealth_knows(tmp_path: Path) -> None:
    """All but the namespace, for which there is a value."""
    file = tmp_path / "khealth.yaml"
    file.write_text("zzz: 1")
    with pytest.raises(ConfigError) as told:
        load(file)
    _, _, known = str(told.value).partition("known: ")
    assert set(known.split(", ")) - {"namespace"} == set(SCHEMA["properties"]["config"]["properties"])


def test_each_need_of_the_whole_cluster_can_be_switched_off() -> None:
    """`rbac` has a switch for each resource that is asked for cluster-wide."""
    told = catalogue()
    kinds = [kind for module in told["modules"].values() for kind in module["routines"].values()]
    permissions = [p for part in (told, *kinds) for p in part["permissions"]]
    needs = {p["resource"] for p in permissions if p["scope"] == "cluster"}
    assert needs == set(yaml.safe_load(VALUES)["rbac"]) - {"create"}


def test_a_pod_is_not_granted_what_serves_khealth_beside_the_cluster() -> None:
    """Nothing cluster-wide can be written."""
    told = catalogue()
    kinds = [kind for module in told["modules"].values() for kind in module["routines"].values()]
    granted = {(p["scope"], p["verb"], p["resource"]) for part in (told, *kinds) for p in part["permissions"]}
    assert {"get", "list", "watch"} == {verb for scope, verb, _ in granted if scope == "cluster"}
    beside = {(scope, verb) for scope, verb, resource in granted if resource in {"namespaces", "serviceaccounts"}}
    assert {("namespace", "get")} == beside  # Its own, for the Pod Security level.


class QuietSettings(RoutineSettings):
    timeout: Duration = 90.0


class Quiet(RcScheduler):
    """A kind that makes no pods."""

    name: ClassVar[str] = "quiet"
    makes: ClassVar[tuple[Kind[Any], ...]] = ()
    watches: ClassVar[tuple[Kind[Any], ...]] = ()
    reads: ClassVar[tuple[Kind[Any], ...]] = ()
    permissions: ClassVar[tuple[Permission, ...]] = (
        Permission("get", "leases", group="coordination.k8s.io", why="look"),
        Permission("create", "namespaces", scope="cluster", outside=True),
    )
    Settings: ClassVar[Any] = QuietSettings


class ProbeSettings(QuietSettings):
    url: str


class Probe(Quiet):
    """A kind that runs only if it is configured."""

    name: ClassVar[str] = "probe"
    Settings: ClassVar[Any] = ProbeSettings


def test_the_schema_demands_a_required_setting() -> None:
    """Under any name of the routine, also if the routine is null."""
    missing = "'url' is a required property"
    assert [] == told((Probe,), probe={"url": "a"}, other={"kind": "probe", "url": "a"})
    assert [missing] * 2 == told((Probe,), probe={}, other={"kind": "probe"})
    assert ["None is not of type 'object'"] == told((Probe,), probe=None)


def test_the_catalogue_marks_what_is_off_by_default() -> None:
    """A module, and a kind with a required setting."""
    modules = catalogue((Module("on", "", (Quiet, Probe)), Module("off", "", (Quiet,), default=False)), ())["modules"]
    found = {
        name: (module["default"], {kind: about["default"] for kind, about in module["routines"].items()})
        for name, module in modules.items()
    }
    assert {"on": (True, {"quiet": True, "probe": False}), "off": (False, {"quiet": True})} == found


def test_the_catalogue_follows_from_the_classes() -> None:
    """Each kind with its own rights, timeout and pods."""
    told = catalogue((Module("more", "", (Quiet,)), *MODULES), ())
    rcscheduler = told["modules"]["rcscheduler"]["routines"]["rcscheduler"]
    leases = {
        "group": "coordination.k8s.io",
        "resource": "leases",
        "verb": "get",
        "scope": "namespace",
        "why": "look",
    }
    expected = {"permissions": [leases], "default": True, "timeout": "90s", "pod": False, "replicas": 0}
    expected |= {"opt_in": False, "canary": False, "agents": False, "hosts": False}
    assert expected == told["modules"]["more"]["routines"]["quiet"]
    assert ("20s", True, 3) == (rcscheduler["timeout"], rcscheduler["pod"], rcscheduler["replicas"])
