"""What `once` prints, and with which code it ends."""

import json
import locale
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from khealth_exporter.canaries.pod_steps import ACCEPT, CREATE, SCHEDULE, STARTUP, WAY
from khealth_exporter.core.snapshot import Attempt, RoutineStatus, Snapshot
from khealth_exporter.report.document import as_json
from khealth_exporter.report.junit import as_junit
from khealth_exporter.report.report import Report
from khealth_exporter.report.text import as_text
from khealth_exporter.routines.api import Api
from khealth_exporter.routines.rcscheduler import RcScheduler
from khealth_exporter.vocabulary.component import Component
from khealth_exporter.vocabulary.event import Phase
from khealth_exporter.vocabulary.reading import Remark
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Distribution, Measurement, Quality, Sample
from khealth_exporter.vocabulary.verdict import Evidence, Verdict

BEGAN = 1795444200.123456
"""2026-11-23T14:30:00.123456Z."""

WELL = Verdict(Result.SUCCESS)
BROKEN = Verdict(Result.FAILURE, Reason.POD_NOT_SCHEDULED, "no condition at all", Component.SCHEDULER)
UNREACHABLE = Verdict(Result.FAILURE, Reason.API_UNREACHABLE, component=Component.API_SERVER)
TIMED_OUT = Verdict(Result.FAILURE, Reason.API_TIMEOUT, component=Component.API_SERVER)
UNSURE = Verdict(Result.INCONCLUSIVE, Reason.FORBIDDEN, component=Component.KHEALTH)

ACCEPTED = Measurement(ACCEPT, 0.0061234567, 0.001)
STARTED = Sample(
    "khealth-a-x7k2p",
    "uid-1",
    "node-1",
    (
        Measurement(CREATE, 0.011, 0.004),
        Measurement(SCHEDULE, 0.006, 0.001, Quality.DEGRADED),
        Measurement(STARTUP, 0.72, 0.002, Quality.COLD),
    ),
    dict.fromkeys(WAY.milestones) | {"created": BEGAN, "scheduled": BEGAN + 1.5},
)
POD = "Pod p\n  Pending"
STUCK = Sample("khealth-a-9qqqq", "uid-2", None, (Measurement(SCHEDULE, 20.0, 0.0, censored=True),), {})


def _attempt(verdict: Verdict | None = WELL, **more: Any) -> Attempt:
    return Attempt(1, BEGAN, Phase.CLEANUP, 1.9, verdict, **more)


def _report(*attempts: Attempt, answered: bool = True) -> Report:
    routines = tuple(
        RoutineStatus("rcscheduler", f"routine-{number}", 60.0, RcScheduler.steps, attempts=(attempt,))
        for number, attempt in enumerate(attempts, 1)
    )
    return Report("1.2.3", "https://cluster:6443", (Snapshot("rcscheduler", routines),), answered)


def _first(report: Report) -> Any:
    return json.loads(as_json(report))["attempts"][0]


def _suites(report: Report) -> Element:
    return fromstring(as_junit(report))  # noqa: S314 - we wrote it ourselves


def test_remarks_are_told_to_people_and_programs() -> None:
    """That something is not applicable must not look like a success alone; what others wrote in them is one line."""
    said = Remark("enforcement", "not applicable: the network plugin\x1b[31m enforces nothing")
    report = _report(_attempt())
    (snapshot,) = report.snapshots
    (status,) = snapshot.routines
    report = replace(report, snapshots=(replace(snapshot, routines=(replace(status, remarks=(said,)),)),))
    assert {"enforcement": said.text} == _first(report)["remarks"]
    assert "  enforcement: not applicable: the network plugin" in as_text(report)
    assert "\x1b" not in as_text(report)
    assert "remarks" not in _first(_report(_attempt()))


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([WELL], 0),
        ([WELL, UNSURE], 0),
        ([BROKEN], 1),
        ([WELL, BROKEN], 1),
        ([WELL, UNREACHABLE], 1),
        ([UNSURE, BROKEN], 1),
        ([UNSURE], 3),
        ([UNREACHABLE], 3),
        ([UNREACHABLE, TIMED_OUT, UNSURE], 3),
        ([], 3),
    ],
)
def test_the_exit_code_tells_well_from_broken_and_unknown(verdicts: list[Verdict], code: int) -> None:
    """0 well, 1 an attempt failed, 3 nothing is known of the cluster."""
    assert code == _report(*map(_attempt, verdicts)).exit_code


