"""The report for people."""

from collections.abc import Iterator

from khealth_exporter.report.printable import printable
from khealth_exporter.report.report import Entry, Report, entries
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Measurement

_COLORS = {Result.SUCCESS: "32", Result.FAILURE: "31", Result.INCONCLUSIVE: "33"}


def as_text(report: Report, *, color: bool = False) -> str:
    """Return the report as text for people, with colors if a terminal is to show it."""
    lines = [f"khealth {report.version}  {report.cluster}", ""]
    for entry in entries(report):
        lines += (*_entry_text(entry, color=color), "")
    return "\n".join((*lines, f"result: {_word(report.result, color=color)}"))


def _entry_text(entry: Entry, *, color: bool) -> Iterator[str]:
    steps = "".join(f", {m.step.name} {_duration(m)}" for m in entry.measurements)
    name = f"{entry.status.module}/{entry.status.routine}"
    yield f"{name}: {_word(entry.verdict.result, color=color)} in {_seconds(entry.seconds)}{steps}"
    if entry.reason:
        yield printable("  " + ": ".join(filter(None, (entry.reason, entry.verdict.note))))
    yield from (f"  {line}" for line in _table(entry))
    yield from (f"  {line}" for line in printable(entry.evidence).splitlines())


def _word(result: Result, *, color: bool) -> str:
    return f"\x1b[{_COLORS[result]}m{result.value}\x1b[0m" if color else result.value


def _table(entry: Entry) -> Iterator[str]:
    """Yield a table of what was measured, one object a line, figures flush right; nothing if there is none."""
    samples = entry.samples
    if not samples:
        return
    names = tuple(dict.fromkeys((*entry.object_steps, *(m.step.name for s in samples for m in s.measurements))))
    rows = [["object", "node", *names, "quality"]]
    for sample in samples:
        steps = {m.step.name: _duration(m) for m in sample.measurements}
        sure = f"{sample.quality.value} ±{_seconds(sample.uncertainty)}"
        rows.append([sample.object, sample.node or "-", *(steps.get(name, "-") for name in names), sure])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        left = (cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True))
        right = (cell.rjust(width) for cell, width in zip(row[2:-1], widths[2:-1], strict=True))
        yield "  ".join((*left, *right, row[-1]))
    if injected := dict.fromkeys(name for sample in samples for name in sample.injected):
        yield f"foreign steps are not counted; injected into the pods: {', '.join(injected)}"


def _duration(measurement: Measurement) -> str:
    return f">{_seconds(measurement.seconds)}" if measurement.censored else _seconds(measurement.seconds)


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.2f}s"
