"""The section of the status page for one routine."""

from collections.abc import Iterator

from khealth_exporter.core.snapshot import Attempt, RoutineStatus, State
from khealth_exporter.web.page.attempt_history import attempt_history, evidence_block
from khealth_exporter.web.page.formatting import (
    duration,
    reason_and_component,
    result,
    rounded_duration,
    since,
    time_element,
)
from khealth_exporter.web.page.headline import finding, runbook_link
from khealth_exporter.web.page.markup import Child, Markup, tag
from khealth_exporter.web.page.pair_matrix import pair_matrix
from khealth_exporter.web.page.reason_texts import REASON_TEXTS
from khealth_exporter.web.page.recent_attempts import median_duration
from khealth_exporter.web.page.state_icons import SYMBOLS
from khealth_exporter.web.page.step_chart import object_table, step_charts, step_means
from khealth_exporter.web.status import phase_under_way

_STATES = {
    State.SUSPENDED: "Suspended in the configuration: khealth makes no attempts, so the state is unknown.",
    State.WAITING: "No attempt has ended yet.",
    State.EXPIRED: "No attempt has ended for three intervals: the last result is out of date.",
}


def routine_section(status: RoutineStatus, now: float, limit: int, *, opened: bool) -> Markup:
    """Return the section of a routine with its last `limit` attempts; `opened` says whether it is unfolded at first.

    A link to the section unfolds it, with and without the script.
    """
    name = f"{status.module}.{status.routine}"
    title = tag("h2", tag("small", f"{status.module} / "), status.routine, " ", badge(status.state), id=f"{name}.title")
    history = attempt_history(status, limit)
    parts = (*_problems(status, name), _facts(status, now), *_measured(status, name), *history)
    news = f"{status.routine} is {status.state}: {finding(status)}."
    section = tag("section", parts, id=name, aria_labelledby=f"{name}.title", data_news=news)
    return tag("details", tag("summary", title), section, id=f"{name}.detail", class_="routine", open=opened)


def badge(state: State) -> Markup:
    """Return a state as a symbol and a word."""
    return tag("span", tag("span", SYMBOLS[state], aria_hidden="true"), f" {state}", class_=f"state {state}")


def _problems(status: RoutineStatus, name: str) -> Iterator[Markup]:
    if status.state in _STATES:
        yield tag("p", _STATES[status.state])
    if status.still_failing:
        yield tag("p", tag("strong", f"Still failing: {status.still_failing}."), " The last attempt succeeded.")
    current = status.last if status.state in {State.FAILING, State.INCONCLUSIVE} else None
    if current:
        yield tag("div", list(_problem(current, f"{name}.evidence", opened=True)), class_=f"why {status.state}")
    failure = status.last_failure
    if failure and (current is None or failure.number != current.number):
        yield tag(
            "details",
            tag(
                "summary",
                "Last failure: ",
                time_element(failure.began),
                f" UTC, {reason_and_component(failure.verdict)}",
            ),
            tag("div", list(_problem(failure, f"{name}.earlier", opened=True)), class_="why"),
            id=f"{name}.failure",
        )


def _problem(attempt: Attempt, name: str, *, opened: bool) -> Iterator[Markup]:
    """Yield the reason of an attempt without success, its note, and its evidence."""
    verdict = attempt.verdict
    reason = verdict.reason if verdict else None
    sentence = REASON_TEXTS[reason].then if reason else "No reason recorded."
    yield tag("p", tag("strong", sentence), f" {reason_and_component(verdict)}")
    if verdict and verdict.note:
        yield tag("p", verdict.note, class_="note")
    if reason:
        yield tag("p", runbook_link(reason))
    yield from evidence_block(attempt.evidence, name, opened=opened)


def _facts(status: RoutineStatus, now: float) -> Markup:
    facts: tuple[tuple[str, Child], ...] = (
        ("State", _since(status, now)),
        ("Consecutive failures", str(status.consecutive_failures)),
        ("Last attempt", _attempt(status.last, now)),
        (
            "Last success",
            [time_element(status.last_success), " UTC", _ago(status.last_success, now)]
            if status.last_success
            else "none yet",
        ),
        ("Median duration", _median(status)),
        ("Interval", f"{status.interval:g} s"),
        ("Next attempt", _next(status, now)),
        *([("Skipped", _skipped(status.skipped, now))] if status.skipped else []),
        *((remark.name.capitalize(), remark.text) for remark in status.remarks),
    )
    return tag("dl", [tag("div", tag("dt", term), tag("dd", value)) for term, value in facts], class_="facts")


def _since(status: RoutineStatus, now: float) -> Child:
    return [f"{status.state} ", *since(status.since, now)] if status.since is not None else status.state.value


def _attempt(attempt: Attempt | None, now: float) -> Child:
    if attempt is None:
        return "none yet"
    words = ", ".join(filter(None, (result(attempt), reason_and_component(attempt.verdict))))
    return [
        time_element(attempt.began),
        " UTC",
        _ago(attempt.began, now),
        f": {words}, took {duration(attempt.duration)}",
    ]


def _median(status: RoutineStatus) -> str:
    usual = median_duration(status)
    return "unknown: too few successful attempts" if usual is None else f"{duration(usual)}, of successful attempts"


def _ago(seconds: float, now: float) -> str:
    return f" ({rounded_duration(now - seconds)} ago)"


def _next(status: RoutineStatus, now: float) -> Child:
    latest = status.attempts[-1] if status.attempts else None
    phase = phase_under_way(latest) if latest else None
    if status.state is State.SUSPENDED and phase is None:
        return ["none while suspended", *_until(status.suspended_until, now)]
    if latest and phase:
        return [f"running ({phase}), started ", time_element(latest.began), " UTC"]
    if status.due is None:
        return "unknown" if status.state is State.EXPIRED else "due now"
    return [time_element(status.due), f" UTC (in {rounded_duration(status.due - now)})"]


def _until(end: float | None, now: float) -> list[Child]:
    return [", until ", time_element(end), f" UTC (in {rounded_duration(end - now)})"] if end else []


def _skipped(at: float, now: float) -> list[Child]:
    return ["API server is throttling: attempt skipped at ", time_element(at), " UTC", _ago(at, now)]


def _measured(status: RoutineStatus, name: str) -> Iterator[Markup]:
    last = status.last
    if last:
        yield from step_charts(last)
        yield from step_means(last)
        yield from object_table(last.samples, name)
    yield from pair_matrix(status.matrix, name)
