"""What the page says of one routine."""

from collections.abc import Iterator

from khealth_exporter.core.snapshot import Attempt, RoutineStatus, State
from khealth_exporter.web.page.bar import samples, steps
from khealth_exporter.web.page.headline import finding, runbook
from khealth_exporter.web.page.icon import SIGNS
from khealth_exporter.web.page.markup import Child, Markup, tag
from khealth_exporter.web.page.sentences import SENTENCES
from khealth_exporter.web.page.strip import evidence, history
from khealth_exporter.web.page.words import blamed, duration, result, since, span, when
from khealth_exporter.web.status import phase_under_way

_STATES = {
    State.SUSPENDED: "It is suspended in the configuration: nothing is exercised, and so nothing is known.",
    State.WAITING: "No attempt has ended yet.",
    State.EXPIRED: "No attempt has ended for three intervals: what the last one said is too old to hold.",
}


def routine(status: RoutineStatus, now: float) -> Markup:
    """Return a routine's section."""
    name = f"{status.module}.{status.routine}"
    title = tag("h2", tag("small", f"{status.module} / "), status.routine, " ", badge(status.state), id=f"{name}.title")
    parts = (title, *_why(status, name), _facts(status, now), *_measured(status, name), *history(status))
    news = f"{status.routine} is {status.state}: {finding(status)}."
    return tag("section", parts, id=name, aria_labelledby=f"{name}.title", data_news=news)


def badge(state: State) -> Markup:
    """Return a state as a word with its sign."""
    return tag("span", tag("span", SIGNS[state], aria_hidden="true"), f" {state}", class_=f"state {state}")


def _why(status: RoutineStatus, name: str) -> Iterator[Markup]:
    if status.state in _STATES:
        yield tag("p", _STATES[status.state])
    current = status.last if status.state in {State.FAILING, State.INCONCLUSIVE} else None
    if current:
        yield tag("div", list(_reasons(current, f"{name}.evidence", opened=True)), class_=f"why {status.state}")
    failure = status.last_failure
    if failure and (current is None or failure.number != current.number):
        yield tag(
            "details",
            tag("summary", "The last failure: ", when(failure.began), f" UTC, {blamed(failure.verdict)}"),
            tag("div", list(_reasons(failure, f"{name}.earlier", opened=True)), class_="why"),
            id=f"{name}.failure",
        )


def _reasons(attempt: Attempt, name: str, *, opened: bool) -> Iterator[Markup]:
    """Yield why an attempt did not succeed."""
    verdict = attempt.verdict
    reason = verdict.reason if verdict else None
    sentence = SENTENCES[reason].then if reason else "No reason was given."
    yield tag("p", tag("strong", sentence), f" {blamed(verdict)}")
    if verdict and verdict.note:
        yield tag("p", verdict.note, class_="note")
    if reason:
        yield tag("p", runbook(reason))
    yield from evidence(attempt.evidence, name, opened=opened)


def _facts(status: RoutineStatus, now: float) -> Markup:
    facts: tuple[tuple[str, Child], ...] = (
        ("State", _since(status, now)),
        ("Failures in a row", str(status.consecutive_failures)),
        ("Last attempt", _attempt(status.last, now)),
        (
            "Last success",
            [when(status.last_success), " UTC", _ago(status.last_success, now)] if status.last_success else "none yet",
        ),
        ("Interval", f"{status.interval:g} s"),
        ("Next attempt", _next(status, now)),
    )
    return tag("dl", [tag("div", tag("dt", word), tag("dd", value)) for word, value in facts], class_="facts")


def _since(status: RoutineStatus, now: float) -> Child:
    return [f"{status.state} ", *since(status.since, now)] if status.since is not None else status.state.value


def _attempt(attempt: Attempt | None, now: float) -> Child:
    if attempt is None:
        return "none yet"
    words = ", ".join(filter(None, (result(attempt), blamed(attempt.verdict))))
    return [when(attempt.began), " UTC", _ago(attempt.began, now), f": {words}, took {duration(attempt.duration)}"]


def _ago(seconds: float, now: float) -> str:
    return f" ({span(now - seconds)} ago)"


def _next(status: RoutineStatus, now: float) -> Child:
    latest = status.attempts[-1] if status.attempts else None
    phase = phase_under_way(latest) if latest else None
    if status.state is State.SUSPENDED and phase is None:
        return "when it is resumed"
    if latest and phase:
        return [f"one is under way ({phase}) since ", when(latest.began), " UTC"]
    if status.due is None:
        return "not known" if status.state is State.EXPIRED else "at any moment"
    return [when(status.due), f" UTC (in {span(status.due - now)})"]


def _measured(status: RoutineStatus, name: str) -> Iterator[Markup]:
    last = status.last
    if last:
        yield from steps(last)
        yield from samples(last.samples, name)
