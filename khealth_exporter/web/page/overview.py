"""The overview at the top of the page: one line for each routine, by module."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from khealth_exporter.config import Off
from khealth_exporter.core.snapshot import RoutineStatus, Snapshot, State
from khealth_exporter.web.page.formatting import age, duration, minute_element, reason_and_component
from khealth_exporter.web.page.headline import cause
from khealth_exporter.web.page.markup import Child, Markup, tag
from khealth_exporter.web.page.recent_attempts import chart, last_duration, median_duration
from khealth_exporter.web.page.state_icons import SYMBOLS

_HEADS = {
    "Routine": None,
    "State": None,
    "Since": None,
    "Took": "duration of the last attempt",
    "\N{MULTIPLICATION SIGN} median": "that duration, divided by the median of the successful attempts",
    "Last attempts": "a success is as high as its duration, all others have the full height",
    "Why": None,
}
"""The columns, with what their names leave open."""
_SLOW = 2.0
"""The number of medians from which an attempt counts as slow."""


def overview(snapshots: Sequence[Snapshot], off: Sequence[Off], now: float) -> Iterator[Markup]:
    """Yield a table of all routines, also of those that are off; nothing if there is only one routine."""
    if sum(len(snapshot.routines) for snapshot in snapshots) + len(off) < 2:  # noqa: PLR2004 - its section says the same
        return
    running = {snapshot.module: snapshot.routines for snapshot in snapshots}
    modules = dict.fromkeys((*running, *(one.module for one in off)))
    heads = tag("thead", tag("tr", [tag("th", head, scope="col", title=title) for head, title in _HEADS.items()]))
    bodies = [
        _module(module, running.get(module, ()), [one for one in off if one.module == module], now)
        for module in modules
    ]
    table = tag("table", heads, bodies, class_="routines")
    yield tag("section", tag("h2", "Routines", id="overview"), table, aria_labelledby="overview", class_="overview")


def _module(module: str, statuses: Sequence[RoutineStatus], off: Sequence[Off], now: float) -> Markup:
    head = tag("th", tag("span", module), scope="rowgroup", colspan=len(_HEADS))
    rows = [tag("tr", head, class_="module"), *(_row(status, now) for status in statuses)]
    rows += [_off_row(why, [one.routine for one in group]) for why, group in groupby(off, key=lambda one: one.why)]
    return tag("tbody", rows, id=f"overview.{module}")


def _row(status: RoutineStatus, now: float) -> Markup:
    name = f"{status.module}.{status.routine}"
    took, usual = last_duration(status), median_duration(status)
    cells: tuple[tuple[str, Child], ...] = (
        ("", _badge(status.state, status.state)),
        ("since", _since(status, now)),
        ("figure", duration(took) if took is not None else ""),
        ("figure", _share(took / usual) if took is not None and usual else ""),
        ("", list(chart(status))),
        ("reason", _why(status, now)),
    )
    head = tag("th", tag("a", status.routine, href=f"#{name}"), scope="row")
    return tag("tr", head, [tag("td", cell, class_=kind or None) for kind, cell in cells], id=f"{name}.line")


def _off_row(why: str, routines: Sequence[str]) -> Markup:
    names, badge = tag("th", ", ".join(routines), scope="row"), _badge(State.SUSPENDED, "off")
    return tag("tr", names, tag("td", badge), tag("td", why, colspan=len(_HEADS) - 2), class_="off")


def _badge(state: State, word: str) -> Markup:
    """Return a state as a symbol and a word; a narrow page shows only the symbol."""
    return tag("span", tag("span", SYMBOLS[state], aria_hidden="true"), tag("span", word), class_=f"state {state}")


def _since(status: RoutineStatus, now: float) -> Child:
    if status.since is None:
        return ""
    return [minute_element(status.since, now), " ", tag("span", age(now - status.since), class_="quiet")]


def _share(share: float) -> Child:
    text = f"{share:.1f}\N{MULTIPLICATION SIGN}"
    return tag("b", tag("span", "▲ ", aria_hidden="true"), text) if share >= _SLOW else text


def _why(status: RoutineStatus, now: float) -> Child:
    """Return why a routine is not well; for a routine that is well, what still fails."""
    match status.state:
        case State.WELL:
            return status.still_failing
        case State.FAILING | State.INCONCLUSIVE:
            failures = status.consecutive_failures
            reason = reason_and_component(status.last.verdict) if status.last else ""
            return f"{failures} \N{MULTIPLICATION SIGN} {reason}" if failures > 1 and reason else reason
        case State.SUSPENDED if status.suspended_until:
            return ["until ", minute_element(status.suspended_until, now), " UTC"]
        case _:
            return cause(status)
