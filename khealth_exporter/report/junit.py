"""The report as JUnit XML."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from khealth_exporter.core.attempt_document import durations, time_text
from khealth_exporter.report.printable import printable
from khealth_exporter.report.report import Entry, Report, entries, of_module
from khealth_exporter.vocabulary.result import Result


def as_junit(report: Report) -> str:
    """Return the report as JUnit XML: a suite per module and a case per attempt; an inconclusive one is an error."""
    root = Element("testsuites", {"name": "khealth", **_counts(tuple(entries(report)))})
    for snapshot in report.snapshots:
        found = tuple(of_module(snapshot))
        suite = SubElement(root, "testsuite", {"name": snapshot.module, **_counts(found)})
        if began := min((entry.attempt.began for entry in found if entry.attempt), default=None):
            suite.set("timestamp", str(time_text(began)))
        properties = SubElement(suite, "properties")
        _property(properties, "version", report.version)
        _property(properties, "cluster", report.cluster)
        for entry in found:
            _case(suite, entry)
    indent(root)
    return tostring(root, encoding="unicode", xml_declaration=True)


def _counts(entries: Sequence[Entry]) -> dict[str, str]:
    results = [entry.verdict.result for entry in entries]
    return {
        "tests": str(len(results)),
        "failures": str(results.count(Result.FAILURE)),
        "errors": str(results.count(Result.INCONCLUSIVE)),
        "skipped": "0",
        "time": f"{sum(entry.seconds for entry in entries):.6f}",
    }


def _case(suite: Element, entry: Entry) -> None:
    name, seconds = entry.status.routine, f"{entry.seconds:.6f}"
    case = SubElement(suite, "testcase", classname=f"khealth.{entry.status.module}", name=name, time=seconds)
    properties = SubElement(case, "properties")
    for step, duration in durations(entry.measurements, ()).items():
        _property(properties, f"step.{step}", duration)
    for number, sample in enumerate(entry.samples, 1):  # no names of pods: a pipeline follows a figure from run to run
        for step, duration in durations(sample.measurements, ()).items():
            _property(properties, f"pod{number}.{step}", duration)
    if entry.verdict.result is not Result.SUCCESS:
        tag = "failure" if entry.verdict.result is Result.FAILURE else "error"
        told = SubElement(case, tag, type=entry.reason, message=printable(entry.verdict.note))
        told.text = printable(entry.evidence)


def _property(properties: Element, name: str, value: str | float | None) -> None:
    if value is not None:
        text = f"{value:.6f}" if isinstance(value, float) else printable(value)
        SubElement(properties, "property", name=printable(name), value=text)
