"""The report as JUnit XML, in the form that Jenkins' xUnit plugin accepts (its schema is junit-10.xsd)."""

from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from khealth_exporter.core.attempt_document import durations, time_text
from khealth_exporter.report.printable import printable
from khealth_exporter.report.report import Entry, Report, entries, of_module
from khealth_exporter.vocabulary.result import Result


def as_junit(report: Report) -> str:
    """Return the report as JUnit XML: a suite per module and a case per attempt; an inconclusive one is an error.

    The text is to be written as UTF-8.
    """
    root = Element("testsuites", {"name": "khealth", **_counts(tuple(entries(report)))})
    for snapshot in report.snapshots:
        found = tuple(of_module(snapshot))
        suite = SubElement(root, "testsuite", {"name": snapshot.module, **_counts(found), "skipped": "0"})
        if began := min((entry.attempt.began for entry in found if entry.attempt), default=None):
            suite.set("timestamp", str(time_text(began)))
        properties = SubElement(suite, "properties")
        for name, value in (("version", report.version), ("cluster", report.cluster)):
            SubElement(properties, "property", name=name, value=printable(value))
        for entry in found:
            _case(suite, entry)
    indent(root)
    # ElementTree would declare the encoding of the locale.
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _counts(entries: Sequence[Entry]) -> dict[str, str]:
    results = [entry.verdict.result for entry in entries]
    return {
        "tests": str(len(results)),
        "failures": str(results.count(Result.FAILURE)),
        "errors": str(results.count(Result.INCONCLUSIVE)),
        "time": _seconds(sum(entry.seconds for entry in entries)),
    }


def _case(suite: Element, entry: Entry) -> None:
    name, seconds = entry.status.routine, _seconds(entry.seconds)
    case = SubElement(suite, "testcase", classname=f"khealth.{entry.status.module}", name=name, time=seconds)
    if entry.verdict.result is not Result.SUCCESS:
        tag, note = "failure" if entry.verdict.result is Result.FAILURE else "error", entry.verdict.note
        told = SubElement(case, tag, type=entry.reason, message=printable(note))
        # GitLab shows only the text, so that it has everything.
        why = ": ".join(filter(None, (entry.reason, note)))
        told.text = printable("\n".join(filter(None, (why, entry.evidence))))
    if steps := "\n".join(_steps(entry)):
        SubElement(case, "system-out").text = printable(steps)


def _steps(entry: Entry) -> Iterator[str]:
    """Yield each step with its duration in seconds, and the quality of objects into which others have put something.

    The names of objects would differ from run to run.
    """
    for step, duration in durations(entry.measurements, ()).items():
        yield from () if duration is None else (f"step.{step}={duration:.6f}",)
    for number, sample in enumerate(entry.samples, 1):
        for step, duration in durations(sample.measurements, ()).items():
            yield from () if duration is None else (f"object{number}.{step}={duration:.6f}",)
        if sample.injected:
            yield f"object{number}.quality={sample.quality.value}"
            yield from (f"object{number}.injected={name}" for name in sample.injected)


def _seconds(seconds: float) -> str:
    """Return a time with as many digits as the schema allows."""
    return f"{seconds:.3f}"
