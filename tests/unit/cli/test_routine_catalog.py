"""The catalog of modules and routines: what `khealth routines` prints."""

import json
from typing import Any, ClassVar

import pytest

from khealth_exporter.cli.routine_catalog import as_json, as_text, describe
from khealth_exporter.cluster.kinds import CONFIG_MAP, NODE, POD, Kind
from khealth_exporter.core.routine import Routine, RoutineSettings
from khealth_exporter.modules import Module
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.permission import Permission
from khealth_exporter.vocabulary.reading import Figure
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.step import API_EDGES, Objective, Step


class Ping(Routine[RoutineSettings]):
    """Create a ConfigMap, and delete it.

    More about it.
    """

    name: ClassVar[str] = "ping"
    steps: ClassVar[tuple[Step, ...]] = (
        Step("create", Component.API_SERVER, "the request", API_EDGES, Objective(0.99, 1, "SIG Scalability")),
        Step("startup", Component.NODE, "all of it", sli=True),
    )
    reasons: ClassVar[tuple[Reason, ...]] = (Reason.SLOW,)
    makes: ClassVar[tuple[Kind[Any], ...]] = (CONFIG_MAP,)
    watches: ClassVar[tuple[Kind[Any], ...]] = (POD,)
    reads: ClassVar[tuple[Kind[Any], ...]] = (NODE,)
    figures: ClassVar[tuple[Figure, ...]] = (Figure("pings", "Pings in flight."),)
    permissions: ClassVar[tuple[Permission, ...]] = (
        Permission("get", "leases", group="coordination.k8s.io", why="look"),
        Permission("watch", "leases", group="coordination.k8s.io", when="all", why="follow"),
        Permission("create", "namespaces", scope="cluster", optional=True, outside=True, why="make it"),
    )
    Settings: ClassVar[type[RoutineSettings]] = RoutineSettings


class ProbeSettings(RoutineSettings):
    """A setting without a default."""

    url: str
    """What to request."""


class Probe(Ping):
    """Request a URL."""

    name: ClassVar[str] = "probe"
    Settings: ClassVar[type[RoutineSettings]] = ProbeSettings


ON = Module("play", "it plays", (Ping, Probe))
OFF = Module("quiet", "it rests", (Ping, Probe), default=False)


def _lines(module: Module = ON) -> list[str]:
    return [" ".join(line.split()) for line in as_text((module,), ()).splitlines()]


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (ON, {"ping": "", "probe": "it has a required setting: url"}),
        (OFF, {"ping": "module quiet is off by default", "probe": "it has a required setting: url"}),
    ],
)
def test_a_routine_that_is_off_by_default_says_why(module: Module, expected: dict[str, str]) -> None:
    """A required setting says more than the module's default."""
    assert expected == {routine.name: routine.off_because for routine in describe(module).routines}


def test_a_routine_is_described_by_its_class() -> None:
    """The first line of its docstring, and names of Kubernetes kinds."""
    ping = describe(ON).routines[0]
    expected = ("Create a ConfigMap, and delete it.", ("ConfigMap",), ("Pod",), ("Node",))
    assert expected == (ping.meaning, ping.makes, ping.watches, ping.reads)


def test_reasons_and_permissions_include_those_of_every_routine() -> None:
    """What the base class adds is listed too."""
    ping = describe(ON).routines[0]
    assert (Ping.all_reasons(), Ping.all_permissions()) == (ping.reasons, ping.permissions)


@pytest.mark.parametrize(
    "line",
    [
        "play: it plays",
        "ping: Create a ConfigMap, and delete it.",
        "create api_server the request; objective: 99% within 1 s (SIG Scalability)",
        "slow as the step failure",
        "khealth_pings Pings in flight.",
        "interval duration, default 1m Attempts begin this often, on a fixed grid.",
        "url string, required What to request.",
        "off by default: it has a required setting: url",
        "get leases.coordination.k8s.io namespace look",
        "watch leases.coordination.k8s.io namespace, with all: true follow",
        "create namespaces cluster, optional, outside the cluster only make it",
    ],
)
def test_the_text_has_a_line_for_each_item(line: str) -> None:
    """Steps with component and objective, settings with default, permissions with their purpose."""
    assert line in _lines()


def test_a_routine_that_is_on_by_default_has_no_line_about_it() -> None:
    """Only exceptions are printed."""
    module = Module("play", "", (Ping,))
    assert [] == [line for line in _lines(module) if line.startswith("off by default")]


def test_a_table_without_rows_is_not_printed() -> None:
    """A module without shared permissions ends with its own."""
    assert "permissions that every routine needs" not in _lines()


def test_the_document_has_every_key_of_a_routine() -> None:
    """Scripts rely on them."""
    (module,) = json.loads(as_json((OFF,), Ping.permissions))["modules"]
    ping, probe = module.pop("routines")
    assert {"module": "quiet", "meaning": "it rests", "default": False} == module
    keys = ["kind", "meaning", "default", "off_because", "steps", "reasons", "figures", "settings", "permissions"]
    assert ([*keys, "makes", "watches", "reads"], False) == (list(ping), probe["default"])


def test_the_document_has_steps_with_edges_and_objective() -> None:
    """A step without an objective has null."""
    steps = json.loads(as_json((ON,), ()))["modules"][0]["routines"][0]["steps"]
    objective = {"share": 0.99, "seconds": 1, "source": "SIG Scalability"}
    found = [(step["step"], step["objective"], step["sli"], step["edges"][0]) for step in steps]
    assert [("create", objective, False, 0.001), ("startup", None, True, 0.001)] == found


def test_the_document_has_required_settings() -> None:
    """With null as the default."""
    settings = json.loads(as_json((ON,), ()))["modules"][0]["routines"][1]["settings"]
    expected = {"name": "url", "type": "string", "default": None, "meaning": "What to request.", "required": True}
    assert expected == settings[-1]


def test_a_reason_that_takes_the_components_of_steps_has_null() -> None:
    """`slow` names the component of the step that was slow."""
    reasons = json.loads(as_json((ON,), ()))["modules"][0]["routines"][0]["reasons"]
    assert {"reason": "slow", "component": None, "result": "failure"} in reasons
