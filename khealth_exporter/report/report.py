"""What `once` prints: text for people, JSON for scripts, JUnit for CI systems, and the exit code."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from khealth_exporter.canaries.pod_way import ACCEPT, MILESTONES, STEPS
from khealth_exporter.core.snapshot import Attempt, RoutineStatus, Snapshot
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Measurement, Sample
from khealth_exporter.vocabulary.verdict import Verdict

_OF_A_POD = tuple(step.name for step in STEPS if step is not ACCEPT)
_NO_ANSWER = frozenset({Reason.API_UNREACHABLE, Reason.API_TIMEOUT})
_COLOURS = {Result.SUCCESS: "32", Result.FAILURE: "31", Result.INCONCLUSIVE: "33"}
_UNTOLD = Verdict(Result.INCONCLUSIVE, Reason.INTERRUPTED, "khealth was stopped before there was a verdict")
_UNBEGUN = Verdict(Result.INCONCLUSIVE, Reason.INTERRUPTED, "khealth was stopped before it began")


@dataclass(frozen=True, slots=True)
class Report:
    """What one run of `once` found; `answered` tells whether the API server answered any request at all."""

    version: str
    cluster: str
    snapshots: tuple[Snapshot, ...]
    answered: bool

    @property
    def exit_code(self) -> int:
        """0 well; 1 an attempt failed; 3 the cluster could not be asked, so that nothing is known of it."""
        verdicts = [entry.verdict for entry in _entries(self)]
        if not self.answered or all(_says_nothing(verdict) for verdict in verdicts):
            return 3
        return 1 if any(verdict.result is Result.FAILURE for verdict in verdicts) else 0

    @property
    def result(self) -> Result:
        """Failure if any attempt failed; else success if any succeeded, as the exit code has it."""
        results = {entry.verdict.result for entry in _entries(self)}
        return next((r for r in (Result.FAILURE, Result.SUCCESS) if r in results), Result.INCONCLUSIVE)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of the report: an attempt, or that there was none."""

    status: RoutineStatus
    attempt: Attempt | None
    verdict: Verdict

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        return self.attempt.measurements if self.attempt else ()

    @property
    def samples(self) -> tuple[Sample, ...]:
        return self.attempt.samples if self.attempt else ()

    @property
    def seconds(self) -> float:
        return round(self.attempt.duration, 6) if self.attempt else 0.0

    @property
    def reason(self) -> str:
        reason = self.verdict.reason
        return f"{reason.value} ({reason.component.value})" if reason else ""

    @property
    def evidence(self) -> str:
        """What the objects looked like, in lines."""
        evidence = self.attempt.evidence if self.attempt else ()
        return "\n".join("\n  ".join((f"{one.kind} {one.name}", *one.lines)) for one in evidence)


def _entries(report: Report) -> Iterator[_Entry]:
    for snapshot in report.snapshots:
        yield from _of_module(snapshot)


def _of_module(snapshot: Snapshot) -> Iterator[_Entry]:
    for status in snapshot.routines:
        yield from (_Entry(status, attempt, attempt.verdict or _UNTOLD) for attempt in status.attempts)
        if not status.attempts:
            yield _Entry(status, None, _UNBEGUN)


def _says_nothing(verdict: Verdict) -> bool:
    return verdict.result is Result.INCONCLUSIVE or verdict.reason in _NO_ANSWER


def as_json(report: Report) -> str:
    """Return the report as one JSON document; times are UTC, durations seconds, and null is what was not reached."""
    document = {
        "version": report.version,
        "cluster": report.cluster,
        "result": report.result.value,
        "attempts": [_attempt(entry) for entry in _entries(report)],
    }
    return json.dumps(document, indent=2)


def _attempt(entry: _Entry) -> dict[str, object]:
    reason = entry.verdict.reason
    return {
        "module": entry.status.module,
        "routine": entry.status.routine,
        "result": entry.verdict.result.value,
        "reason": reason.value if reason else None,
        "component": reason.component.value if reason else None,
        "note": entry.verdict.note,
        "started_at": _time(entry.attempt.began if entry.attempt else None),
        "duration_seconds": entry.seconds,
        "steps": _steps(entry.measurements, (ACCEPT.name,)),
        "samples": [_sample(sample) for sample in entry.samples],
    }


def _sample(sample: Sample) -> dict[str, object]:
    return {
        "object": sample.object,
        "uid": sample.uid,
        "node": sample.node,
        "quality": sample.quality.value,
        "uncertainty_seconds": round(sample.uncertainty, 6),
        "steps": _steps(sample.measurements, _OF_A_POD),
        "observed": {name: _time(sample.observed.get(name)) for name in dict.fromkeys((*MILESTONES, *sample.observed))},
    }


