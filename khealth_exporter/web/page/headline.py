"""The headline of the page: the overall state in one sentence."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from khealth_exporter.core.snapshot import RoutineStatus, Snapshot, State, worst
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.web.page.formatting import counted, since
from khealth_exporter.web.page.markup import Child, Markup, tag
from khealth_exporter.web.page.reason_texts import REASON_TEXTS
from khealth_exporter.web.page.state_icons import SYMBOLS

_NO_VERDICT = "No verdict"
_PREFIXES = {
    State.INCONCLUSIVE: _NO_VERDICT,
    State.EXPIRED: _NO_VERDICT,
    State.WAITING: f"{_NO_VERDICT} yet",
    State.SUSPENDED: "Suspended",
}
"""The first words, for states without a verdict on the cluster."""
_SENTENCES = 3
"""The findings that have a sentence each; of the others only the routines are named."""


def finding(status: RoutineStatus) -> str:
    """Return the finding of a routine in words, without times, numbers, and full stop."""
    prefix = _PREFIXES.get(status.state)
    return f"{prefix}: {cause(status)}" if prefix else cause(status)


def cause(status: RoutineStatus) -> str:
    """Return why a routine is in its state, in words, without times, numbers, and full stop."""
    reason = _reason(status)
    match status.state:
        case State.FAILING:
            return REASON_TEXTS[reason].now if reason else "Attempts fail"
        case State.INCONCLUSIVE:
            now = REASON_TEXTS[reason].now if reason else "No conclusive attempt"
            return f"{now[0].lower()}{now[1:]}"
        case State.EXPIRED:
            return "no attempt has ended for three intervals"
        case State.WAITING:
            return "no attempt has ended"
        case State.SUSPENDED:
            return "khealth makes no attempts"
        case _:
            still = status.still_failing
            return f"Healthy, except {still}" if still else "Healthy: all attempts have succeeded"


def summary(snapshots: Sequence[Snapshot]) -> str:
    """Return the overall state in words, without times and numbers."""
    return finding(first[0][0]) if (first := _groups(snapshots)) else "No routines are configured"


def headline(snapshots: Sequence[Snapshot], now: float) -> Iterator[Markup]:
    """Yield the headline, and further findings below it."""
    groups = _groups(snapshots)
    state = groups[0][0].state if groups else State.WAITING
    sentence = _sentence(groups[0], now) if groups else [summary(snapshots), "."]
    yield tag("h1", tag("span", SYMBOLS[state], class_=f"sign {state}", aria_hidden="true"), tag("span", sentence))
    if not groups:
        return
    if links := _links(groups[0]):
        yield tag("p", links)
    yield from (tag("p", "Also: ", _sentence(group, now), " ", _links(group)) for group in groups[1:_SENTENCES])
    if others := [status for group in groups[_SENTENCES:] for status in group]:
        yield tag("p", "Also: ", _details(others), ".")
    suspended = [status for snapshot in snapshots for status in snapshot.routines if status.state is State.SUSPENDED]
    if suspended and state is not State.SUSPENDED:
        names = ", ".join(status.routine for status in suspended)
        yield tag("p", f"Suspended (state unknown): {names}.", class_="quiet")


def _groups(snapshots: Sequence[Snapshot]) -> list[list[RoutineStatus]]:
    """Return the routines in the worst state, grouped by finding, oldest first; then what still fails of those well.

    Where all are well, what still fails is the only finding, if there is any.
    """
    statuses = [status for snapshot in snapshots for status in snapshot.routines]
    state = worst([status.state for status in statuses])
    worst_ones = [status for status in statuses if status.state is state]
    excepted = [status for status in statuses if status.still_failing]
    chosen = (excepted or worst_ones) if state is State.WELL else (*worst_ones, *excepted)
    groups = [sorted(group, key=_age) for _, group in groupby(sorted(chosen, key=finding), key=finding)]
    return sorted(groups, key=lambda group: (group[0].state is not state, _age(group[0])))


def _age(status: RoutineStatus) -> float:
    return status.since if status.since is not None else float("inf")


def _sentence(group: Sequence[RoutineStatus], now: float) -> list[Child]:
    first, known = group[0], [status.since for status in group if status.since is not None]
    # The cluster is healthy only since the last routine became healthy.
    start = (max if first.state is State.WELL else min)(known, default=None) if not first.still_failing else None
    ago: list[Child] = [" ", *since(start, now)] if start is not None else []
    failures = max(status.consecutive_failures for status in group)
    count = f"{failures} consecutive failures" if failures > 1 else counted(failures, "failure")
    sentence: list[Child] = [cause(first), *ago]
    if prefix := _PREFIXES.get(first.state):
        sentence = [prefix, *ago, ": ", cause(first)]
        sentence += [f"; {count} before that"] if failures else []
    elif first.state is State.FAILING:
        sentence = [cause(first), ":" if ago else "", *ago, f", {count}"]
    if len(group) > 1 and first.state is not State.WELL:
        sentence.append(f", in {len(group)} routines")
    return [*sentence, "."]


def _links(group: Sequence[RoutineStatus]) -> list[Child]:
    """Return links to the runbook and to the routines of a finding; none if all is well."""
    status = group[0]
    if status.state in {State.WELL, State.SUSPENDED, State.WAITING} and not status.still_failing:
        return []
    failed = status.last if status.state in {State.FAILING, State.INCONCLUSIVE} else None
    if status.still_failing:
        failed = status.last_failure if _told(status) else None
    reason = failed.verdict.reason if failed and failed.verdict else None
    return [*([runbook_link(reason), " · "] if reason else []), "Details: ", _details(group)]


def _details(statuses: Sequence[RoutineStatus]) -> list[Child]:
    """Return a link to the section of each routine."""
    links: list[Child] = []
    for status in statuses:
        links += [", " if links else "", tag("a", status.routine, href=f"#{status.module}.{status.routine}")]
    return links


def _told(status: RoutineStatus) -> bool:
    """Tell whether the latest failure is one that still lasts."""
    verdict = status.last_failure.verdict if status.last_failure else None
    return bool(verdict and verdict.reason and str(verdict.reason) in str(status.still_failing))


def runbook_link(reason: Reason) -> Markup:
    """Return a link to the section of a reason in the runbook."""
    return tag("a", f"Runbook: {reason.value}", href=f"runbook#{reason.value}")


def _reason(status: RoutineStatus) -> Reason | None:
    return status.last.verdict.reason if status.last and status.last.verdict else None
