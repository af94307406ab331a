"""The last attempts of a routine: an interactive strip, and a table."""

from collections.abc import Iterator, Sequence

from khealth_exporter.core.snapshot import Attempt, RoutineStatus
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Quality
from khealth_exporter.vocabulary.verdict import Evidence
from khealth_exporter.web.page.formatting import (
    counted,
    duration,
    measured_duration,
    reason_and_component,
    result,
    time_element,
    timestamp,
)
from khealth_exporter.web.page.markup import Child, Markup, tag

_HINT = "Point at an attempt, or use the arrow keys, Home, and End. Enter opens an attempt, Escape closes it."


def attempt_history(status: RoutineStatus, limit: int) -> Iterator[Markup]:
    """Yield the last attempts of a routine, at most `limit`, oldest first, and the quality of their measurements."""
    attempts = status.attempts[-limit:]
    if not attempts:
        return
    name, count = f"{status.module}.{status.routine}", len(attempts)
    title = f"Last {counted(count, 'attempt')}" if count > 1 else "First attempt"
    yield tag("h3", title, tag("small", ", oldest first") if count > 1 else None, id=f"{name}.history")
    items = [_item(attempt, name, last=attempt is attempts[-1]) for attempt in attempts]
    yield tag("ol", items, class_="strip", aria_labelledby=f"{name}.history")
    yield _legend(attempts)
    if count < len(status.attempts):
        yield tag(
            "p",
            "The ",
            tag("a", "status as JSON", href=f"status/{status.module}"),
            f" has {len(status.attempts)}.",
            class_="quiet",
        )
    yield tag(
        "div",
        tag("p", _HINT, class_="quiet"),
        class_="pane", id=f"{name}.pane", role="group", aria_label=f"Attempt of {status.routine}", tabindex="-1",
        data_own=True,
    )  # fmt: skip
    yield from _quality(attempts)
    yield _table(attempts, name)


def _item(attempt: Attempt, name: str, *, last: bool) -> Markup:
    words = ", ".join(
        filter(None, (result(attempt), reason_and_component(attempt.verdict), duration(attempt.duration)))
    )
    row = f"{name}.{attempt.number}"
    link = tag(
        "a", href=f"#{row}", class_=result(attempt), title=f"{timestamp(attempt.began)} UTC: {words}",
        tabindex="0" if last else "-1",
    )  # fmt: skip
    return tag("li", link, id=f"{row}.item")


def _legend(attempts: Sequence[Attempt]) -> Markup:
    results = [result(attempt) for attempt in attempts]
    shown = [kind for kind in (*(each.value for each in Result), "running") if kind in results]
    entries = [tag("li", tag("span", class_=f"mark {kind}"), f" {kind}: {results.count(kind)}") for kind in shown]
    return tag("ul", entries, class_="key", aria_label="Results")


def _quality(attempts: Sequence[Attempt]) -> Iterator[Markup]:
    sums = [sum(column) for column in zip(*(attempt.qualities for attempt in attempts), strict=True)]
    if not any(sums):
        return
    words = ", ".join(f"{count} {quality.value}" for quality, count in zip(Quality, sums, strict=True))
    yield tag("p", f"Measurement quality of {counted(sum(sums), 'object')}: {words}.", class_="quiet")


def _table(attempts: Sequence[Attempt], name: str) -> Markup:
    names = tuple(dict.fromkeys(measured.step.name for attempt in attempts for measured in attempt.steps))
    heads = ("started (UTC)", "result", "reason", "note", "duration", *names, "quality", "evidence")
    table = tag(
        "table",
        tag("thead", tag("tr", [tag("th", head, scope="col") for head in heads])),
        tag("tbody", [_row(attempt, names, name) for attempt in reversed(attempts)]),
    )
    return tag(
        "details",
        tag("summary", "All attempts as a table, newest first"),
        tag("div", table, class_="wide", role="group", tabindex="0", aria_label="Each attempt"),
        id=f"{name}.attempts",
    )


def _row(attempt: Attempt, names: Sequence[str], name: str) -> Markup:
    figures = {measured.step.name: measured_duration(measured) for measured in attempt.steps}
    verdict, row = attempt.verdict, f"{name}.{attempt.number}"
    words = [f"{count} {quality.value}" for quality, count in zip(Quality, attempt.qualities, strict=True) if count]
    note = verdict.note if verdict else f"last completed phase: {attempt.phase}"
    cells = (
        *(
            tag("td", cell)
            for cell in (result(attempt), reason_and_component(verdict), note, duration(attempt.duration))
        ),
        *(tag("td", figures.get(step, "")) for step in names),
        tag("td", ", ".join(words)),
        tag("td", list(evidence_block(attempt.evidence, f"{row}.evidence"))),
    )
    return tag("tr", tag("th", time_element(attempt.began), scope="row"), cells, id=row)


def evidence_block(evidence: Sequence[Evidence], name: str, *, opened: bool = False) -> Iterator[Markup]:
    """Yield the evidence, collapsed by default; nothing without evidence."""
    if not evidence:
        return
    parts: list[Child] = [
        tag("pre", tag("b", f"{item.kind} {item.name}"), "\n" + "\n".join(item.lines)) for item in evidence
    ]
    yield tag("details", tag("summary", "Evidence"), parts, id=name, open=opened)