def test_no_answer_at_all_is_unknown() -> None:
    """A cluster that never answered is not called broken, whatever the attempts say."""
    expected = 3
    assert expected == _report(_attempt(BROKEN), answered=False).exit_code


@pytest.mark.parametrize(
    ("verdicts", "result"),
    [
        ([WELL], "success"),
        ([WELL, UNSURE], "success"),
        ([UNSURE, BROKEN, WELL], "failure"),
        ([UNSURE], "inconclusive"),
        ([], "inconclusive"),
    ],
)
def test_the_result_agrees_with_the_exit_code(verdicts: list[Verdict], result: str) -> None:
    """One failure is a failure; success needs at least one attempt that says so."""
    assert result == json.loads(as_json(_report(*map(_attempt, verdicts))))["result"]


def test_the_document_has_the_shape_that_scripts_rely_on() -> None:
    """Every key of the contract is there, with null for what was not reached or not measured."""
    expected = {
        "version": "1.2.3",
        "cluster": "https://cluster:6443",
        "result": "success",
        "attempts": [
            {
                "module": "rcscheduler",
                "routine": "routine-1",
                "result": "success",
                "reason": None,
                "component": None,
                "note": "",
                "started_at": "2026-11-23T14:30:00.123456Z",
                "duration_seconds": 1.9,
                "steps": {"accept": 0.006123},
                "evidence": [],
                "samples": [
                    {
                        "object": "khealth-a-x7k2p",
                        "uid": "uid-1",
                        "node": "node-1",
                        "quality": "degraded",
                        "uncertainty_seconds": 0.004,
                        "steps": {
                            "create": 0.011,
                            "schedule": 0.006,
                            "sandbox": None,
                            "start": None,
                            "ready": None,
                            "startup": 0.72,
                            "delete": None,
                        },
                        "observed": {
                            "created": "2026-11-23T14:30:00.123456Z",
                            "scheduled": "2026-11-23T14:30:01.623456Z",
                            "sandboxed": None,
                            "started": None,
                            "ready": None,
                            "deleted": None,
                        },
                    }
                ],
            }
        ],
    }
    assert expected == json.loads(as_json(_report(_attempt(measurements=(ACCEPTED,), samples=(STARTED,)))))


def test_a_failure_is_told_with_reason_component_and_note() -> None:
    """A script learns from the document what to look at."""
    expected = ("failure", "pod_not_scheduled", "scheduler", "no condition at all")
    found = _first(_report(_attempt(BROKEN)))
    assert expected == (found["result"], found["reason"], found["component"], found["note"])


def test_whole_seconds_have_microseconds_too() -> None:
    """Every time has the same form, so that text can be sorted."""
    attempt = Attempt(1, 0.0, Phase.CLEANUP, 0.0, WELL)
    expected = "1970-01-01T00:00:00.000000Z"
    assert expected == _first(_report(attempt))["started_at"]


def test_a_step_that_did_not_end_has_no_duration() -> None:
    """The time waited is no duration: a script would take it for one."""
    assert _first(_report(_attempt(BROKEN, samples=(STUCK,))))["samples"][0]["steps"]["schedule"] is None


def test_a_step_that_was_not_measured_is_null() -> None:
    """The step that every attempt begins with is always there."""
    expected: dict[str, object] = {"accept": None}
    assert expected == _first(_report(_attempt(UNREACHABLE)))["steps"]


def test_an_attempt_that_could_not_begin_is_listed() -> None:
    """A routine that never had its turn does not vanish from the report."""
    status = RoutineStatus("rcscheduler", "rcscheduler", 60.0)
    found = _first(Report("1", "https://c", (Snapshot("rcscheduler", (status,)),), answered=True))
    expected: tuple[object, ...] = ("inconclusive", "interrupted", None, [])
    assert expected == (found["result"], found["reason"], found["started_at"], found["samples"])


def test_an_attempt_without_a_verdict_was_interrupted() -> None:
    """What was cut off says nothing of the cluster."""
    found = _first(_report(_attempt(None)))
    expected = ("inconclusive", "interrupted", "khealth was stopped before there was a verdict")
    assert expected == (found["result"], found["reason"], found["note"])


