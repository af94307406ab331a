"""The last attempts: a strip to point at, and the table that it points into."""

from collections.abc import Iterator, Sequence

from khealth_exporter.core.snapshot import Attempt, RoutineStatus
from khealth_exporter.vocabulary.result import Result
from khealth_exporter.vocabulary.sample import Quality
from khealth_exporter.vocabulary.verdict import Evidence
from khealth_exporter.web.page.markup import Child, Markup, tag
from khealth_exporter.web.page.words import blamed, duration, figure, number, result, stamp, when

_HINT = "Point at an attempt, or walk along with the arrow keys, Home and End; Enter opens it, Escape leaves it."


def history(status: RoutineStatus) -> Iterator[Markup]:
    """Yield the last attempts of a routine, from the oldest to the latest, and the quality of their figures."""
    if not status.attempts:
        return
    name, count = f"{status.module}.{status.routine}", len(status.attempts)
    title = f"The last {number(count, 'attempt')}" if count > 1 else "The first attempt"
    yield tag("h3", title, tag("small", ", from the oldest to the latest"), id=f"{name}.history")
    items = [_item(attempt, name, last=attempt is status.attempts[-1]) for attempt in status.attempts]
    yield tag("ol", items, class_="strip", aria_labelledby=f"{name}.history")
    yield _key(status.attempts)
    yield tag(
        "div",
        tag("p", _HINT, class_="quiet"),
        class_="pane", id=f"{name}.pane", role="group", aria_label=f"One attempt of {status.routine}", tabindex="-1",
        data_own=True,
    )  # fmt: skip
    yield _quality(status.attempts)
    yield _table(status.attempts, name)


def _item(attempt: Attempt, name: str, *, last: bool) -> Markup:
    words = ", ".join(filter(None, (result(attempt), blamed(attempt.verdict), duration(attempt.duration))))
    row = f"{name}.{attempt.number}"
    link = tag(
        "a", href=f"#{row}", class_=result(attempt), title=f"{stamp(attempt.began)} UTC: {words}",
        tabindex="0" if last else "-1",
    )  # fmt: skip
    return tag("li", link, id=f"{row}.item")


def _key(attempts: Sequence[Attempt]) -> Markup:
    results = [result(attempt) for attempt in attempts]
    shown = [kind for kind in (*(each.value for each in Result), "running") if kind in results]
    entries = [tag("li", tag("span", class_=f"mark {kind}"), f" {kind}: {results.count(kind)}") for kind in shown]
    return tag("ul", entries, class_="key", aria_label="How they ended")


def _quality(attempts: Sequence[Attempt]) -> Markup:
    sums = [sum(column) for column in zip(*(attempt.qualities for attempt in attempts), strict=True)]
    words = ", ".join(f"{count} {quality.value}" for quality, count in zip(Quality, sums, strict=True))
    return tag("p", f"Quality of the figures of their {number(sum(sums), 'object')}: {words}.", class_="quiet")


def _table(attempts: Sequence[Attempt], name: str) -> Markup:
    names = tuple(dict.fromkeys(measured.step.name for attempt in attempts for measured in attempt.steps))
    heads = ("began (UTC)", "result", "reason", "note", "took", *names, "quality", "evidence")
    table = tag(
        "table",
        tag("thead", tag("tr", [tag("th", head, scope="col") for head in heads])),
        tag("tbody", [_row(attempt, names, name) for attempt in reversed(attempts)]),
    )
    return tag(
        "details",
        tag("summary", "The same as a table, the latest first"),
        tag("div", table, class_="wide", role="group", tabindex="0", aria_label="Each attempt"),
        id=f"{name}.attempts",
    )


def _row(attempt: Attempt, names: Sequence[str], name: str) -> Markup:
    figures = {measured.step.name: figure(measured) for measured in attempt.steps}
    verdict, row = attempt.verdict, f"{name}.{attempt.number}"
    words = [f"{count} {quality.value}" for quality, count in zip(Quality, attempt.qualities, strict=True) if count]
    note = verdict.note if verdict else f"the last phase that ended is {attempt.phase}"
    cells = (
        *(tag("td", cell) for cell in (result(attempt), blamed(verdict), note, duration(attempt.duration))),
        *(tag("td", figures.get(step, "")) for step in names),
        tag("td", ", ".join(words)),
        tag("td", list(evidence(attempt.evidence, f"{row}.evidence"))),
    )
    return tag("tr", tag("th", when(attempt.began), scope="row"), cells, id=row)


def evidence(found: Sequence[Evidence], name: str, *, opened: bool = False) -> Iterator[Markup]:
    """Yield what objects looked like, to be unfolded; nothing if nothing was kept."""
    if not found:
        return
    parts: list[Child] = [
        tag("pre", tag("b", f"{seen.kind} {seen.name}"), "\n" + "\n".join(seen.lines)) for seen in found
    ]
    yield tag("details", tag("summary", "Evidence"), parts, id=name, open=opened)
