"""The report for people."""

from collections.abc import Iterator, Mapping, Sequence

from khealth_exporter.report.printable import printable
from khealth_exporter.report.report import Entry, Report, entries
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Measurement

_COLORS = {Result.SUCCESS: "32", Result.FAILURE: "31", Result.INCONCLUSIVE: "33"}
_COLUMNS = 2
"""The steps of an attempt from which they are a table."""
_MILLISECOND = 0.001


def as_text(report: Report, *, color: bool = False) -> str:
    """Return the report as text for people, with colors if a terminal is to show it."""
    lines = [f"khealth {report.version}  {report.cluster}", ""]
    for entry in entries(report):
        lines += (*_entry_text(entry, color=color), "")
    return "\n".join((*lines, f"result: {_word(report.result, color=color)}"))


def _entry_text(entry: Entry, *, color: bool) -> Iterator[str]:
    own = list(_own_steps(entry))
    steps = "" if own else "".join(f", {step} {seconds}" for step, seconds in _took(entry.measurements).items())
    name = f"{entry.status.module}/{entry.status.routine}"
    yield f"{name}: {_word(entry.verdict.result, color=color)} in {_seconds(entry.seconds)}{steps}"
    if entry.reason:
        yield printable("  " + ": ".join(filter(None, (entry.reason, entry.verdict.note))))
    yield from (f"  {line}" for line in (*own, *_objects(entry)))
    yield from (printable(f"  {remark.name}: {remark.text}") for remark in entry.status.remarks)
    yield from (f"  {line}" for line in printable(entry.evidence).splitlines())


def _word(result: Result, *, color: bool) -> str:
    return f"\x1b[{_COLORS[result]}m{result.value}\x1b[0m" if color else result.value


def _own_steps(entry: Entry) -> Iterator[str]:
    """Yield a table of the steps of the attempt itself; nothing if they are few, or if there are objects."""
    if entry.samples or len(entry.measurements) < _COLUMNS:
        return
    took = _took(entry.measurements)
    names = tuple(dict.fromkeys((*entry.own_steps, *took)))
    yield from _aligned([names, [took.get(name, "-") for name in names]], left=0)


def _objects(entry: Entry) -> Iterator[str]:
    """Yield a table of what was measured, one object a line; nothing if there is none."""
    samples = entry.samples
    if not samples:
        return
    names = tuple(dict.fromkeys((*entry.object_steps, *(m.step.name for s in samples for m in s.measurements))))
    somewhere = any(sample.node for sample in samples)
    rows = [["object", *(["node"] if somewhere else []), *names, "quality"]]
    for sample in samples:
        steps = _took(sample.measurements)
        sure = f"{sample.quality.value} ±{_seconds(sample.uncertainty)}"
        node = [sample.node or "-"] if somewhere else []
        rows.append([sample.object, *node, *(steps.get(name, "-") for name in names), sure])
    yield from _aligned(rows, left=2 if somewhere else 1, last=1)
    if injected := dict.fromkeys(name for sample in samples for name in sample.injected):
        yield f"foreign steps are not counted; injected into the pods: {', '.join(injected)}"


def _aligned(rows: Sequence[Sequence[str]], *, left: int, last: int = 0) -> Iterator[str]:
    """Yield rows in columns: the first `left` flush left, the `last` ones as they are, those between flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    end = len(widths) - last
    for row in rows:
        cells = zip(row[:end], widths[:end], strict=True)
        yield "  ".join(
            (*(c.ljust(w) if place < left else c.rjust(w) for place, (c, w) in enumerate(cells)), *row[end:])
        )


def _took(measurements: Sequence[Measurement]) -> Mapping[str, str]:
    """Return how long each step took; from the shortest to the longest time if there were several."""
    steps: dict[str, list[Measurement]] = {}
    for one in measurements:
        steps.setdefault(one.step.name, []).append(one)
    return {name: _range(sorted(found, key=lambda one: (one.censored, one.seconds))) for name, found in steps.items()}


def _range(found: Sequence[Measurement]) -> str:
    ends = dict.fromkeys((_duration(found[0]), _duration(found[-1])))
    return " to ".join(ends) + (f" ({len(found)} times)" if len(found) > 1 else "")


def _duration(measurement: Measurement) -> str:
    return f">{_seconds(measurement.seconds)}" if measurement.censored else _seconds(measurement.seconds)


def _seconds(seconds: float) -> str:
    if 0 < seconds < _MILLISECOND:
        return f"{seconds * 1000:.2f}ms"
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.2f}s"