def test_text_shows_every_figure_in_columns() -> None:
    """People see what was measured at a glance; what was waited for in vain has a >."""
    report = _report(_attempt(BROKEN, measurements=(ACCEPTED,), samples=(STARTED, STUCK)))
    expected = """\
khealth 1.2.3  https://cluster:6443

rcscheduler/routine-1: failure in 1.90s, accept 6ms
  pod_not_scheduled (scheduler): no condition at all
  object           node    create  schedule  sandbox  start  ready  startup  delete  quality
  khealth-a-x7k2p  node-1    11ms       6ms        -      -      -    720ms       -  degraded ±4ms
  khealth-a-9qqqq  -            -   >20.00s        -      -      -        -       -  exact ±0ms

result: failure"""
    assert expected == as_text(report)


def test_text_shows_the_evidence_of_a_failure() -> None:
    """What an administrator would look up next is in the report already."""
    evidence = (Evidence("Pod", "khealth-a-9qqqq", ("phase Pending", "event: FailedScheduling")),)
    lines = as_text(_report(_attempt(BROKEN, evidence=evidence))).splitlines()
    expected = ["  Pod khealth-a-9qqqq", "    phase Pending", "    event: FailedScheduling"]
    assert expected == lines[4:7]


@pytest.mark.parametrize(
    ("verdict", "word"),
    [(WELL, "\x1b[32msuccess\x1b[0m"), (BROKEN, "\x1b[31mfailure\x1b[0m"), (UNSURE, "\x1b[33minconclusive\x1b[0m")],
)
def test_a_terminal_gets_color(verdict: Verdict, word: str) -> None:
    """Green, red and yellow, where somebody sees them."""
    assert as_text(_report(_attempt(verdict)), color=True).endswith(f"result: {word}")


def test_what_the_cluster_says_commands_no_terminal() -> None:
    """A pod's message cannot move the cursor of the reader's terminal."""
    verdict = Verdict(Result.FAILURE, Reason.POD_CRASHED, "\x1b[2Joops")
    assert "\x1b" not in as_text(_report(_attempt(verdict)))


def test_junit_counts_failures_and_errors() -> None:
    """A CI system sees failures of the cluster as failures, and what could not be found out as errors."""
    suites = _suites(_report(_attempt(WELL), _attempt(BROKEN), _attempt(UNSURE)))
    expected = {"name": "khealth", "tests": "3", "failures": "1", "errors": "1", "time": "5.700"}
    assert expected == suites.attrib


def test_junit_has_a_suite_for_each_module() -> None:
    """The module is the suite, with what the run was."""
    suite = _suites(_report(_attempt()))[0]
    properties = {p.get("name"): p.get("value") for p in suite.findall("properties/property")}
    expected = ("rcscheduler", "2026-11-23T14:30:00.123456Z", {"version": "1.2.3", "cluster": "https://cluster:6443"})
    assert expected == (suite.get("name"), suite.get("timestamp"), properties)


def test_junit_has_a_case_for_each_attempt_with_its_steps() -> None:
    """The routine is the case; what was measured is its output, what was not is left out."""
    case = _suites(_report(_attempt(measurements=(ACCEPTED,), samples=(STARTED, STUCK))))[0].find("testcase")
    assert case is not None
    expected = [
        "step.accept=0.006123",
        "object1.create=0.011000",
        "object1.schedule=0.006000",
        "object1.startup=0.720000",
    ]
    assert expected == str(case.findtext("system-out")).splitlines()


INJECTED = replace(
    STARTED, measurements=(Measurement(STARTUP, 9.0, 0.002, Quality.FOREIGN),), injected=("init container istio-init",)
)


def test_json_lists_what_was_injected() -> None:
    """A script can tell why a startup does not count."""
    (found,) = _first(_report(_attempt(samples=(INJECTED,))))["samples"]
    assert ("foreign", ["init container istio-init"]) == (found["quality"], found["injected"])


def test_text_says_what_was_injected_once() -> None:
    """Below the table, for all pods."""
    lines = as_text(_report(_attempt(samples=(INJECTED, replace(INJECTED, object="khealth-a-2"))))).splitlines()
    told = [line for line in lines if "istio-init" in line]
    assert ["  foreign steps are not counted; injected into the pods: init container istio-init"] == told