def _steps(measurements: Iterable[Measurement], names: Sequence[str]) -> dict[str, float | None]:
    """Return seconds by step; one that had not ended at its deadline has no duration, only a time waited."""
    ended = {m.step: None if m.censored else round(m.seconds, 6) for m in measurements}
    return {name: ended.get(name) for name in dict.fromkeys((*names, *ended))}


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return f"{datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def as_text(report: Report, *, colour: bool = False) -> str:
    """Return the report for people, in colour if a terminal is to show it."""
    lines = [f"khealth {report.version}  {report.cluster}", ""]
    for entry in _entries(report):
        lines += (*_entry_text(entry, colour=colour), "")
    return "\n".join((*lines, f"result: {_word(report.result, colour=colour)}"))


def _entry_text(entry: _Entry, *, colour: bool) -> Iterator[str]:
    steps = "".join(f", {m.step} {_duration(m)}" for m in entry.measurements)
    name = f"{entry.status.module}/{entry.status.routine}"
    yield f"{name}: {_word(entry.verdict.result, colour=colour)} in {_seconds(entry.seconds)}{steps}"
    if entry.reason:
        yield _printable("  " + ": ".join(filter(None, (entry.reason, entry.verdict.note))))
    yield from (f"  {line}" for line in _table(entry.samples))
    yield from (f"  {line}" for line in _printable(entry.evidence).splitlines())


def _word(result: Result, *, colour: bool) -> str:
    return f"\x1b[{_COLOURS[result]}m{result.value}\x1b[0m" if colour else result.value


def _table(samples: Sequence[Sample]) -> Iterator[str]:
    """Yield a table of what was measured, one object a line, figures flush right; nothing if there is none."""
    if not samples:
        return
    names = tuple(dict.fromkeys((*_OF_A_POD, *(m.step for s in samples for m in s.measurements))))
    rows = [["object", "node", *names, "quality"]]
    for sample in samples:
        steps = {m.step: _duration(m) for m in sample.measurements}
        sure = f"{sample.quality.value} ±{_seconds(sample.uncertainty)}"
        rows.append([sample.object, sample.node or "-", *(steps.get(name, "-") for name in names), sure])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        left = (cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True))
        right = (cell.rjust(width) for cell, width in zip(row[2:-1], widths[2:-1], strict=True))
        yield "  ".join((*left, *right, row[-1]))


def _duration(measurement: Measurement) -> str:
    return f">{_seconds(measurement.seconds)}" if measurement.censored else _seconds(measurement.seconds)


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.2f}s"


def as_junit(report: Report) -> str:
    """Return the report as JUnit XML: a suite per module and a case per attempt; an inconclusive one is an error."""
    root = Element("testsuites", {"name": "khealth", **_counts(tuple(_entries(report)))})
    for snapshot in report.snapshots:
        entries = tuple(_of_module(snapshot))
        suite = SubElement(root, "testsuite", {"name": snapshot.module, **_counts(entries)})
        if began := min((entry.attempt.began for entry in entries if entry.attempt), default=None):
            suite.set("timestamp", str(_time(began)))
        properties = SubElement(suite, "properties")
        _property(properties, "version", report.version)
        _property(properties, "cluster", report.cluster)
        for entry in entries:
            _case(suite, entry)
    indent(root)
    return tostring(root, encoding="unicode", xml_declaration=True)


def _counts(entries: Sequence[_Entry]) -> dict[str, str]:
    results = [entry.verdict.result for entry in entries]
    return {
        "tests": str(len(results)),
        "failures": str(results.count(Result.FAILURE)),
        "errors": str(results.count(Result.INCONCLUSIVE)),
        "skipped": "0",
        "time": f"{sum(entry.seconds for entry in entries):.6f}",
    }


def _case(suite: Element, entry: _Entry) -> None:
    name, seconds = entry.status.routine, f"{entry.seconds:.6f}"
    case = SubElement(suite, "testcase", classname=f"khealth.{entry.status.module}", name=name, time=seconds)
    properties = SubElement(case, "properties")
    for step, duration in _steps(entry.measurements, ()).items():
        _property(properties, f"step.{step}", duration)
    for number, sample in enumerate(entry.samples, 1):  # no names of pods: a pipeline follows a figure from run to run
        for step, duration in _steps(sample.measurements, ()).items():
            _property(properties, f"pod{number}.{step}", duration)
    if entry.verdict.result is not Result.SUCCESS:
        tag = "failure" if entry.verdict.result is Result.FAILURE else "error"
        told = SubElement(case, tag, type=entry.reason, message=_printable(entry.verdict.note))
        told.text = _printable(entry.evidence)


def _property(properties: Element, name: str, value: str | float | None) -> None:
    if value is not None:
        text = f"{value:.6f}" if isinstance(value, float) else _printable(value)
        SubElement(properties, "property", name=_printable(name), value=text)


def _printable(text: str) -> str:
    """Return the text without what XML cannot hold and what would command a terminal."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )
