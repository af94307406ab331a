"""What everything comes to: the one sentence on top of the page."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from khealth_exporter.core.snapshot import RoutineStatus, Snapshot, State, worst
from khealth_exporter.vocabulary.reason import Reason
from khealth_exporter.web.page.icon import SIGNS
from khealth_exporter.web.page.markup import Child, Markup, tag
from khealth_exporter.web.page.sentences import SENTENCES
from khealth_exporter.web.page.words import number, since

_CANNOT_TELL = "khealth cannot tell"
_BEGINNINGS = {
    State.INCONCLUSIVE: _CANNOT_TELL,
    State.EXPIRED: _CANNOT_TELL,
    State.WAITING: f"{_CANNOT_TELL} yet",
    State.SUSPENDED: "khealth rests",
}
"""What is said before since when it is so, of states that say nothing of the cluster."""


def finding(status: RoutineStatus) -> str:
    """Return what a routine says of the cluster now, without figures and without a full stop."""
    beginning = _BEGINNINGS.get(status.state)
    return f"{beginning}: {_cause(status)}" if beginning else _cause(status)


def _cause(status: RoutineStatus) -> str:
    reason = _reason(status)
    match status.state:
        case State.FAILING:
            return SENTENCES[reason].now if reason else "Attempts fail"
        case State.INCONCLUSIVE:
            now = SENTENCES[reason].now if reason else "No attempt says anything"
            return f"{now[0].lower()}{now[1:]}"
        case State.EXPIRED:
            return "no attempt has ended for three intervals"
        case State.WAITING:
            return "no attempt has ended"
        case State.SUSPENDED:
            return "it is suspended in the configuration"
        case _:
            return "All is well: every attempt has succeeded"


def summary(snapshots: Sequence[Snapshot]) -> str:
    """Return what everything comes to, without figures."""
    return finding(first[0][0]) if (first := _groups(snapshots)) else "khealth exercises nothing: no routine is listed"


def headline(snapshots: Sequence[Snapshot], now: float) -> Iterator[Markup]:
    """Yield the sentence on top, and what is to be said beside it."""
    groups = _groups(snapshots)
    state = groups[0][0].state if groups else State.WAITING
    said = _sentence(groups[0], now) if groups else [summary(snapshots), "."]
    yield tag("h1", tag("span", SIGNS[state], class_=f"sign {state}", aria_hidden="true"), tag("span", said))
    if not groups:
        return
    yield from _help(groups[0])
    yield from (tag("p", "Also: ", _sentence(group, now)) for group in groups[1:])
    resting = [status for snapshot in snapshots for status in snapshot.routines if status.state is State.SUSPENDED]
    if resting and state is not State.SUSPENDED:
        names = ", ".join(status.routine for status in resting)
        yield tag("p", f"Suspended, and so not known: {names}.", class_="quiet")


def _groups(snapshots: Sequence[Snapshot]) -> list[list[RoutineStatus]]:
    """Return the routines that stand worst, those of one finding together, the longest first."""
    statuses = [status for snapshot in snapshots for status in snapshot.routines]
    state = worst([status.state for status in statuses])
    chosen = sorted((status for status in statuses if status.state is state), key=finding)
    groups = [sorted(group, key=_age) for _, group in groupby(chosen, key=finding)]
    return sorted(groups, key=lambda group: _age(group[0]))


def _age(status: RoutineStatus) -> float:
    return status.since if status.since is not None else float("inf")


def _sentence(group: Sequence[RoutineStatus], now: float) -> list[Child]:
    first, known = group[0], [status.since for status in group if status.since is not None]
    # All is well only since the last of them is.
    begun = (max if first.state is State.WELL else min)(known, default=None)
    ago: list[Child] = [" ", *since(begun, now)] if begun is not None else []
    failures = max(status.consecutive_failures for status in group)
    in_a_row = " in a row" if failures > 1 else ""
    said: list[Child] = [_cause(first), *ago]
    if beginning := _BEGINNINGS.get(first.state):
        said = [beginning, *ago, ": ", _cause(first)]
        said += [f"; before that {number(failures, 'failure')}{in_a_row}"] if failures else []
    elif first.state is State.FAILING:
        said = [_cause(first), ":" if ago else "", *ago, f", {number(failures, 'attempt')}{in_a_row}"]
    if len(group) > 1 and first.state is not State.WELL:
        said.append(f", in {len(group)} routines")
    return [*said, "."]


def _help(group: Sequence[RoutineStatus]) -> Iterator[Markup]:
    status = group[0]
    reason = _reason(status)
    if status.state not in {State.FAILING, State.INCONCLUSIVE} or reason is None:
        return
    yield tag("p", runbook(reason), " · ", tag("a", "Evidence and figures", href=f"#{status.module}.{status.routine}"))


def runbook(reason: Reason) -> Markup:
    """Return a link to a reason's section of the runbook."""
    return tag("a", f"What it means and what to do: runbook, {reason.value}", href=f"runbook#{reason.value}")


def _reason(status: RoutineStatus) -> Reason | None:
    return status.last.verdict.reason if status.last and status.last.verdict else None