def test_junit_lists_what_was_injected() -> None:
    """Beside the steps of the pod."""
    case = _suites(_report(_attempt(samples=(INJECTED,))))[0].find("testcase")
    assert case is not None
    expected = ["object1.startup=9.000000", "object1.quality=foreign", "object1.injected=init container istio-init"]
    assert expected == str(case.findtext("system-out")).splitlines()


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (
            BROKEN,
            (
                "failure",
                "pod_not_scheduled (scheduler)",
                "no condition at all",
                f"pod_not_scheduled (scheduler): no condition at all\n{POD}",
            ),
        ),
        (UNSURE, ("error", "forbidden (khealth)", "", f"forbidden (khealth)\n{POD}")),
    ],
)
def test_junit_tells_why(verdict: Verdict, expected: tuple[str, str, str, str]) -> None:
    """Reason, note and evidence are where a CI system shows them; all of them in the text, the only thing that GitLab shows."""
    told = _suites(_report(_attempt(verdict, evidence=(Evidence("Pod", "p", ("Pending",)),))))[0].find("testcase")
    assert told is not None
    why = told[0]
    assert expected == (why.tag, why.get("type"), why.get("message"), why.text)


@dataclass(frozen=True)
class Rule:
    """What the schema of Jenkins' xUnit plugin, junit-10.xsd, allows an element to have; `needs` are attributes too."""

    needs: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset()
    children: frozenset[str] = frozenset()
    text: bool = False


def _rule(needs: str = "", attributes: str = "", children: str = "", *, text: bool = False) -> Rule:
    return Rule(frozenset(needs.split()), frozenset(attributes.split()), frozenset(children.split()), text)


RULES = {
    "testsuites": _rule("", "name time tests failures errors", "testsuite"),
    "testsuite": _rule(
        "name tests failures errors",
        "group time skipped timestamp hostname id package file log url version",
        "testsuite properties testcase system-out system-err",
    ),
    "properties": _rule(children="property"),
    "property": _rule("name value"),
    "testcase": _rule("name", "time classname group", "skipped error failure system-out system-err"),
    "failure": _rule("", "type message", text=True),
    "error": _rule("", "type message", text=True),
    "system-out": _rule(text=True),
}
TIME = re.compile(r"(?:(?:[0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(?:\.[0-9]{0,3})?")
"""What the schema takes for the time of a suite."""


def _breaches(element: Element) -> Iterator[str]:
    rule, names = RULES[element.tag], element.attrib.keys()
    yield from (f"{element.tag} lacks {name}" for name in rule.needs - names)
    yield from (f"{element.tag} has {name}" for name in names - rule.needs - rule.attributes)
    if element.text and element.text.strip() and not rule.text:
        yield f"{element.tag} has text"
    if element.tag.startswith("testsuite") and not TIME.fullmatch(element.get("time", "")):
        yield f"{element.tag} takes {element.get('time')}"
    for child in element:
        yield from _breaches(child) if child.tag in rule.children else (f"{element.tag} has {child.tag}",)


@pytest.mark.parametrize(
    "report",
    [
        _report(),
        Report("1", "https://c", (), answered=False),
        Report("1", "https://c", (Snapshot("m", (RoutineStatus("m", "r", 60.0),)),), answered=True),
        _report(_attempt(WELL, measurements=(ACCEPTED,), samples=(STARTED, STUCK))),
        _report(_attempt(BROKEN, evidence=(Evidence("Pod", "p", ("Pending",)),), samples=(STUCK,)), _attempt(UNSURE)),
        _report(_attempt(None), *(Attempt(1, BEGAN, Phase.CLEANUP, 1234567.891, WELL),) * 3),
    ],
    ids=["no attempt", "no module", "not begun", "well", "broken", "long"],
)
def test_junit_fits_the_schema_that_jenkins_reads(report: Report) -> None:
    """Jenkins' xUnit plugin refuses a whole file for one attribute that it does not know."""
    assert [] == list(_breaches(_suites(report)))


def test_junit_declares_the_encoding_that_it_is_written_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the locale is: the file is UTF-8."""
    monkeypatch.setattr(locale, "getpreferredencoding", lambda *_: "ISO-8859-1")
    expected = '<?xml version="1.0" encoding="UTF-8"?>'
    assert expected == as_junit(_report(_attempt())).splitlines()[0]


EVIDENCE = Evidence("Pod", "khealth-a-9qqqq", ("phase Pending", "event: FailedScheduling"))


@pytest.mark.parametrize("verdict", [BROKEN, UNSURE, None])
def test_the_document_has_the_evidence(verdict: Verdict | None) -> None:
    """The same as text, JUnit and /status have, whatever the verdict is."""
    expected = [{"kind": "Pod", "name": "khealth-a-9qqqq", "lines": ["phase Pending", "event: FailedScheduling"]}]
    assert expected == _first(_report(_attempt(verdict, evidence=(EVIDENCE,))))["evidence"]


@given(note=st.text(max_size=20))
def test_no_note_breaks_the_documents(note: str) -> None:
    """Whatever a cluster says, JSON and XML stay well-formed and can be written as UTF-8."""
    evidence = (Evidence("Pod", note, (note,)),)
    report = _report(_attempt(Verdict(Result.FAILURE, Reason.API_ERROR, note), evidence=evidence))
    as_text(report).encode()
    found = (json.loads(as_json(report).encode())["attempts"][0]["note"], _suites(report).get("failures"))
    assert (note, "1") == found


STEPS = Api.steps[:4]
"""Steps of the attempt itself, as declared."""


def _own(*seconds: float | None, verdict: Verdict = WELL) -> Report:
    """Return the report of a routine without objects; its steps are measured in reverse order."""
    measured = [Measurement(step, s, 0.0) for step, s in zip(STEPS, seconds, strict=True) if s is not None]
    attempt = _attempt(verdict, measurements=tuple(reversed(measured)))
    status = RoutineStatus("control-plane", "api", 60.0, STEPS, attempts=(attempt,))
    return Report("1.2.3", "https://cluster:6443", (Snapshot("control-plane", (status,)),), answered=True)


def test_text_shows_the_steps_of_an_attempt_without_objects_in_columns() -> None:
    """In the order in which the routine declares them, whatever was measured first; there is no table of pods."""
    names = [step.name for step in STEPS]
    lines = as_text(_own(0.0123, 0.0004, 1.5, 0.007)).splitlines()
    assert "control-plane/api: success in 1.90s" == lines[2]
    assert [names, ["12ms", "0.40ms", "1.50s", "7ms"], []] == [line.split() for line in lines[3:6]]
    assert len(lines[3]) == len(lines[4])


def test_text_marks_a_step_that_an_attempt_did_not_reach() -> None:
    """So that it is plain how far it came."""
    lines = as_text(_own(0.0123, 0.02, None, None, verdict=TIMED_OUT)).splitlines()
    assert ["12ms", "20ms", "-", "-"] == lines[5].split()


def test_junit_has_steps_in_the_declared_order() -> None:
    """So that two runs can be compared line by line."""
    case = _suites(_own(0.0123, 0.0004, 1.5, 0.007))[0].find("testcase")
    assert case is not None
    lines = str(case.findtext("system-out")).splitlines()
    assert [f"step.{step.name}" for step in STEPS] == [line.split("=")[0] for line in lines]


def test_text_has_no_column_for_the_node_of_objects_that_have_none() -> None:
    """Such as ConfigMaps."""
    lines = as_text(_report(_attempt(samples=(replace(STARTED, node=None),)))).splitlines()
    assert ["object", "create"] == lines[3].split()[:2]


def test_a_step_that_was_measured_many_times_has_its_mean() -> None:
    """Of how many, the document says beside it; one without any duration has none."""
    edges = len(STEPS[0].edges)
    many = Distribution(STEPS[0], (3, *(0,) * (edges - 1), 1), 0.02, 0.001)
    none = Distribution(STEPS[1], (0,) * (edges + 1), 0.0, 0.0)
    status = replace(
        _own(None, None, None, None).snapshots[0].routines[0], attempts=(_attempt(WELL, distributions=(many, none)),)
    )
    report = Report("1.2.3", "", (Snapshot("control-plane", (status,)),), answered=True)
    found = _first(report)
    assert {"connect": 0.005, "create": None, "get": None, "update": None} == found["steps"]
    assert {"connect": 4, "create": 0} == found["counts"]
    assert "control-plane/api: success in 1.90s, connect 5ms" in as_text(report)


def test_text_shows_a_step_that_was_measured_several_times_once() -> None:
    """An attempt may write several objects."""
    report = _own(None, None, None, None)
    several = tuple(Measurement(STEPS[0], seconds, 0.0) for seconds in (0.02, 0.01, 0.015))
    status = replace(report.snapshots[0].routines[0], attempts=(_attempt(WELL, measurements=several),))
    report = replace(report, snapshots=(Snapshot("control-plane", (status,)),))
    names, took = as_text(report).splitlines()[3:5]
    assert (["connect", "create", "get", "update"], 1) == (names.split(), took.count("10ms to 20ms (3 times)"))
